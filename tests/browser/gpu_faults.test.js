// The GPU without memory, with the least that WebGPU promises, and lost; wasm without memory; a page that is put to sleep. Real
// engine. Each time what is wrong is said, the prompt, the embeddings and the gallery stay, and the next picture is as ever.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { drop, launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { fill, pixels } from './lib/demo.js';
import { askGpu, faultyWorker } from './lib/faulty_gpu.js';
import { fixtures } from './lib/fixtures.js';
import { serve } from './lib/server.js';
import { withMostMemory } from './lib/wasm_memory.js';

const WASM = readFileSync(new URL('../../pkg/wordbrush_bg.wasm', import.meta.url));
const MODEL = 'small.safetensors';

let server;
let browser;

before(async () => {
  server = await serve(fixtures());
  server.made.set('/pkg/worker.js', faultyWorker());
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

const tiles = (page) => page.locator('#gallery .tiles button');
const names = (page) => page.locator('#embedding-list .name').allTextContents();
const said = (page, code, words = /./) => page.getByRole('alert').locator(`[data-code="${code}"]`, { hasText: words }).waitFor();
const generate = (page) => page.getByRole('button', { name: 'Generate', exact: true }).click();
const chooseModel = (page, name = MODEL) => page.locator('#model-file').setInputFiles({ name, mimeType: '', buffer: server.made.get(`/made/${MODEL}`) });
const modelLoaded = (page, words = `${MODEL} is loaded`) => page.locator('#model-status', { hasText: words }).waitFor();

// Generates, and gives what is to be seen.
async function picture(page, fields = {}) {
  await fill(page, fields);
  const count = await tiles(page).count();
  await generate(page);
  await tiles(page).nth(count).waitFor();
  return pixels(page.locator('#picture figure img'));
}

// The page with a model, an embedding and a picture in the gallery.
async function opened(where = browser) {
  const { page, problems } = await openPage(where, `${server.url}/www/`);
  page.setDefaultTimeout(240_000);
  await requireWebGPU(page);
  await drop(page, [{ name: 'feline.pt', url: '/made/feline.pt' }]);
  await chooseModel(page);
  await modelLoaded(page);
  const first = await picture(page, { Prompt: 'a embedding:feline', Steps: 1, CFG: 1, Width: 64, Height: 64, Seed: 5 });
  return { page, problems, first };
}

async function nothingLost(page, pictures) {
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'a embedding:feline');
  assert.deepEqual([await page.getByLabel('Seed', { exact: true }).inputValue(), await page.getByLabel('Steps', { exact: true }).inputValue()], ['5', '1']);
  assert.deepEqual((await names(page)).map((name) => name.replace('.pt', '')), ['feline']); // by its file's name while it waits for a model
  assert.equal(await tiles(page).count(), pictures);
}

// tests/memory.rs has every buffer of a load and of a picture.
test('no memory for a buffer: said, nothing lost, the next picture is the same', async () => {
  const { page, problems, first } = await opened();
  await picture(page, { Prompt: 'another' });
  const { buffers: begun, bytes } = await askGpu(page);
  await picture(page, { Prompt: 'a embedding:feline' });
  const count = (await askGpu(page)).buffers - begun;
  assert.ok(count > 20, `${count} buffers`);
  let pictures = 3;
  for (const nth of [1, Math.floor(count / 2), count - 1]) {
    await picture(page, { Prompt: 'another' });
    await fill(page, { Prompt: 'a embedding:feline' });
    await askGpu(page, { refuse: nth });
    await generate(page);
    await said(page, 'GPU_OUT_OF_MEMORY', /memory is full.*smaller picture/);
    if (nth === 1) await screenshot(page, 'no-gpu-memory');
    await nothingLost(page, pictures + 1);
    assert.equal(await picture(page), first, `after buffer ${nth} of ${count}`);
    pictures += 2;
    const now = await askGpu(page);
    assert.ok(now.bytes <= bytes * 1.01, `${now.bytes} bytes after buffer ${nth}, ${bytes} before`);
  }
  // A model that does not fit: the one that is loaded stays.
  for (const nth of [1, 100]) {
    server.made.set('/pkg/worker.js', faultyWorker({ refuse: nth }));
    await chooseModel(page, 'large.safetensors');
    await said(page, 'GPU_OUT_OF_MEMORY');
    await modelLoaded(page);
    await nothingLost(page, pictures);
  }
  server.made.set('/pkg/worker.js', faultyWorker());
  assert.equal(await picture(page), first);
  await chooseModel(page);
  await page.getByRole('alert').locator('div').first().waitFor({ state: 'detached' });
  await modelLoaded(page);
  assert.equal(await picture(page), first);
  assert.deepEqual(problems, []);
  await page.close();
});

test('an adapter with the limits that WebGPU promises, and no more', async () => {
  const limits = { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27, maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384, maxStorageBuffersPerShaderStage: 8 };
  const { page: usual, first } = await opened();
  await usual.close();
  server.made.set('/pkg/worker.js', faultyWorker({ limits }));
  const { page, problems, first: capped } = await opened();
  server.made.set('/pkg/worker.js', faultyWorker());
  assert.equal(capped, first);
  const { requested } = await askGpu(page);
  assert.ok(requested.length > 0);
  for (const asked of requested) {
    for (const [name, most] of Object.entries(limits)) assert.ok((asked[name] ?? 0) <= most, `${name}: ${asked[name]} was asked for`);
  }
  assert.deepEqual(problems, []);
  await page.close();
});

test('the GPU is lost while a picture is decoded, then again: no loop, a way out, nothing lost', { timeout: 900_000 }, async (t) => {
  const own = await launch();
  t.after(async () => {
    server.made.set('/pkg/worker.js', faultyWorker());
    await own.close();
  });
  const { page, problems, first } = await opened(own);
  const crash = async () => (await own.newBrowserCDPSession()).send('Browser.crashGpuProcess');
  await fill(page, { Width: 256, Height: 256 });
  await generate(page);
  await page.locator('#progress', { hasText: 'into pixels' }).waitFor();
  await crash();
  await said(page, 'DEVICE_LOST', /The model was loaded again/);
  await nothingLost(page, 1);
  assert.equal(await picture(page, { Width: 64, Height: 64 }), first);

  await fill(page, { Steps: 100 });
  await generate(page);
  await page.locator('#progress', { hasText: /Step \d+ of 100/ }).waitFor();
  server.made.set('/pkg/worker.js', faultyWorker({ noAdapter: true })); // some browsers give none after a few crashes
  await crash();
  await said(page, 'DEVICE_LOST', /restart the browser/);
  await fill(page, { Steps: 1 });
  await screenshot(page, 'lost-twice');
  await nothingLost(page, 2);
  // A small model runs on the CPU then.
  await page.waitForFunction(() => document.querySelector('#stop-loading').hidden);
  if (!(await page.locator('#model-status').textContent()).includes('is loaded')) await chooseModel(page);
  await modelLoaded(page, 'on the CPU');
  await picture(page);
  await nothingLost(page, 3);
  assert.deepEqual(problems, []);
});

test('wasm without memory for a file: the engine is started again, nothing else is lost', async () => {
  // What a load and a picture take, and four MiB more.
  const { page: measured } = await opened();
  const { wasmBytes } = await measured.evaluate(async () => (await import('/www/app/state.js')).app.sd.memory());
  await measured.close();
  server.made.set('/pkg/wordbrush_bg.wasm', withMostMemory(WASM, wasmBytes + (4 << 20)));
  const { page, problems, first } = await opened();
  await page.locator('#embedding-files').setInputFiles({ name: 'huge.pt', mimeType: '', buffer: Buffer.alloc(30 << 20, 'PK\x03\x04') });
  await said(page, 'INTERNAL', /engine stopped/);
  await modelLoaded(page);
  await nothingLost(page, 1);
  assert.equal(await picture(page), first);
  server.made.delete('/pkg/wordbrush_bg.wasm');
  assert.deepEqual(problems, []);
  await page.close();
});

test('a page that is frozen in the middle of a picture goes on when it is looked at again', async () => {
  const { page, problems, first } = await opened();
  const session = await page.context().newCDPSession(page);
  await fill(page, { Steps: 12 });
  await generate(page);
  await page.locator('#progress', { hasText: /Step \d+ of 12/ }).waitFor();
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  await new Promise((resolve) => { setTimeout(resolve, 1500); });
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  await tiles(page).nth(1).waitFor();
  await page.locator('#progress').waitFor({ state: 'hidden' });
  assert.equal(await page.title(), 'Wordbrush');
  assert.equal(await picture(page, { Steps: 1 }), first);
  assert.deepEqual(problems, []);
  await page.close();
});
