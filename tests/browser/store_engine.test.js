// The store of models under the real engine, with the model that comes with the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { hub, sha256 } from './lib/hub.js';
import { BLANK, serve } from './lib/server.js';

const MIB = 1 << 20;
const BYTES = gunzipSync(readFileSync(new URL('../../www/demo/shapes.safetensors.gz', import.meta.url)));
const NAME = 'shapes.safetensors';

let server;
let far;
let browser;
let page;
let problems;

before(async () => {
  server = await serve(new Map([BLANK, [`/made/${NAME}`, BYTES]]));
  far = await hub();
  far.files.set(NAME, { bytes: BYTES, pace: 2 * MIB, next: [{}, { cutAfter: 5 * MIB }] });
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/blank.html`));
  await requireWebGPU(page);
  page.setDefaultTimeout(300_000);
  await page.evaluate(async (source) => {
    const wordbrush = await import('/pkg/index.js');
    const options = { prompt: 'two blue squares', steps: 1, width: 64, height: 64, cfg: 2 };
    globalThis.wb = {
      ...wordbrush,
      source,
      file: async (name) => new File([await (await fetch(`/made/${name}`)).blob()], name),
      // The PNG's bytes and the recipe that it carries.
      async picture(sd, more = {}) {
        const { png } = await sd.generate({ ...options, ...more });
        const { modelHash } = await wordbrush.readRecipe(png);
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await png.arrayBuffer()));
        return { modelHash, file: digest.join() };
      },
    };
  }, far.link(NAME));
});
after(async () => {
  await browser?.close();
  server?.close();
  far?.close();
});

test('from the network, from the store and from a file the same picture is made, with the same hash of the model', { timeout: 900_000 }, async () => {
  const { needs, made, stored, offline, file, memory, notes } = await page.evaluate(async () => {
    const needs = await wb.modelNeeds(wb.source, { width: 64, height: 64 });
    const notes = [];
    const sd = await wb.StableDiffusion.load(wb.source, { onProgress: ({ note }) => note && notes.push(note) });
    const made = await wb.picture(sd);
    const memory = await sd.memory();
    await sd.dispose();
    const [stored] = await wb.modelStore.list();
    return { needs, made, stored, memory, notes };
  }).then(async (first) => {
    far.goDown();
    return { ...first, ...await page.evaluate(async () => {
      const again = await wb.StableDiffusion.load(wb.source);
      const offline = await wb.picture(again);
      // To start from a picture the engine reads the encoder from the store.
      offline.started = (await wb.picture(again, { image: { width: 64, height: 64, data: new Uint8ClampedArray(64 * 64 * 4).fill(200) } })).modelHash;
      await again.dispose();
      const own = await wb.StableDiffusion.load(await wb.file('shapes.safetensors'));
      const file = await wb.picture(own);
      await own.dispose();
      return { offline, file };
    }) };
  });
  far.comeBack();
  assert.equal(notes.length, 1, 'the connection was cut once');
  assert.deepEqual([stored.complete, stored.size], [true, BYTES.length]);
  const hash = sha256(BYTES).slice(0, 10);
  assert.deepEqual([made.modelHash, offline.modelHash, offline.started, file.modelHash], [hash, hash, hash, hash]);
  assert.deepEqual([made.file, offline.file], [file.file, file.file]);
  // The header was asked for alone, then the file, then its rest.
  assert.equal(far.requests.length, 3);
  const ratio = needs.gpuPeakBytes / memory.gpuPeakBytes;
  console.log(`told ${needs.gpuPeakBytes}, taken ${memory.gpuPeakBytes}: ${ratio.toFixed(3)}; wasm ${memory.wasmBytes}`);
  assert.ok(ratio > 0.8 && ratio < 1.25, `told ${needs.gpuPeakBytes}, taken ${memory.gpuPeakBytes}`);
  assert.deepEqual(problems, []);
});

test('without room it is loaded all the same, and its encoder fetched when it is needed', { timeout: 900_000 }, async () => {
  const session = await page.context().newCDPSession(page);
  await page.evaluate(async () => { for (const { key } of await wb.modelStore.list()) await wb.modelStore.remove(key); });
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 3 * MIB });
  far.files.get(NAME).pace = undefined;
  const { note, made, left } = await page.evaluate(async () => {
    let note;
    const sd = await wb.StableDiffusion.load(wb.source, { onProgress: (progress) => { note ??= progress.note; } });
    const made = await wb.picture(sd, { image: { width: 64, height: 64, data: new Uint8ClampedArray(64 * 64 * 4).fill(200) } });
    await sd.dispose();
    return { note, made, left: await wb.modelStore.list() };
  });
  assert.match(note, /shapes\.safetensors \([\d.]+ MiB\) is not kept/);
  // A model that is in memory alone is not downloaded once more for its hash.
  assert.equal(made.modelHash, undefined);
  assert.deepEqual(left, []);
  assert.deepEqual(problems, []);
});

test('a file with another hash than was asked for is refused and not kept; steps tell their noise level', { timeout: 900_000 }, async () => {
  const session = await page.context().newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.url });
  const { wrong, kept, phases, malformed, elsewhere, sigmas } = await page.evaluate(async ({ url, hash }) => {
    const failure = ({ code, message }) => ({ code, message });
    const wrong = await wb.StableDiffusion.load({ url, sha256: hash.replace(/./g, '0') }).catch(failure);
    const kept = await wb.modelStore.list();
    const phases = new Set();
    const onProgress = ({ phase, loaded, total }) => { if (phase !== 'verify' || (loaded > 0 && loaded < total)) phases.add(phase); };
    const sd = await wb.StableDiffusion.load({ url, sha256: hash.toUpperCase() }, { onProgress });
    const sigmas = [];
    for await (const event of sd.generate({ prompt: '', steps: 3, width: 64, height: 64, cfg: 1 })) if (event.type === 'step') sigmas.push(event.sigma);
    await sd.dispose();
    const malformed = await wb.StableDiffusion.load({ url, sha256: 'abc' }).catch(failure);
    const elsewhere = await wb.modelStore.add({ url, sha256: hash }).catch(failure);
    return { wrong, kept, phases: [...phases], malformed, elsewhere, sigmas };
  }, { url: far.link(NAME), hash: sha256(BYTES) });
  assert.equal(wrong.code, 'INTEGRITY');
  assert.ok(wrong.message.includes(far.link(NAME)) && wrong.message.includes(sha256(BYTES)), wrong.message);
  assert.deepEqual(kept, []);
  assert.ok(phases.includes('download') && phases.includes('ready'), String(phases));
  assert.deepEqual([malformed.code, elsewhere.code], ['BAD_OPTION', 'BAD_OPTION']);
  assert.ok(sigmas.length === 3 && sigmas[0] > sigmas[1] && sigmas[1] > sigmas[2] && sigmas[2] === 0, String(sigmas));
  assert.deepEqual(problems, []);
});
