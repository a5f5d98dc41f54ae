// A diffusers folder, as a person chooses it, on the real engine: the same weights in one file give the same picture.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { randomTensors, safetensors } from './lib/checkpoint.js';
import { fill, finished, pixels } from './lib/demo.js';
import { serve } from './lib/server.js';

const lines = (list) => readFileSync(new URL(`../golden/names/${list}.txt`, import.meta.url), 'utf8').trim().split('\n');
// The widths of the real networks, made small.
const NARROW = {
  unet: (side) => (side === 768 ? 64 : side < 320 ? side : side / 10),
  vae: (side) => (side < 128 ? side : side / 4),
  text_encoder: (side) => ([77, 49408].includes(side) ? side : side / 12),
};
const FILES = { unet: 'unet/diffusion_pytorch_model', vae: 'vae/diffusion_pytorch_model', text_encoder: 'text_encoder/model' };

let server;
let browser;
let disk;

before(async () => {
  disk = mkdtempSync(join(tmpdir(), 'wordbrush-folder-'));
  writeModels();
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
  rmSync(disk, { recursive: true, force: true });
});

// A random network with all the tensors of Stable Diffusion 1.5, twice: in a file with the names of Stability's code, and in a
// folder with those of diffusers.
function writeModels() {
  const [names, theirs, shapes] = ['ldm', 'diffusers', 'shapes'].map(lines);
  const spec = names.map((name, i) => {
    const shape = shapes[i].split('x').map((side) => NARROW[theirs[i].split('.')[0]](Number(side)));
    const isNorm = shape.length === 1 && name.endsWith('weight');
    const std = shape.length === 1 ? 0.05 : /embedding/.test(name) ? 0.3 : 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b));
    return { name, shape, std, mean: isNorm ? 1 : 0 };
  });
  const tensors = randomTensors({ tensors: spec }, 11);
  // The VAE's attention is made of 1×1 convolutions there.
  const inOneFile = [...tensors].map(([name, { shape, data }]) => (
    [name, { data, shape: /attn_1\.(q|k|v|proj_out)\.weight$/.test(name) ? [...shape, 1, 1] : shape }]
  ));
  writeFileSync(join(disk, 'one-file.safetensors'), safetensors(new Map(inOneFile)));
  const folder = join(disk, 'my-diffusers');
  for (const [part, file] of Object.entries(FILES)) {
    const own = theirs.flatMap((name, i) => (name.startsWith(`${part}.`) ? [[name.slice(part.length + 1), tensors.get(names[i])]] : []));
    assert.ok(own.length > 30, part);
    mkdirSync(join(folder, part), { recursive: true });
    writeFileSync(join(folder, `${file}.safetensors`), safetensors(new Map(own)));
  }
  mkdirSync(join(folder, 'tokenizer'));
  for (const [name, text] of [['model_index.json', '{}'], ['README.md', 'a model'], ['tokenizer/merges.txt', '']]) writeFileSync(join(folder, name), text);
}

test('a folder that is chosen makes the picture of the file', { timeout: 600_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  await requireWebGPU(page);
  page.setDefaultTimeout(240_000);
  page.on('filechooser', () => {});
  const load = async (button, name) => {
    const chooser = page.waitForEvent('filechooser');
    await page.getByRole('button', { name: button, exact: true }).click();
    await (await chooser).setFiles(join(disk, name));
    await page.locator('#model-status', { hasText: `${name} is loaded` }).waitFor();
  };
  const made = async (seed) => {
    await fill(page, { Prompt: 'a cat', 'Negative prompt': 'a dog', Steps: 1, Width: 64, Height: 64, Seed: seed });
    await page.getByRole('button', { name: 'Generate', exact: true }).click();
    await page.locator('#stop[aria-disabled="false"]').waitFor();
    await finished(page);
    return pixels(page.getByRole('img', { name: 'Generated picture' }));
  };
  await load('Choose a file…', 'one-file.safetensors');
  const ofFile = await made(1);
  await load('Choose a folder…', 'my-diffusers');
  assert.equal(await made(1), ofFile);
  assert.notEqual(await made(2), ofFile, 'the noise counts');
  assert.deepEqual(problems, []);
  await page.close();
});
