// In a browser without an adapter the page says so at once, tells how to enable WebGPU, and goes on: small models make their
// pictures on the CPU.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { randomTensors, readSpec, TOKEN_TABLE } from './lib/checkpoint.js';
import { drop, launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

const OPTIONS = { prompt: 'a (photo:1.2) of embedding:feline', negativePrompt: 'text', steps: 3, width: 64, height: 64, seed: '7' };

let server;
let browser;

before(async () => {
  server = await serve(new Map([...fixtures(), BLANK, ['/made/vast.safetensors', vastCheckpoint()]]));
  browser = await launch({ webgpu: false });
});
after(async () => {
  await browser?.close();
  server?.close();
});

// 3 million words of 64 numbers, which no one has to store: what the server sends of them is zeros.
function vastCheckpoint() {
  const header = {};
  let end = 0;
  for (const [name, { shape }] of randomTensors(readSpec(), 7)) {
    const size = name === TOKEN_TABLE ? [3_000_000, shape[1]] : shape;
    const start = end;
    end += 2 * size.reduce((product, length) => product * length, 1);
    header[name] = { dtype: 'F16', shape: size, data_offsets: [start, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const head = Buffer.concat([length, text]);
  const subarray = (start, stop) => Buffer.concat([head.subarray(start, stop), Buffer.alloc(stop - Math.max(start, Math.min(stop, head.length)))]);
  return { length: head.length + end, subarray };
}

// A blank page with the API and helpers as globals.
async function openApi(inBrowser) {
  const opened = await openPage(inBrowser, `${server.url}/blank.html`);
  await opened.page.evaluate(async () => {
    const { StableDiffusion, checkWebGPU } = await import('/pkg/index.js');
    const file = async (name) => new File([await (await fetch(`/made/${name}`)).blob()], name);
    const failure = (promise) => Promise.resolve(promise).then(
      () => ({ code: 'nothing failed' }),
      ({ code, message, hint }) => ({ code, message, hint }),
    );
    const pixels = async (blob) => {
      const bitmap = await createImageBitmap(blob);
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data].filter((_, i) => i % 4 < 3);
    };
    Object.assign(globalThis, { StableDiffusion, checkWebGPU, file, failure, pixels });
  });
  return opened;
}

// In dB, of 8-bit pictures.
function psnr(one, other) {
  assert.equal(one.length, other.length);
  const error = one.reduce((sum, value, i) => sum + (value - other[i]) ** 2, 0) / one.length;
  return 10 * Math.log10(255 ** 2 / Math.max(error, 1e-9));
}

// The same picture on WebGPU, in a browser that has it.
async function pictureOnWebGPU() {
  const other = await launch();
  try {
    const { page } = await openApi(other);
    await requireWebGPU(page);
    return await page.evaluate(async (options) => {
      const sd = await StableDiffusion.load(await file('small.safetensors'));
      await sd.addEmbedding(await file('feline.pt'));
      const { png } = await sd.generate(options);
      if (sd.device !== 'webgpu') throw new Error(sd.device);
      return pixels(png);
    }, OPTIONS);
  } finally {
    await other.close();
  }
}

test('the page says what is missing and what to do, and makes a picture on the CPU', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(120_000);
  const message = page.getByRole('alert').locator('[data-code="NO_GPU"]');
  await message.waitFor();
  assert.match(await message.textContent(), /WebGPU.*To enable it.*hardware acceleration.*chrome:\/\/flags.*small models run on the CPU, slowly/s);
  assert.match(await page.locator('#gpu').textContent(), /^GPU: none.*CPU/);

  await drop(page, ['small.safetensors', 'feline.pt'].map((name) => ({ name, url: `/made/${name}` })));
  await page.locator('#model-status', { hasText: 'f32 on the CPU' }).waitFor();
  await page.locator('#embedding-list .name', { hasText: 'feline' }).waitFor();
  const fields = { Prompt: OPTIONS.prompt, 'Negative prompt': OPTIONS.negativePrompt, Steps: 3, Width: 64, Height: 64, Seed: 7 };
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(String(value));
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.locator('#milestones', { hasText: 'The picture is ready.' }).waitFor();
  const found = await page.locator('#picture img').evaluate(async (img) => {
    await img.decode();
    const context = new OffscreenCanvas(img.naturalWidth, img.naturalHeight).getContext('2d');
    context.drawImage(img, 0, 0);
    return [...context.getImageData(0, 0, img.naturalWidth, img.naturalHeight).data].filter((_, i) => i % 4 < 3);
  });
  await page.locator('#copies').waitFor();
  assert.match(await page.locator('#memory').textContent(), /^Memory: /);
  await screenshot(page, 'no-gpu');
  assert.equal(await page.locator('#messages [data-code]').count(), 1, 'nothing but the notice');

  const decibels = psnr(found, await pictureOnWebGPU());
  console.log(`CPU against WebGPU: ${decibels.toFixed(1)} dB`);
  assert.ok(decibels >= 35, `${decibels} dB`);
  assert.deepEqual(problems, []);
  await page.close();
});

test('the API tells where it computes, and what is too large is refused with numbers', async () => {
  const { page, problems } = await openApi(browser);
  const said = await page.evaluate(async () => {
    const sd = await StableDiffusion.load('/made/small.safetensors');
    const { device, adapter } = sd;
    const memory = await sd.memory();
    await sd.dispose();
    const load = (name, options) => failure(StableDiffusion.load(`/made/${name}`, options));
    return {
      device, adapter, memory,
      check: await failure(checkWebGPU()), insisted: await load('small.safetensors', { device: 'webgpu' }),
      vast: await load('vast.safetensors'), vastOnCpu: await load('vast.safetensors', { device: 'cpu' }),
      sd2: await load('sd2.safetensors'), unknown: await load('small.safetensors', { device: 'tpu' }),
    };
  });
  assert.equal(said.device, 'cpu');
  assert.deepEqual(said.adapter, { name: 'CPU', backend: 'cpu', f16: false, software: true, storage: 'f32' });
  assert.ok(said.memory.gpuBytes === 0 && said.memory.wasmBytes < 192 * 1024 * 1024, JSON.stringify(said.memory));
  const codes = Object.fromEntries(Object.entries(said).filter(([, value]) => value.code).map(([name, { code }]) => [name, code]));
  assert.deepEqual(codes, {
    check: 'NO_GPU', insisted: 'NO_GPU', vast: 'NO_GPU', vastOnCpu: 'TOO_LARGE', sd2: 'WRONG_FAMILY', unknown: 'BAD_OPTION',
  }, JSON.stringify(said, null, 1));
  assert.match(said.vast.message, /no WebGPU adapter.*on the CPU.*19\d million.*0\.8 GB.*150 million/s);
  assert.match(said.vast.hint, /To enable it/);
  assert.deepEqual(problems, []);
  await page.close();
});

test('between steps the worker listens: steps are told, quick calls answered, an abort ends the picture', async () => {
  const { page, problems } = await openApi(browser);
  page.setDefaultTimeout(120_000);
  const said = await page.evaluate(async (options) => {
    const sd = await StableDiffusion.load('/made/small.safetensors');
    await sd.addEmbedding(await file('feline.pt'));
    const control = new AbortController();
    const picture = sd.generate({ ...options, steps: 500 }, { signal: control.signal });
    const steps = [];
    let tokens = null;
    const reason = await (async () => {
      for await (const event of picture) {
        if (event.type !== 'step') continue;
        steps.push(event.step);
        if (event.step === 1) tokens = sd.tokens('a cat').then(({ tokens }) => ({ tokens, at: steps.at(-1) }));
        if (event.step === 4) control.abort();
      }
    })().catch(({ name }) => name);
    const began = performance.now();
    const next = await sd.generate({ ...options, steps: 2 });
    const seconds = (performance.now() - began) / 1000;
    const same = await (await sd.generate({ ...options, steps: 2 })).png.arrayBuffer();
    const equal = new Uint8Array(same).every((byte, i, all) => all.length === next.png.size) && next.png.size === same.byteLength;
    await sd.dispose();
    return { steps, tokens: await tokens, reason, seconds, own: next.seconds, equal };
  }, OPTIONS);
  assert.equal(said.reason, 'AbortError');
  assert.deepEqual(said.steps.slice(0, 4), [1, 2, 3, 4]);
  assert.ok(said.steps.length < 20, `${said.steps.length} steps`);
  assert.equal(said.tokens.tokens, 2);
  assert.ok(said.tokens.at < 5, `answered after step ${said.tokens.at}`);
  // It waits for the step that was under way, not for the picture.
  assert.ok(said.seconds < 2 * said.own + 5, JSON.stringify(said));
  assert.ok(said.equal);
  assert.deepEqual(problems, []);
  await page.close();
});
