// The packed package in Node.js: on WebGPU by the package `webgpu`, and without it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { shown } from '../browser/lib/png.js';
import { HERE, OUT, ROOT, demoModel, installed } from './lib/packed.js';
import { distance, pixels } from './lib/pixels.js';

const MODEL = demoModel();
const EMBEDDING = join(ROOT, 'www/demo/embeddings/teal-star.pt');
// Chromium brings a Vulkan driver for the CPU that Dawn accepts; older Mesa lacks what Dawn asks for.
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';
const env = { ...process.env };
if (!env.VK_DRIVER_FILES && !existsSync('/dev/dri/renderD128') && existsSync(SWIFTSHADER)) env.VK_DRIVER_FILES = SWIFTSHADER;

const outside = mkdtempSync(join(tmpdir(), 'wordbrush-')); // where no `webgpu` is found
after(() => rmSync(outside, { recursive: true }));

// Programs end by themselves, or they run into the time limit.
async function node(folder, ...args) {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: folder, env, timeout: 580_000 });
  return { stdout, stderr };
}

function app(parent) {
  const folder = installed('node', parent);
  cpSync(join(HERE, 'apps/node.mjs'), join(folder, 'node.mjs'));
  cpSync(join(ROOT, 'examples/node/remake.mjs'), join(folder, 'remake.mjs'));
  return folder;
}

function sameInBoth({ aborted, errors, info, params, phases, previews, memory }) {
  assert.equal(aborted, true, 'the picture was stopped, with the signal’s own reason');
  const codes = Object.entries(errors).filter(([name]) => !['gpu', 'insisted'].includes(name)).map(([name, { code }]) => [name, code]);
  assert.deepEqual(Object.fromEntries(codes), {
    option: 'BAD_OPTION', image: 'BAD_OPTION', picture: 'BAD_OPTION', missing: 'READ', noPicture: 'NO_RECIPE', wrong: 'UNKNOWN_FORMAT', disposed: 'DISPOSED',
  }, JSON.stringify(errors, null, 1));
  for (const [name, error] of codes.map(([name]) => [name, errors[name]])) assert.ok(error.ours, `${name}: ${JSON.stringify(error)}`);
  assert.match(errors.missing.message, /none\.safetensors cannot be read/);
  assert.match(errors.picture.message, /\{width, height, data\}/);
  assert.deepEqual([info.name, info.vectors], ['teal-star', 3]);
  assert.deepEqual([params.seed, params.width, params.steps], ['2032', 64, 2]);
  assert.deepEqual(phases, ['open', 'load', 'ready']);
  assert.deepEqual(previews[0], [8, 8, 256]);
  assert.ok(memory.wasmBytes > 1e6);
}

test('without the package webgpu small models run on the CPU, and a sentence says what to install', { timeout: 900_000 }, async () => {
  const folder = app(outside);
  const { stdout } = await node(folder, 'node.mjs', 'cpu', MODEL, EMBEDDING, join(OUT, 'node-cpu'));
  const told = JSON.parse(stdout);
  assert.equal(told.device, 'cpu');
  assert.equal(told.again, 64);
  sameInBoth(told);
  for (const error of [told.errors.gpu, told.errors.insisted]) {
    assert.equal(error.code, 'NO_GPU');
    assert.match(error.hint, /npm install webgpu/);
  }
});

test('the runner makes the picture of a PNG again', { timeout: 900_000 }, async () => {
  const [from, to] = ['node-cpu.png', 'remade-cpu.png'].map((name) => join(OUT, name));
  const { stderr } = await node(join(outside, 'node'), 'remake.mjs', MODEL, from, to, EMBEDDING);
  assert.match(stderr, /\(cpu\)[\s\S]*Step 2 of 2[\s\S]*64×64, seed 2032/);
  assert.ok(shown(readFileSync(from)).equals(shown(readFileSync(to))));
});

test('the runner says what is wrong', { timeout: 60_000 }, async () => {
  const run = (...args) => node(join(outside, 'node'), 'remake.mjs', ...args).catch((error) => error);
  const [usage, recipe] = [await run(MODEL), await run(MODEL, EMBEDDING, 'out.png')];
  assert.deepEqual([usage.code, recipe.code], [2, 1]);
  assert.match(usage.stderr, /^Usage: /);
  assert.match(recipe.stderr, /recipe/);
});

test('on WebGPU: the same picture but for rounding', { timeout: 900_000 }, async (context) => {
  const folder = app();
  const { stdout } = await node(folder, 'node.mjs', 'auto', MODEL, EMBEDDING, join(OUT, 'node-gpu'));
  const told = JSON.parse(stdout);
  sameInBoth(told);
  if (told.device !== 'webgpu') return context.skip(`Dawn finds no adapter: ${told.errors.gpu.hint}`);
  assert.equal(told.errors.gpu.code, 'nothing failed');
  assert.ok(told.memory.gpuBytes > 1e7, JSON.stringify(told.memory));
  const [gpu, cpu] = ['gpu', 'cpu'].map((device) => pixels(readFileSync(join(OUT, `node-${device}.png`))));
  const apart = distance(gpu, cpu);
  context.diagnostic(`${told.adapter.name}, ${told.adapter.storage}: ${apart.toFixed(3)} levels from the CPU's picture`);
  assert.ok(apart > 0 && apart < 1.5, `${apart} levels of 255 apart`);

  await node(folder, 'remake.mjs', MODEL, join(OUT, 'node-gpu.json'), join(OUT, 'remade-gpu.png'), EMBEDDING);
  assert.ok(shown(readFileSync(join(OUT, 'node-gpu.png'))).equals(shown(readFileSync(join(OUT, 'remade-gpu.png')))), 'the workflow gives it again');
});
