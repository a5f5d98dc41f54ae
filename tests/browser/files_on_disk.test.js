// Files from disk under the real engine: one of more than 5 GiB, and one that is changed after it was chosen.

import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { BLANK, serve } from './lib/server.js';

const SMALL = gunzipSync(readFileSync(new URL('../../www/demo/shapes.safetensors.gz', import.meta.url)));
const MORE = 5 * 2 ** 30;
const FOLDER = mkdtempSync(join(tmpdir(), 'wordbrush-'));
const [LARGE, CHANGED] = ['large', 'changed'].map((name) => join(FOLDER, `${name}.safetensors`));

let server;
let browser;

// The model that comes with the page, with averages behind it that no picture needs. The file is sparse, so it takes no room.
function writeLarge() {
  const length = Number(SMALL.readBigUInt64LE(0));
  const header = JSON.parse(SMALL.subarray(8, 8 + length).toString());
  const data = SMALL.subarray(8 + length);
  header['model_ema.all'] = { dtype: 'F32', shape: [MORE / 4], data_offsets: [data.length, data.length + MORE] };
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  const file = openSync(LARGE, 'w');
  for (const part of [head, json, data]) writeSync(file, part);
  ftruncateSync(file, 8 + json.length + data.length + MORE);
  closeSync(file);
}

before(async () => {
  writeLarge();
  server = await serve(new Map([['/input.html', Buffer.from('<!doctype html><link rel="icon" href="data:,"><input type="file">')], BLANK]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
  rmSync(FOLDER, { recursive: true });
});

test('of 5 GiB only what is needed is read, in little memory', { timeout: 300_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/input.html`);
  await requireWebGPU(page);
  page.setDefaultTimeout(120_000);
  await page.locator('input').setInputFiles(LARGE);
  const { size, needs, loaded, memory } = await page.evaluate(async () => {
    const { StableDiffusion, modelNeeds } = await import('/pkg/index.js');
    const [file] = document.querySelector('input').files;
    const needs = await modelNeeds(file);
    const sd = await StableDiffusion.load(file);
    const memory = await sd.memory();
    const loaded = sd.bytes;
    await sd.dispose();
    return { size: file.size, needs, loaded, memory };
  });
  assert.ok(size > MORE);
  assert.ok(needs.fileBytes < SMALL.length && loaded === needs.fileBytes, `${loaded} of ${needs.fileBytes}`);
  assert.ok(memory.wasmBytes < 64 * 2 ** 20, `${memory.wasmBytes} bytes of wasm`);
  assert.deepEqual(problems, []);
  await page.close();
});

test('a file that was changed after it was chosen is refused by name, and chosen again it loads', { timeout: 300_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/input.html`);
  page.setDefaultTimeout(120_000);
  const load = () => page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    try {
      const sd = await StableDiffusion.load(document.querySelector('input').files[0]);
      await sd.dispose();
      return { code: 'loaded' };
    } catch ({ code, message }) {
      return { code, message };
    }
  });
  writeFileSync(CHANGED, SMALL);
  await page.locator('input').setInputFiles(CHANGED);
  writeFileSync(CHANGED, SMALL.subarray(0, 1000));
  utimesSync(CHANGED, 0, 0); // Chromium compares whole seconds.
  const { code, message } = await load();
  assert.equal(code, 'READ');
  assert.match(message, /^changed\.safetensors cannot be read .*was it changed, moved or removed\? Choose it again/);
  writeFileSync(CHANGED, SMALL);
  await page.locator('input').setInputFiles(CHANGED);
  assert.equal((await load()).code, 'loaded');
  assert.deepEqual(problems, []);
});
