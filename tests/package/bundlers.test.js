// The packed package in a page that is not ours: without a bundler, with Vite and with webpack, in real Chromium.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createServer as viteServer, build as viteBuild } from 'vite';
import webpack from 'webpack';
import { launch, openPage, requireWebGPU } from '../browser/lib/browser.js';
import { shown } from '../browser/lib/png.js';
import { serve } from '../browser/lib/server.js';
import { HERE, OUT, ROOT, demoModel, installed, served } from './lib/packed.js';

const MODEL = ['/shapes.safetensors', demoModel()];
const EMBEDDING = ['/teal-star.pt', join(ROOT, 'www/demo/embeddings/teal-star.pt')];

let browser;
const pictures = new Map();

before(async () => { browser = await launch(); });
after(async () => {
  await browser?.close();
});

// A folder with the app and the package.
function app(name) {
  const folder = installed(name);
  for (const file of ['index.html', 'main.js']) cpSync(join(HERE, 'apps', file), join(folder, file));
  return folder;
}

// Opens the app, waits for its picture, and keeps it.
async function picture(name, url) {
  const { page, problems } = await openPage(browser, url);
  await requireWebGPU(page);
  const status = page.getByRole('status');
  await status.filter({ hasText: /^done$|:/ }).waitFor({ timeout: 240_000 });
  assert.equal(await status.textContent(), 'done');
  const bytes = await page.locator('img').evaluate(async ({ src }) => [...new Uint8Array(await (await fetch(src)).arrayBuffer())]);
  const png = Buffer.from(bytes);
  writeFileSync(join(OUT, `${name}.png`), png);
  pictures.set(name, shown(png).toString('base64'));
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [64, 64]);
  assert.deepEqual(problems, []);
  await page.close();
}

async function servedPicture(name, folder) {
  const server = await serve(new Map([...served(folder), ['/', join(folder, 'index.html')], MODEL, EMBEDDING]));
  try {
    await picture(name, `${server.url}/`);
  } finally {
    server.close();
  }
}

test('the app has at most 20 lines', () => {
  const lines = readFileSync(join(HERE, 'apps/main.js'), 'utf8').trimEnd().split('\n');
  assert.ok(lines.length <= 20, `${lines.length} lines`);
});

test('a plain module script, with an import map', { timeout: 300_000 }, async () => {
  const folder = app('plain');
  const page = join(folder, 'index.html');
  const map = '<script type="importmap">{"imports": {"wordbrush": "./node_modules/wordbrush/index.js"}}</script>\n<script';
  writeFileSync(page, readFileSync(page, 'utf8').replace('<script', map));
  await servedPicture('plain', folder);
});

test('Vite, built', { timeout: 300_000 }, async () => {
  const root = app('vite');
  await viteBuild({ root, configFile: false, logLevel: 'warn', base: './' });
  await servedPicture('vite', join(root, 'dist'));
});

test('Vite’s development server', { timeout: 300_000 }, async () => {
  const root = app('vite-dev');
  for (const [path, file] of [MODEL, EMBEDDING]) cpSync(file, join(root, 'public', path));
  const server = await viteServer({ root, configFile: false, logLevel: 'warn', server: { port: 0, host: '127.0.0.1', hmr: false } });
  await server.listen();
  try {
    await picture('vite-dev', server.resolvedUrls.local[0]);
  } finally {
    await server.close();
  }
});

test('webpack 5, without a configuration', { timeout: 300_000 }, async () => {
  const folder = app('webpack');
  const output = join(folder, 'dist');
  const compiler = webpack({ mode: 'production', context: folder, entry: './main.js', output: { path: output } });
  const stats = await new Promise((resolve, reject) => { compiler.run((error, stats) => (error ? reject(error) : resolve(stats))); });
  await new Promise((resolve) => { compiler.close(resolve); });
  assert.deepEqual(stats.toJson({ all: false, errors: true }).errors.map(({ message }) => message), []);
  cpSync(join(folder, 'index.html'), join(output, 'index.html')); // webpack's output is called main.js too
  await servedPicture('webpack', output);
});

test('the picture is the same each time', () => {
  assert.equal(pictures.size, 4);
  assert.equal(new Set(pictures.values()).size, 1);
});
