// The store of models in real Chromium, against a server that fails as the hub does (lib/hub.js). The engine is the stand-in,
// which reads every byte of a download and sums it up.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openPage } from './lib/browser.js';
import { hub, model } from './lib/hub.js';
import { BLANK, serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('./lib/fake_engine.js', import.meta.url));
const MIB = 1 << 20;
const BLOCK = 8 * MIB;
const SIZE = 2 * BLOCK + 3 * MIB + 5; // three blocks
const BYTES = model(SIZE);
const HOLD = BLOCK + 4 * MIB; // in the middle of the second block

let server;
let far; // the hub
let browser;
let context; // each test has a store of its own

before(async () => {
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE], BLANK]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});
beforeEach(async () => {
  far = await hub();
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  far.close();
});

// What the stand-in makes of a file's bytes.
function sum(bytes) {
  let sum = 7;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) >>> 0;
  return sum;
}

const ranges = () => far.requests.map(({ range }) => Number(/\d+/.exec(range)[0]));

// A blank page with what the tests call in it.
async function blank() {
  const { page } = await openPage(context, `${server.url}/blank.html`);
  page.setDefaultTimeout(30_000);
  await page.evaluate(async () => {
    const wordbrush = await import('/pkg/index.js');
    const settled = (promise) => promise.then((value) => ({ value }), ({ name, code, message }) => ({ name, code, message }));
    globalThis.wb = {
      ...wordbrush,
      // Loads, and tells the sum of the bytes, the notes and the phases.
      async load(source, options = {}) {
        const [notes, phases] = [new Set(), new Set()];
        const onProgress = (progress) => {
          if (progress.note) notes.add(progress.note);
          phases.add(progress.phase);
          globalThis.wb.last = progress;
          options.onProgress?.(progress);
        };
        const { value: sd, ...error } = await settled(wordbrush.StableDiffusion.load(source, { ...options, onProgress }));
        const memory = await sd?.memory();
        await sd?.dispose();
        return { ...error, sum: memory?.sum, notes: [...notes], phases: [...phases] };
      },
      settled,
      models: () => wordbrush.modelStore.list(),
      // The store's files, to be looked into and damaged.
      async file(ending) {
        const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('wordbrush-models', { create: true });
        for await (const [name, handle] of folder.entries()) if (name.endsWith(ending)) return handle;
        return null;
      },
    };
  });
  return page;
}

const load = (page, source, options) => page.evaluate(([source, options]) => wb.load(source, options), [source, options]);
// Until a block is there.
const begun = (page) => page.evaluate(async () => {
  while (!((await wb.models())[0]?.stored > 0)) await new Promise((resolve) => { setTimeout(resolve, 20); });
});
const models = (page) => page.evaluate(() => wb.models());

test('a model is stored while it is loaded; then it needs no network', async () => {
  far.files.set('m.safetensors', { bytes: BYTES });
  const page = await blank();
  const first = await load(page, far.link('m.safetensors'));
  assert.deepEqual([first.sum, first.notes], [sum(BYTES), []]);
  assert.ok(first.phases.includes('download') && first.phases.at(-1) === 'ready', String(first.phases));
  assert.deepEqual(ranges(), [0]);
  const [stored, ...others] = await models(page);
  assert.deepEqual(others, []);
  assert.deepEqual(
    [stored.name, stored.kind, stored.url, stored.size, stored.stored, stored.complete],
    ['m.safetensors', 'model', far.link('m.safetensors'), SIZE, SIZE, true],
  );

  far.goDown();
  const told = () => page.evaluate(() => [wb.last.phase, wb.last.file, wb.last.fromCache]);
  assert.deepEqual(await told(), ['ready', 'm.safetensors', false]);
  const again = await load(page, far.link('m.safetensors'));
  assert.deepEqual(await told(), ['ready', 'm.safetensors', true]);
  assert.deepEqual([again.sum, again.notes, again.phases.includes('download')], [sum(BYTES), [], false]);
  const byKey = await load(page, { stored: stored.key });
  assert.equal(byKey.sum, sum(BYTES));
  assert.deepEqual(await told(), ['ready', stored.key, true]);
  assert.deepEqual(ranges(), [0]);

  await page.evaluate((key) => wb.modelStore.remove(key), stored.key);
  assert.deepEqual(await models(page), []);
  const gone = await load(page, { stored: stored.key });
  assert.deepEqual([gone.code, /not in this browser’s storage/.test(gone.message)], ['READ', true]);
});

test('a tab that is closed in the middle: the next one goes on from there', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, holdAt: HOLD });
  const first = await blank();
  const source = far.link('m.safetensors');
  first.evaluate((source) => { wb.load(source); }, source);
  // One block is there, the next on its way.
  await begun(first);
  await first.close();

  far.files.get('m.safetensors').holdAt = undefined;
  const page = await blank();
  const [part] = await models(page);
  assert.deepEqual([part.complete, part.stored % BLOCK, part.stored < SIZE], [false, 0, true]);
  const { sum: found, notes } = await load(page, source);
  assert.deepEqual([found, notes], [sum(BYTES), []]);
  assert.deepEqual(ranges(), [0, part.stored]);
  assert.equal((await models(page))[0].complete, true);
});

test('cut in the middle of a block, busy, cut again: it arrives whole', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, next: [{ cutAfter: BLOCK + 12_345 }, { status: 503, retryAfter: '1' }, { cutAfter: 777 }] });
  const page = await blank();
  const { sum: found, notes } = await load(page, far.link('m.safetensors'));
  assert.equal(found, sum(BYTES));
  assert.ok(notes.some((note) => /server answered 503.*trying again in 1 s/.test(note)), String(notes));
  assert.equal(far.requests.length, 4);
});

test('a server without ranges: stored as well, and begun anew as far as need be', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, ranges: false, next: [{ cutAfter: BLOCK + 10 }] });
  const page = await blank();
  const { sum: found } = await load(page, far.link('m.safetensors'));
  assert.equal(found, sum(BYTES));
  assert.equal((await models(page))[0].complete, true);
});

test('without the store it is streamed, with and without ranges', async () => {
  const page = await blank();
  for (const allowed of [true, false]) {
    far.files.set('m.safetensors', { bytes: BYTES, ranges: allowed, next: [{ cutAfter: 2 * BLOCK + 1 }] });
    const { sum: found, notes } = await load(page, far.link('m.safetensors'), { store: false });
    assert.equal(found, sum(BYTES), `ranges: ${allowed}`);
    assert.equal(notes.length, 1);
  }
  assert.deepEqual(await models(page), []);
});

test('what was begun of another file is given up, and that is said', async () => {
  for (const marks of [{ etag: '"one"' }, { etag: null }]) {
    const page = await blank();
    far.files.set('m.safetensors', { bytes: BYTES, pace: 200_000, ...marks });
    const source = far.link('m.safetensors');
    // Stopped where a block is there.
    await page.evaluate(async (source) => {
      const control = new AbortController();
      const onProgress = async () => { if ((await wb.models())[0]?.stored > 0) control.abort(); };
      await wb.load(source, { signal: control.signal, onProgress });
    }, source);
    const [part] = await models(page);
    assert.ok(part.stored > 0 && !part.complete);
    const other = model(SIZE, 99);
    far.files.set('m.safetensors', { bytes: other, etag: marks.etag && '"two"' });
    far.requests.length = 0;
    const { sum: found, notes } = await load(page, source);
    assert.equal(found, sum(other));
    assert.equal(notes.length, 1, String(notes));
    assert.match(notes[0], marks.etag ? /another ETag than before: the download begins anew/ : /other bytes than before: the download begins anew/);
    // A server that shows no marks is asked for the block before once more.
    assert.deepEqual(ranges(), [marks.etag ? part.stored : part.stored - BLOCK, 0]);
    await page.evaluate(async () => { for (const { key } of await wb.models()) await wb.modelStore.remove(key); });
    await page.close();
  }
});

test('changed in the middle of a load it is refused, and nothing of it stays', async () => {
  const page = await blank();
  far.files.set('m.safetensors', { bytes: BYTES, etag: '"one"', holdAt: HOLD });
  const loading = load(page, far.link('m.safetensors'));
  await begun(page);
  far.files.set('m.safetensors', { bytes: model(SIZE, 5), etag: '"two"' });
  far.cut();
  const { code, message } = await loading;
  assert.equal(code, 'READ');
  assert.match(message, /m\.safetensors has another ETag than before: the file on the server was changed while it was loaded/);
  assert.deepEqual(await models(page), []);
});

test('pages, missing files, forbidden ones, and what is no model: refused with the address, nothing kept', async () => {
  const page = await blank();
  const refused = async (name, file) => {
    far.files.set(name, file);
    const { code, message } = await load(page, far.link(name));
    assert.ok(message.includes(far.link(name)), message);
    return `${code}: ${message}`;
  };
  assert.match(await refused('page.safetensors', { bytes: BYTES, next: [{ html: true }] }), /^HTML_PAGE: .*a web page.*expected the file/);
  assert.match(await refused('gone.safetensors', { bytes: BYTES, next: [{ status: 404 }] }), /^READ: .*answered 404/);
  assert.match(await refused('gated.safetensors', { bytes: BYTES, next: [{ status: 401 }] }), /^READ: .*answered 401.*login/);
  assert.match(await refused('closed.safetensors', { bytes: BYTES, next: [{ status: 403 }] }), /^READ: .*answered 403/);
  assert.match(await refused('pointer.safetensors', { bytes: Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 38\n') }), /^UNKNOWN_FORMAT: .*It came from/);
  assert.match(await refused('bad.safetensors', { bytes: BYTES }), /^WRONG_FAMILY: .*It came from/);
  assert.deepEqual(await models(page), []);
});

test('a block that is damaged in the store is fetched again, and only that', async () => {
  far.files.set('m.safetensors', { bytes: BYTES });
  const page = await blank();
  const source = far.link('m.safetensors');
  await load(page, source);
  const damage = (at) => page.evaluate(async (at) => {
    const writer = await (await wb.file('.bin')).createWritable({ keepExistingData: true });
    await writer.write({ type: 'write', position: at, data: new Uint8Array([1, 2, 3, 4]) });
    await writer.close();
  }, at);
  await damage(BLOCK + 77);
  far.requests.length = 0;
  const { sum: found, notes } = await load(page, source);
  assert.equal(found, sum(BYTES));
  assert.match(notes.join(), /Block 2 of 3 of m\.safetensors .* damaged or gone: it is fetched again/);
  assert.deepEqual(ranges(), [BLOCK]);
  assert.equal((await models(page))[0].complete, true);
  // It is whole again.
  far.goDown();
  assert.equal((await load(page, source)).sum, sum(BYTES));
  // Where it cannot be fetched, that is said.
  await damage(5 * MIB);
  const { code, message } = await load(page, source);
  assert.equal(code, 'READ');
  assert.match(message, /cannot be fetched/);
});

test('the end of a stored file is missing: it is fetched again', async () => {
  far.files.set('m.safetensors', { bytes: BYTES });
  const page = await blank();
  const source = far.link('m.safetensors');
  await load(page, source);
  await page.evaluate(async () => {
    const writer = await (await wb.file('.bin')).createWritable({ keepExistingData: true });
    await writer.truncate(9_000_000);
    await writer.close();
  });
  far.requests.length = 0;
  assert.equal((await load(page, source)).sum, sum(BYTES));
  assert.equal(ranges()[0], BLOCK);
});

test('parts without a manifest, and damaged manifests, are taken away', async () => {
  far.files.set('m.safetensors', { bytes: BYTES });
  const page = await blank();
  const source = far.link('m.safetensors');
  for (const wreck of ['remove', 'damage']) {
    await load(page, source);
    await page.evaluate(async (wreck) => {
      const manifest = await wb.file('.json');
      if (wreck === 'remove') return manifest.remove();
      const writer = await manifest.createWritable();
      await writer.write('{"version":1,"blo');
      await writer.close();
    }, wreck);
    assert.deepEqual(await models(page), []);
    assert.equal(await page.evaluate(async () => await wb.file('')), null, wreck);
    assert.equal((await load(page, source)).sum, sum(BYTES));
  }
  // The bytes alone are gone: the browser has evicted them, or a person.
  await page.evaluate(async () => (await wb.file('.bin')).remove());
  assert.equal((await load(page, source)).sum, sum(BYTES));
});

test('no room: it is loaded all the same, the numbers are told, and no part stays', async () => {
  far.files.set('m.safetensors', { bytes: BYTES });
  const page = await blank();
  const session = await context.newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 12 * MIB });
  const { sum: found, notes } = await load(page, far.link('m.safetensors'));
  assert.equal(found, sum(BYTES));
  assert.equal(notes.length, 1, String(notes));
  assert.match(notes[0], /^m\.safetensors \(19\.0 MiB\) is not kept: this browser’s storage has no room for it, [\d.]+ MiB of [\d.]+ [MG]iB are in use\.$/);
  assert.deepEqual(await models(page), []);
  assert.equal(await page.evaluate(async () => await wb.file('')), null);
  // To bring it into the store alone is then an error.
  const { code } = await page.evaluate((source) => wb.settled(wb.modelStore.add(source)), far.link('m.safetensors'));
  assert.equal(code, 'STORAGE_FULL');
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.url });
  await page.evaluate((source) => wb.modelStore.add(source), far.link('m.safetensors'));
  assert.equal((await models(page))[0].complete, true);
});

test('a file that is larger than all the room there is: told before anything of it is stored', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, says: 6e12 });
  const page = await blank();
  const { name, notes } = await page.evaluate((source) => {
    const control = new AbortController();
    return wb.load(source, { signal: control.signal, onProgress: ({ note }) => note && control.abort() });
  }, far.link('m.safetensors'));
  assert.equal(name, 'AbortError');
  assert.match(notes[0], /^m\.safetensors \(5587\.94 GiB\) is not kept: this browser’s storage has no room for it, .* of .* are in use\.$/);
  assert.equal(await page.evaluate(async () => await wb.file('')), null);
});

test('the storage is cleared while a model comes: it is loaded all the same', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, holdAt: HOLD });
  const page = await blank();
  const loading = load(page, far.link('m.safetensors'));
  await begun(page);
  const session = await context.newCDPSession(page);
  await session.send('Storage.clearDataForOrigin', { origin: server.url, storageTypes: 'all' });
  far.files.get('m.safetensors').holdAt = undefined;
  const { sum: found, message } = await loading;
  assert.equal(found, sum(BYTES), message);
  // The next one is stored again.
  assert.equal((await load(page, far.link('m.safetensors'))).sum, sum(BYTES));
  assert.equal((await models(page)).length, 1);
});

test('two tabs at once: the second waits and reads what the first has stored', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, holdAt: HOLD });
  const [one, two] = [await blank(), await blank()];
  const source = far.link('m.safetensors');
  const first = load(one, source);
  await begun(one);
  const second = load(two, source);
  await two.waitForFunction(() => wb.last?.phase === 'wait' && wb.last.loaded > 0);
  // While it comes it cannot be deleted.
  const { code } = await two.evaluate(async () => wb.settled(wb.modelStore.remove((await wb.models())[0].key)));
  assert.equal(code, 'BUSY');
  far.files.get('m.safetensors').holdAt = undefined;
  const [a, b] = [await first, await second];
  assert.deepEqual([a.sum, b.sum], [sum(BYTES), sum(BYTES)]);
  assert.deepEqual([a.notes, b.notes, b.phases.includes('download')], [[], [], false]);
  assert.deepEqual(ranges(), [0]);
  // Both at once from the store.
  const both = await Promise.all([load(one, source), load(two, source)]);
  assert.deepEqual(both.map(({ sum }) => sum), [sum(BYTES), sum(BYTES)]);
});

test('the first of two tabs is closed: the second goes on with its part', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, holdAt: HOLD });
  const [one, two] = [await blank(), await blank()];
  const source = far.link('m.safetensors');
  one.evaluate((source) => { wb.load(source); }, source);
  await begun(one);
  const second = load(two, source);
  await two.waitForFunction(() => wb.last?.phase === 'wait');
  await one.close();
  far.files.get('m.safetensors').holdAt = undefined;
  const { sum: found, notes } = await second;
  assert.deepEqual([found, notes], [sum(BYTES), []]);
  assert.ok(ranges()[1] >= BLOCK && ranges()[1] % BLOCK === 0, String(ranges()));
});

test('a file from disk is kept and opened again; with its bytes damaged it is refused', async () => {
  const page = await blank();
  const key = await page.evaluate(async (size) => {
    const bytes = new Uint8Array(size).fill(7);
    new DataView(bytes.buffer).setBigUint64(0, 8n, true);
    bytes[8] = 0x7b;
    wb.own = new File([bytes], 'own.safetensors', { lastModified: 1 });
    return wb.modelStore.add(wb.own, { kind: 'model' });
  }, SIZE);
  const [stored] = await models(page);
  assert.deepEqual([stored.key, stored.name, stored.url, stored.complete], [key, 'own.safetensors', null, true]);
  const whole = await load(page, { stored: key });
  const expected = Buffer.alloc(SIZE, 7);
  expected.writeBigUInt64LE(8n);
  expected[8] = 0x7b;
  assert.equal(whole.sum, sum(expected));
  // Twice is once.
  assert.equal(await page.evaluate(() => wb.modelStore.add(wb.own)), key);
  assert.equal((await models(page)).length, 1);
  await page.evaluate(async () => {
    const writer = await (await wb.file('.bin')).createWritable({ keepExistingData: true });
    await writer.write({ type: 'write', position: 100, data: new Uint8Array(4) });
    await writer.close();
  });
  const { code, message } = await load(page, { stored: key });
  assert.equal(code, 'READ');
  assert.match(message, /Block 1 of 3 of own\.safetensors .*SHA-256.*choose the file again/);
  assert.equal(far.requests.length, 0);
});

test('stopped downloads stay in part and end at once', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, pace: 100_000 });
  const page = await blank();
  const { name, took, open } = await page.evaluate(async (source) => {
    const control = new AbortController();
    const adding = wb.settled(wb.modelStore.add(source, {
      signal: control.signal,
      onProgress: async () => { if ((await wb.models())[0]?.stored > 0) control.abort(); },
    }));
    await new Promise((resolve) => { control.signal.addEventListener('abort', resolve); });
    const began = performance.now();
    const { name } = await adding;
    return { name, took: performance.now() - began, open: (await wb.models())[0] };
  }, far.link('m.safetensors'));
  assert.equal(name, 'AbortError');
  assert.ok(took < 500, `${took} ms`);
  assert.ok(open.stored >= BLOCK && !open.complete);
  // Its lock is free, its file closed.
  await page.evaluate((key) => wb.modelStore.remove(key), open.key);
  assert.deepEqual(await models(page), []);
});

test('stopping a VAE that comes slowly, not at all, or for another tab leaves the model alone', async () => {
  const [page, other] = [await blank(), await blank()];
  far.files.set('slow.safetensors', { bytes: BYTES, pace: 50_000 });
  far.files.set('dead.safetensors', { bytes: BYTES, next: [{ hang: true }] });
  far.files.set('taken.safetensors', { bytes: BYTES, pace: 10_000 });
  other.evaluate((source) => { wb.load(source); }, far.link('taken.safetensors'));
  await other.waitForFunction(() => wb.last?.phase === 'download');
  await page.evaluate(async () => { wb.sd = await wb.StableDiffusion.load(new File(['x'], 'm.safetensors')); });
  for (const [name, phase] of [['slow', 'download'], ['dead', 'open'], ['taken', 'wait']]) {
    const { error, tokens, took } = await page.evaluate(async ([source, wanted]) => {
      const control = new AbortController();
      const onProgress = ({ phase }) => phase === wanted && setTimeout(() => control.abort(new Error('enough')), 200);
      const error = await wb.settled(wb.sd.loadVae(source, { signal: control.signal, onProgress }));
      const began = performance.now();
      await wb.sd.generate({ steps: 1 });
      return { error: error.message, tokens: (await wb.sd.tokens('a b')).tokens, took: performance.now() - began };
    }, [far.link(`${name}.safetensors`), phase]);
    assert.deepEqual([error, tokens], ['enough', 2], name);
    assert.ok(took < 10_000, `${name}: ${took} ms`);
  }
});

test('what a model takes is told before it is loaded, from the header alone', async () => {
  far.files.set('m.safetensors', { bytes: BYTES, pace: 100_000 });
  const page = await blank();
  const { needs, early, picked } = await page.evaluate(async (source) => {
    const needs = await wb.modelNeeds(source, { width: 768, height: 512 });
    const seen = [];
    await wb.load(new File(['x'], 'm.safetensors'), { onProgress: (progress) => seen.push(progress) });
    return { needs, early: seen.find(({ needs }) => needs)?.phase, picked: (await wb.modelNeeds(new File(['x'], 'm.safetensors'))).fileBytes };
  }, far.link('m.safetensors'));
  assert.deepEqual([needs.fileBytes, needs.options, early, picked], [SIZE, { width: 768, height: 512 }, 'open', 1]);
  assert.deepEqual(await models(page), []);
});

test('options and addresses that cannot be used', async () => {
  const page = await blank();
  const codes = await page.evaluate(async () => {
    const codes = [];
    const tries = [
      wb.modelStore.add('ftp://example.com/a.safetensors'), wb.modelStore.add('javascript:alert(1)'), wb.modelStore.add('/a', { kind: 'lora' }),
      wb.modelStore.add('/a', { kin: 'vae' }), wb.modelStore.add([new File(['x'], 'a'), new File(['y'], 'b')]), wb.modelNeeds('/a', { w: 1 }),
      wb.StableDiffusion.load({ stored: '../../evil' }), wb.StableDiffusion.load('http://['), wb.modelStore.remove('../evil'),
    ];
    for (const promise of tries) codes.push((await wb.settled(promise)).code);
    return codes;
  });
  assert.deepEqual(codes, ['BAD_OPTION', 'BAD_OPTION', 'BAD_OPTION', 'UNKNOWN_OPTION', 'BAD_OPTION', 'UNKNOWN_OPTION', 'READ', 'BAD_OPTION', 'BAD_OPTION']);
});
