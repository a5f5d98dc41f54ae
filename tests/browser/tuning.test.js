// Before the first picture kernels are compiled and measured. Software adapters measure nothing, so this one says that it is none,
// and computes with the kernels of GPUs. Real engine.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { askGpu, faultyWorker } from './lib/faulty_gpu.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

const HARDWARE = { isFallbackAdapter: false, vendor: 'nvidia', architecture: 'a test', description: '' };

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

// What the page's tests call: load(options), picture(sd), kept() and keep(text), the one table of measurements in the browser's storage.
async function opened(plan) {
  server.made.set('/pkg/worker.js', faultyWorker(plan));
  const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
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
      load: (options) => StableDiffusion.load(model, options),
      generate: (sd, signal) => sd.generate({ prompt: 'a cat', seed: 5, steps: 1, cfg: 1, width: 64, height: 64 }, { signal }),
      // {events, pixels}
      async picture(sd) {
        const making = generate(sd);
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

function assertAlike(found, expected, what) {
  const difference = Math.max(...found.map((value, i) => Math.abs(value - expected[i])));
  assert.ok(difference <= 2, `${what}: pixels differ by ${difference}`);
}

test('a GPU is measured once, and the picture stays the same', { timeout: 900_000 }, async () => {
  const { page: usual } = await opened();
  const software = await usual.evaluate(async () => picture(await load()));
  await usual.close();
  assert.deepEqual(prepared(software, 'measure'), [], 'a software adapter is not measured');

  const { page, problems } = await opened({ info: HARDWARE });
  page.setDefaultTimeout(600_000);
  const first = await page.evaluate(async () => {
    const sd = await load();
    globalThis.first = sd;
    return { ...await picture(sd), adapter: sd.adapter, table: await kept() };
  });
  assert.deepEqual([first.adapter.name, first.adapter.software], ['nvidia a test', false]);
  const measured = prepared(first, 'measure');
  assert.equal(measured.filter(({ done }) => done === 0).length, 3, 'the text encoder, the UNet and the VAE are measured');
  assert.ok(measured.every(({ done, total }) => done < total));
  const { device, variants } = JSON.parse(first.table);
  assert.match(device, /^nvidia a test \(BrowserWebGpu, Nvidia\), packed, \d+ KiB, wordbrush /);
  assert.ok(Object.keys(variants).length > 10, first.table);
  assertAlike(first.pixels, software.pixels, 'measured');

  const { again, second, untuned, table } = await page.evaluate(async () => {
    const again = await picture(first);
    await first.dispose();
    const sd = await load();
    const second = await picture(sd);
    await sd.dispose();
    const untuned = await load({ tune: false });
    return { again, second, untuned: await picture(untuned), table: await kept() };
  });
  assert.deepEqual(again.events.filter(({ type }) => type === 'prepare'), [], 'the second picture of a size needs no preparing');
  assert.deepEqual(prepared(second, 'measure'), [], 'the next visit knows what was measured');
  assert.deepEqual(second.pixels, first.pixels);
  assert.deepEqual(prepared(untuned, 'measure'), [], 'tune: false');
  assertAlike(untuned.pixels, first.pixels, 'not measured');
  assert.equal(table, first.table);

  // What is damaged, or of another GPU, is measured anew.
  const others = ['', '{"device": 5}', first.table.slice(0, 100), JSON.stringify({ device: device.replace('nvidia', 'amd'), variants })];
  for (const other of others) {
    const measures = await page.evaluate(async (other) => {
      await keep(other);
      const sd = await load();
      for await (const { type, what } of generate(sd)) {
        if (type !== 'prepare' || what === 'measure') {
          sd.dispose();
          return what === 'measure';
        }
      }
    }, other);
    assert.ok(measures, `${other.slice(0, 40)} is not used`);
  }
  assert.deepEqual(problems, []);
  await page.close();
});

test('a GPU’s kernels are compiled in the background, and told', async () => {
  const { page, problems } = await opened({ info: HARDWARE });
  page.setDefaultTimeout(600_000);
  const made = await page.evaluate(async () => {
    globalThis.sd = await load({ tune: false });
    return picture(sd);
  });
  const { pipelines } = await askGpu(page);
  const kernels = prepared(made, 'kernels');
  const stages = kernels.filter(({ done }) => done === 0);
  assert.equal(stages.length, 3, 'the text encoder, the UNet and the VAE have kernels');
  const all = stages.reduce((sum, { total }) => sum + total, 0);
  assert.equal(kernels.length, all + stages.length, 'each is told');
  assert.equal(pipelines.createComputePipelineAsync, all);
  // What brings weights in, and what little is done once a picture.
  assert.ok(pipelines.createComputePipeline < all / 2, `${pipelines.createComputePipeline} beside ${all}`);
  assert.deepEqual(problems, []);
  await page.close();
});

test('the page tells how far the preparations are', { timeout: 600_000 }, async () => {
  server.made.set('/pkg/worker.js', faultyWorker({ info: HARDWARE }));
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(300_000);
  await page.locator('#model-file').setInputFiles({ name: 'small.safetensors', mimeType: '', buffer: server.made.get('/made/small.safetensors') });
  await page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  for (const [label, value] of [['Prompt', 'a cat'], ['Steps', '1'], ['CFG', '1'], ['Width', '64'], ['Height', '64']]) {
    await page.getByLabel(label, { exact: true }).fill(value);
  }
  await page.evaluate(() => {
    globalThis.told = [];
    const line = document.querySelector('#progress p');
    new MutationObserver(() => told.push(line.textContent)).observe(line, { childList: true });
  });
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.locator('#progress', { hasText: 'Measuring this GPU' }).waitFor();
  await screenshot(page, 'measuring');
  await page.locator('#gallery .tiles button').first().waitFor();
  const told = await page.evaluate(() => told);
  for (const words of [/^Measuring this GPU’s fastest kernels, once: \d+ of \d+$/, /^Preparing kernels: \d+ of \d+$/, /^Step 1 of 1/]) {
    assert.ok(told.some((text) => words.test(text)), `${words} in ${told.join(' | ')}`);
  }
  assert.deepEqual(problems, []);
  await page.close();
});
