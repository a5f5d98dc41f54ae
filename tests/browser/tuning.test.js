// Before the first picture kernels are compiled and measured, and what was measured is kept for the next visit. Software adapters measure
// nothing, so in the first test one says that it is none, and computes with the kernels of GPUs, which takes it minutes; the others have
// an engine that pretends.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { askGpu, faultyWorker } from './lib/faulty_gpu.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

const HARDWARE = { isFallbackAdapter: false, vendor: 'nvidia', architecture: 'a test', description: '' };
const { version } = JSON.parse(readFileSync(new URL('../../pkg/package.json', import.meta.url)));
const DEVICE = `nvidia a test (BrowserWebGpu, Nvidia), packed, 32 KiB, subgroups of 4, wordbrush ${version}`;
// As if attentions had been found the fastest within subgroups, of which SwiftShader's have four threads.
const SHUFFLED = {
  'self-attention 1×77×77, 1 heads of 64': '1 rows by teams of 4, shuffled',
  'self-attention 1×16×16, 8 heads of 8': '2 rows by teams of 2, shuffled',
  'cross-attention 1×16×77, 8 heads of 8': '1 rows by teams of 2, shuffled',
};
const FAKE = readFileSync(new URL('lib/fake_engine.js', import.meta.url));

let server;
let browser;

before(async () => {
  server = await serve(fixtures());
  server.made.set(...BLANK);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

// What the tests call in the page: picture(sd, options), kept() and keep(text), the one table of measurements in the browser's storage.
async function opened() {
  const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
  page.setDefaultTimeout(1_500_000);
  await requireWebGPU(page);
  await page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    const model = new File([await (await fetch('/made/small.safetensors')).blob()], 'small.safetensors');
    const table = async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('wordbrush-tuning');
      const files = [];
      for await (const file of folder.values()) files.push(file);
      if (files.length !== 1) throw new Error(`${files.length} tables are kept`);
      return files[0];
    };
    Object.assign(globalThis, {
      load: (options, file = model) => StableDiffusion.load(file, options),
      // {events, pixels}
      async picture(sd) {
        const making = sd.generate({ prompt: 'a cat', seed: 5, steps: 1, cfg: 1, width: 64, height: 64 });
        const events = [];
        for await (const { type, what, done, total } of making) events.push({ type, what, done, total });
        const bitmap = await (await making).image();
        const context = new OffscreenCanvas(64, 64).getContext('2d');
        context.drawImage(bitmap, 0, 0);
        return { events, pixels: [...context.getImageData(0, 0, 64, 64).data] };
      },
      kept: async () => (await (await table()).getFile()).text(),
      async keep(text) {
        const writer = await (await table()).createWritable();
        await writer.write(text);
        await writer.close();
      },
    });
  });
  return { page, problems };
}

const prepared = ({ events }, what) => events.filter((event) => event.type === 'prepare' && event.what === what);
const begun = ({ done }) => done === 0;

test('a GPU is measured, its kernels are compiled in the background, and the picture is the same', { timeout: 1_600_000 }, async (t) => {
  const { page: usual } = await opened();
  const software = await usual.evaluate(async () => picture(await load()));
  await usual.close();
  assert.deepEqual(prepared(software, 'measure'), [], 'a software adapter is not measured');
  assert.equal(prepared(software, 'kernels').filter(begun).length, 3, 'the text encoder, the UNet and the VAE have kernels');

  server.made.set('/pkg/worker.js', faultyWorker({ info: HARDWARE }));
  t.after(() => server.made.delete('/pkg/worker.js'));
  const { page, problems } = await opened();
  const { found, adapter, table } = await page.evaluate(async (text) => {
    const { keepMeasurements } = await import('/pkg/store/measurements.js');
    await keepMeasurements(JSON.parse(text).device, text);
    globalThis.sd = await load();
    return { found: await picture(sd), adapter: sd.adapter, table: await kept() };
  }, JSON.stringify({ device: DEVICE, variants: SHUFFLED }));
  const { pipelines, shuffling } = await askGpu(page);
  assert.equal(shuffling, 3, 'each of the attentions that the table has');
  assert.deepEqual([adapter.name, adapter.software], ['nvidia a test', false]);
  const difference = Math.max(...found.pixels.map((value, i) => Math.abs(value - software.pixels[i])));
  assert.ok(difference <= 2, `pixels differ by ${difference}`);

  const measured = prepared(found, 'measure');
  assert.equal(measured.filter(begun).length, 3, 'the text encoder, the UNet and the VAE are measured');
  assert.ok(measured.every(({ done, total }) => done < total));
  const { device, variants } = JSON.parse(table);
  assert.equal(device, DEVICE);
  assert.ok(Object.keys(variants).length > 10, table);

  const kernels = prepared(found, 'kernels');
  const all = kernels.filter(begun).reduce((sum, { total }) => sum + total, 0);
  assert.equal(kernels.length, all + 3, 'each is told');
  assert.ok(pipelines.createComputePipelineAsync >= all);
  // What brings weights in, and what little is done once a picture.
  assert.ok(pipelines.createComputePipeline < all / 2, `${pipelines.createComputePipeline} beside ${all}`);

  assert.deepEqual(problems, []);
  await page.close();
});

test('what was measured is kept for the next visit', async () => {
  server.made.set('/pkg/wordbrush.js', FAKE);
  const { page, problems } = await opened();
  const seen = await page.evaluate(async () => {
    const gpu = new File(['x'], 'gpu.safetensors');
    const seen = {};
    const visit = async (name, options) => {
      const sd = await load(options, gpu);
      const { events } = await picture(sd);
      await sd.dispose();
      seen[name] = events.filter(({ type }) => type === 'prepare').length;
    };
    await visit('untuned', { tune: false });
    seen.noTable = await kept().then(() => false, () => true);
    await visit('first', {});
    seen.table = await kept();
    await visit('second', {});
    await visit('untuned again', { tune: false });
    await keep('damaged');
    await visit('damaged', {});
    seen.tableAgain = await kept();
    return seen;
  });
  assert.deepEqual(seen, {
    untuned: 0, noTable: true, first: 2, table: 'measured on a GPU', second: 0, 'untuned again': 0, damaged: 2, tableAgain: 'measured on a GPU',
  });
  assert.deepEqual(problems, []);
  await page.close();
});

test('the page tells how far the preparations are', async () => {
  server.made.set('/pkg/wordbrush.js', FAKE);
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  await page.locator('#model-file').setInputFiles({ name: 'gpu.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  await page.getByLabel('Prompt', { exact: true }).fill('prepare and wait');
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.getByText('Measuring this GPU’s fastest kernels, once: 1 of 2', { exact: true }).waitFor();
  assert.equal(await page.locator('#progress progress').getAttribute('value'), '0.5');
  await screenshot(page, 'measuring');
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  server.made.delete('/pkg/wordbrush.js');
  assert.deepEqual(problems, []);
  await page.close();
});
