// Every kind of file that carries a recipe is dropped on the page, and the form is as it says. The engine is the real one; it reads
// recipes without a model.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { drop, launch, openPage } from './lib/browser.js';
import { intoJpeg, intoPng, intoWebp } from './lib/recipes.js';
import { serve } from './lib/server.js';

const A1111 = 'a lighthouse, été 日本\nNegative prompt: fog\nSteps: 7, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 4242, Size: 128x64';
const COMFY = {
  3: { class_type: 'KSampler', inputs: { seed: 99, steps: 9, cfg: 6, sampler_name: 'euler', scheduler: 'normal', denoise: 1, model: ['4', 0], positive: ['6', 0], negative: ['7', 0], latent_image: ['5', 0] } },
  4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'm.safetensors' } },
  5: { class_type: 'EmptyLatentImage', inputs: { width: 192, height: 256, batch_size: 1 } },
  6: { class_type: 'CLIPTextEncode', inputs: { text: 'a harbour', clip: ['4', 1] } },
  7: { class_type: 'CLIPTextEncode', inputs: { text: 'rain', clip: ['4', 1] } },
  8: { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } },
  9: { class_type: 'SaveImage', inputs: { filename_prefix: 'ComfyUI', images: ['8', 0] } },
};
const OF_A1111 = { Prompt: 'a lighthouse, été 日本', 'Negative prompt': 'fog', Steps: '7', CFG: '5.5', Seed: '4242', Width: '128', Height: '64' };
const OF_COMFY = { Prompt: 'a harbour', 'Negative prompt': 'rain', Steps: '9', CFG: '6', Seed: '99', Width: '192', Height: '256' };

let server;
let browser;
let page;
let problems;

before(async () => {
  server = await serve();
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/www/`));
  page.setDefaultTimeout(60_000);
  const painted = async (type) => Buffer.from(await page.evaluate(async (type) => {
    const canvas = new OffscreenCanvas(32, 16);
    canvas.getContext('2d').fillRect(4, 4, 8, 8);
    return [...new Uint8Array(await (await canvas.convertToBlob({ type })).arrayBuffer())];
  }, type));
  server.made.set('/made/a.png', intoPng(await painted('image/png'), A1111));
  server.made.set('/made/a.jpg', intoJpeg(await painted('image/jpeg'), A1111));
  server.made.set('/made/a.webp', intoWebp(await painted('image/webp'), A1111, 32, 16));
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function restored(file, wanted) {
  for (const label of Object.keys(wanted)) await page.getByLabel(label, { exact: true }).fill('');
  await drop(page, [file]);
  await page.getByText(`The settings come from ${file.name}.`, { exact: true }).waitFor();
  const found = {};
  for (const label of Object.keys(wanted)) found[label] = await page.getByLabel(label, { exact: true }).inputValue();
  assert.deepEqual(found, wanted);
}

test('a PNG of A1111', () => restored({ name: 'a.png', url: '/made/a.png' }, OF_A1111));

test('a JPEG of A1111', () => restored({ name: 'a.jpg', url: '/made/a.jpg' }, OF_A1111));

test('a WebP of A1111', () => restored({ name: 'a.webp', url: '/made/a.webp' }, OF_A1111));

test('a text of A1111', () => restored({ name: 'a.txt', text: A1111 }, OF_A1111));

test('a workflow of ComfyUI', () => restored({ name: 'workflow.json', text: JSON.stringify(COMFY) }, OF_COMFY));

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
