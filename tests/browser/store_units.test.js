// The parts of the model store that need no browser: manifests, patience, speed, and downloads from a server that fails as the
// hub does.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Changed, Download } from '../../pkg/store/download.js';
import { BLOCK, create, isComplete, keyOf, lengthOf, missing, parse, stored } from '../../pkg/store/manifest.js';
import { Rate } from '../../pkg/store/rate.js';
import { TRIES, passes, pause, retryAfter } from '../../pkg/store/retry.js';
import { KNOWN, readAddress } from '../../www/ui/addresses.js';
import { hub, model, sha256 } from './lib/hub.js';

let server;

before(async () => { server = await hub(); });
after(() => server?.close());
beforeEach(() => { server.requests.length = 0; });

test('a manifest: blocks, the first that is missing, bytes that are there', () => {
  const manifest = create({ name: 'm', size: 2 * BLOCK + 5, url: 'https://example.com/m' });
  assert.deepEqual([manifest.blocks.length, lengthOf(manifest, 0), lengthOf(manifest, 2)], [3, BLOCK, 5]);
  assert.deepEqual([missing(manifest), missing(manifest, 1), stored(manifest), isComplete(manifest)], [0, 1, 0, false]);
  manifest.blocks[0] = manifest.blocks[2] = 'a'.repeat(64);
  assert.deepEqual([missing(manifest), missing(manifest, 2), stored(manifest), isComplete(manifest)], [1, null, BLOCK + 5, false]);
  manifest.blocks[1] = 'b'.repeat(64);
  assert.ok(isComplete(manifest));
  assert.deepEqual(parse(JSON.stringify(manifest)), manifest);
});

test('a manifest that is damaged, of another version or made up counts as none', () => {
  const good = create({ name: 'm', size: 10, url: null });
  const bad = [
    { version: 2 }, { name: 3 }, { kind: 'lora' }, { size: -1 }, { size: 1e300 }, { size: 10.5 }, { block: 0 }, { blocks: [] }, { blocks: ['x'] },
    { blocks: [null, null] }, { url: {} }, { etag: 7 }, { blocks: 'a' },
  ];
  for (const change of bad) assert.equal(parse(JSON.stringify({ ...good, ...change })), null, JSON.stringify(change));
  for (const text of ['', '{', 'null', '[]', '3', JSON.stringify(good).slice(0, -5)]) assert.equal(parse(text), null, text);
  assert.deepEqual(parse(JSON.stringify({ ...good, extra: 1, __proto__: { evil: 1 } })), good);
});

test('the key of an address is the same everywhere', async () => {
  assert.equal(await keyOf('https://example.com/a'), sha256('https://example.com/a').slice(0, 32));
});

test('patience: doubled, bounded, never less than the server asks for, half of it chance', () => {
  assert.deepEqual([1, 2, 3, 7, 20].map((n) => pause(n, null, 1)), [500, 1000, 2000, 30_000, 30_000]);
  assert.equal(pause(1, null, 0), 250);
  assert.equal(pause(1, 7000, 0.5), 7000);
  assert.deepEqual([500, 502, 503, 504, 429, 408].map(passes), Array(6).fill(true));
  assert.deepEqual([400, 401, 403, 404, 410, 416, 501].map(passes), Array(7).fill(false));
});

test('Retry-After: seconds, a date, nonsense', () => {
  const now = Date.parse('2026-11-26T05:00:00Z');
  assert.equal(retryAfter('3', now), 3000);
  assert.equal(retryAfter('Thu, 26 Nov 2026 05:01:00 GMT', now), 60_000);
  assert.equal(retryAfter('Thu, 26 Nov 2026 04:00:00 GMT', now), 0);
  for (const header of [null, '', 'soon']) assert.equal(retryAfter(header, now), null);
});

test('speed: over the last five seconds, time left once it has settled, anew when the count begins anew', () => {
  let now = 0;
  const rate = new Rate(() => now);
  assert.deepEqual(rate.at(0, 1000), { bytesPerSecond: null, etaSeconds: null });
  now = 1000;
  assert.deepEqual(rate.at(100, 1000), { bytesPerSecond: 100, etaSeconds: null });
  now = 4000;
  assert.deepEqual(rate.at(400, 1000), { bytesPerSecond: 100, etaSeconds: 6 });
  now = 9000;
  assert.deepEqual(rate.at(400, 1000), { bytesPerSecond: 0, etaSeconds: null });
  // A machine that slept, or a clock that jumped: nothing negative, nothing infinite.
  now = 9_000_000;
  const late = rate.at(500, 1000);
  assert.ok(late.bytesPerSecond > 0 && Number.isFinite(late.etaSeconds));
  now += 10;
  assert.deepEqual(rate.at(0, 1000), { bytesPerSecond: null, etaSeconds: null });
});

test('addresses as people paste them', () => {
  const own = 'http://localhost:8000';
  const file = 'https://huggingface.co/owner/repository/resolve/main/a%20b.safetensors';
  const read = (text) => readAddress(text, own);
  for (const { url } of KNOWN) assert.equal(read(url).url, url);
  assert.deepEqual(read(`  ${file}#files\n`), { url: file, name: 'a b.safetensors' });
  for (const text of [file.replace('resolve', 'blob'), file.replace('https://huggingface.co', 'https://hf.co'), file.replace('https://', '')]) {
    assert.equal(read(text).url, file, text);
  }
  assert.equal(read(`${file}?download=true`).url, `${file}?download=true`);
  assert.equal(read('https://example.com/blob/m.safetensors').url, 'https://example.com/blob/m.safetensors');
  assert.equal(read(`${own}/m.safetensors`).name, 'm.safetensors');
  assert.equal(read('https://example.com/%ff').name, '%ff');
  const refused = {
    '': /Paste the address/, 'a b': /“a b” is no address/, 'model.safetensors': /is no address/, 'http://example.com/m': /must begin with https/,
    'javascript:alert(1)': /must begin with https/, 'file:///etc/passwd': /must begin with https/,
    'https://huggingface.co/owner/repository': /a page of the hub/, 'https://huggingface.co/owner/repository/tree/main': /a page of the hub/,
  };
  for (const [text, sentence] of Object.entries(refused)) assert.throws(() => read(text), sentence, text);
});

const MIB = 1 << 20;

// Downloads and says what came; no pause is waited for, but all are told.
async function fetched(name, { from = 0, known, origin = server.url, isOnline = () => true, silence = 30_000 } = {}) {
  const pauses = [];
  const download = new Download(server.link(name), {
    known, origin, isOnline, silence, sleep: async (ms) => { pauses.push(ms); },
  });
  const pieces = [];
  let error = null;
  try {
    for await (const piece of download.from(from)) pieces.push(piece);
  } catch (thrown) {
    error = thrown;
  }
  return { download, bytes: Buffer.concat(pieces), error, pauses };
}

test('through a redirect, in ranges, whole', async () => {
  const bytes = model(3 * MIB + 17);
  server.files.set('a.safetensors', { bytes });
  const { bytes: came, error, download } = await fetched('a.safetensors');
  assert.equal(error, null);
  assert.equal(sha256(came), sha256(bytes));
  assert.equal(download.size, bytes.length);
  assert.deepEqual(server.requests.map(({ range }) => range), ['bytes=0-']);
});

test('a connection that is cut goes on where it was, at the link’s first address', async () => {
  const bytes = model(3 * MIB);
  server.files.set('cut.safetensors', { bytes, next: [{ cutAfter: MIB + 3 }, { status: 503 }, { cutAfter: 100 }] });
  const { bytes: came, error, pauses } = await fetched('cut.safetensors');
  assert.equal(error, null);
  assert.equal(sha256(came), sha256(bytes));
  const ranges = server.requests.map(({ range }) => Number(/\d+/.exec(range)[0]));
  assert.equal(ranges.length, 4);
  assert.ok(ranges[1] > 0 && ranges[1] <= MIB + 3 && ranges[3] === ranges[1] + 100, String(ranges));
  // On our own origin the server is told which file is meant.
  assert.ok(server.requests[1].ifRange);
  assert.equal(pauses.length, 3);
});

test('to another origin goes no If-Range, which would need its permission', async () => {
  server.files.set('o.safetensors', { bytes: model(MIB), next: [{ cutAfter: 1000 }] });
  const { error } = await fetched('o.safetensors', { origin: 'https://elsewhere.example' });
  assert.equal(error, null);
  assert.deepEqual(server.requests.map(({ ifRange }) => ifRange), [null, null]);
});

test('a server without ranges: what is there already is passed over', async () => {
  const bytes = model(2 * MIB);
  server.files.set('n.safetensors', { bytes, ranges: false, next: [{ cutAfter: MIB }] });
  const { bytes: came, error } = await fetched('n.safetensors');
  assert.equal(error, null);
  assert.equal(sha256(came), sha256(bytes));
});

test('busy servers are waited for as they ask, but not forever', async () => {
  const bytes = model(MIB);
  server.files.set('b.safetensors', { bytes, next: [{ status: 429, retryAfter: '7' }, { status: 503 }, { status: 500 }] });
  const { bytes: came, pauses } = await fetched('b.safetensors');
  assert.equal(came.length, bytes.length);
  assert.ok(pauses[0] >= 7000 && pauses[1] < 7000);

  server.files.set('b.safetensors', { bytes, next: Array(TRIES).fill({ status: 503 }) });
  const { error, pauses: all } = await fetched('b.safetensors');
  assert.equal(error.code, 'READ');
  assert.match(error.message, /resolve\/main\/b\.safetensors cannot be fetched: the server answered 503 .*6 times in a row/);
  assert.equal(all.length, TRIES - 1);

  server.files.set('b.safetensors', { bytes, next: [{ status: 503, retryAfter: '3600' }] });
  assert.match((await fetched('b.safetensors')).error.message, /asks to wait 60 minutes/);
});

test('a server that falls silent, or slept: the connection is given up and made anew', async () => {
  const bytes = model(MIB);
  server.files.set('q.safetensors', { bytes, next: [{ silentAfter: 300_000 }, { silentAfter: 300_000 }] });
  const { bytes: came, error, pauses } = await fetched('q.safetensors', { silence: 200 });
  assert.equal(error, null);
  assert.equal(sha256(came), sha256(bytes));
  assert.equal(pauses.length, 2);
});

test('progress takes the count of failures back', async () => {
  const bytes = model(MIB);
  server.files.set('p.safetensors', { bytes, next: Array(3 * TRIES).fill({ cutAfter: 40_000 }) });
  const { bytes: came, error } = await fetched('p.safetensors');
  assert.equal(error, null);
  assert.equal(sha256(came), sha256(bytes));
});

test('refusals name the address, what was found and what was expected', async () => {
  const expected = {
    401: /answered 401 .*expected the file.*login/, 403: /answered 403 .*licence/, 404: /answered 404 .*no such file/, 410: /answered 410 .*gone/, 418: /answered 418/,
  };
  for (const [status, sentence] of Object.entries(expected)) {
    server.files.set('r.safetensors', { bytes: model(1000), next: [{ status: Number(status) }] });
    const { error, pauses } = await fetched('r.safetensors');
    assert.equal(error.code, 'READ');
    assert.ok(error.message.startsWith(`${server.url}/owner/repository/resolve/main/r.safetensors cannot be fetched`), error.message);
    assert.match(error.message, sentence);
    assert.equal(pauses.length, 0);
  }
  server.files.set('r.safetensors', { bytes: model(1000), next: [{ html: true }] });
  const page = await fetched('r.safetensors');
  assert.deepEqual([page.error.code, /a web page .*expected the file itself/.test(page.error.message)], ['HTML_PAGE', true]);
  server.files.set('empty.safetensors', { bytes: Buffer.alloc(0), ranges: false });
  assert.equal((await fetched('empty.safetensors')).error.code, 'EMPTY_FILE');
});

test('a length that is not the file’s', async () => {
  const bytes = model(MIB);
  server.files.set('l.safetensors', { bytes, says: MIB + 500 });
  const { error } = await fetched('l.safetensors');
  assert.equal(error.code, 'READ');
  assert.match(error.message, new RegExp(`l\\.safetensors cannot be fetched beyond byte ${MIB} of ${MIB + 500}: .*6 times in a row`));
});

test('another file than before is told apart by its size, its ETag, its end', async () => {
  const bytes = model(MIB);
  const changed = async (known, from = 1000) => (await fetched('c.safetensors', { known, from })).error;
  server.files.set('c.safetensors', { bytes, etag: '"new"' });
  for (const origin of [{ size: MIB, etag: '"old"', lastModified: null }, { size: MIB + 1, etag: '"new"', lastModified: null }]) {
    const error = await changed(origin);
    assert.ok(error instanceof Changed, String(error));
    assert.match(error.message, /c\.safetensors/);
  }
  assert.ok(await changed({ size: 2 * MIB, etag: '"new"', lastModified: null }, MIB + 10) instanceof Changed);
  assert.equal(await changed({ size: MIB, etag: '"new"', lastModified: null }), null);
});

test('offline it says so at once; without an answer it says what that may mean', async () => {
  server.files.set('d.safetensors', { bytes: model(1000) });
  server.goDown();
  const offline = await fetched('d.safetensors', { isOnline: () => false });
  assert.match(offline.error.message, /this browser is offline/);
  assert.equal(offline.pauses.length, 0);
  const dead = await fetched('d.safetensors');
  assert.match(dead.error.message, /no answer .*6 times in a row.*CORS/);
  server.comeBack();
});

test('stopped, it ends: in the middle of the bytes and in a pause', async () => {
  server.files.set('s.safetensors', { bytes: model(4 * MIB), pace: 20_000 });
  const download = new Download(server.link('s.safetensors'));
  let pieces = 0;
  await assert.rejects(async () => {
    for await (const piece of download.from(0)) {
      pieces += piece.length > 0;
      download.stop();
    }
  }, { name: 'AbortError' });
  assert.ok(pieces >= 1);

  server.files.set('s.safetensors', { bytes: model(1000), next: Array(5).fill({ status: 503 }) });
  const waiting = new Download(server.link('s.safetensors'), { onTry: () => setTimeout(() => waiting.stop(), 1) });
  await assert.rejects(async () => { for await (const _ of waiting.from(0)); }, { name: 'AbortError' });
});
