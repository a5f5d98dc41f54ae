// examples/web in real Chromium, as a reader would copy it: a folder with the examples, the package and the built-in model.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, openPage, requireWebGPU } from '../browser/lib/browser.js';
import { serve } from '../browser/lib/server.js';
import { OUT, ROOT, demoModel, installed, served } from './lib/packed.js';
import { distance, pixels } from './lib/pixels.js';

const EMBEDDING = join(ROOT, 'www/demo/embeddings/teal-star.pt');
const TIMEOUT = 240_000;

let folder;
let model;
let server;
let browser;

before(async () => {
  folder = installed('examples');
  model = demoModel();
  cpSync(join(ROOT, 'examples/web'), folder, { recursive: true });
  // Its pictures are larger than a test without a GPU has time for.
  const element = join(folder, 'word-brush.html');
  const html = readFileSync(element, 'utf8');
  const small = html.replaceAll('size="128" steps="20"', 'size="64" steps="2"');
  assert.notEqual(small, html);
  writeFileSync(element, small);
  server = await serve(new Map([...served(folder), ['/shapes.safetensors', model]]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function open(name) {
  const opened = await openPage(browser, `${server.url}/${name}`);
  await requireWebGPU(opened.page);
  opened.page.setDefaultTimeout(TIMEOUT);
  return opened;
}

// An image's pixels.
async function look(image) {
  const [width, height, ...data] = await image.evaluate((img) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: img.naturalWidth, height: img.naturalHeight });
    const context = canvas.getContext('2d');
    context.drawImage(img, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.width, canvas.height, ...data.filter((_, i) => i % 4 < 3)];
  });
  assert.ok(new Set(data).size > 50, 'the picture shows something');
  return { width, height, data };
}

// What it looks like, also on a phone, where nothing is cut off.
async function snapshot(page, name) {
  await page.screenshot({ path: join(OUT, `${name}.png`), fullPage: true });
  await page.setViewportSize({ width: 360, height: 740 });
  assert.equal(await page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth)), 0, `${name} is wider than a phone`);
  await page.screenshot({ path: join(OUT, `${name}-360.png`), fullPage: true });
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function choose(page, label, file, answer) {
  await page.getByLabel(label, { exact: true }).setInputFiles(file);
  await page.getByRole('status').filter({ hasText: answer }).waitFor();
}

test('bare.html: a checkpoint, a prompt, a picture', { timeout: 300_000 }, async () => {
  const script = readFileSync(join(folder, 'bare.html'), 'utf8').split('<script type="module">')[1].split('</script>')[0];
  assert.ok(script.trim().split('\n').length <= 20, script);
  const { page, problems } = await open('bare.html');
  await choose(page, 'Checkpoint', EMBEDDING, 'Wordbrush opens checkpoints as .safetensors only');
  await choose(page, 'Checkpoint', model, 'Ready.');
  await page.getByLabel('Prompt', { exact: true }).fill('a blue circle on a white background');
  await page.getByLabel('Size', { exact: true }).fill('64');
  await page.getByLabel('Steps', { exact: true }).fill('2');
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.getByRole('status').filter({ hasText: 'Done.' }).waitFor();
  const { width } = await look(page.getByRole('img', { name: 'a blue circle on a white background', exact: true }));
  assert.equal(width, 64);
  await snapshot(page, 'example-bare');
  assert.deepEqual(problems, []);
  await page.close();
});

test('compare.html: with and without an embedding, side by side', { timeout: 300_000 }, async () => {
  const { page, problems } = await open('compare.html');
  await choose(page, 'Checkpoint', model, 'Now choose an embedding.');
  await choose(page, 'Embedding', EMBEDDING, 'teal-star: 3 vectors.');
  await page.getByLabel('Prompt, with * for the embedding', { exact: true }).fill('a drawing of a * on a white background');
  await page.getByLabel('Word in its place', { exact: true }).fill('shape');
  await page.getByLabel('Size', { exact: true }).fill('64');
  await page.getByLabel('Steps', { exact: true }).fill('2');
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await page.getByRole('status').filter({ hasText: 'Done: the same seed twice.' }).waitFor();
  const name = (word) => ({ name: `a drawing of a ${word} on a white background`, exact: true });
  const apart = distance(await look(page.getByRole('img', name('embedding:teal-star'))), await look(page.getByRole('img', name('shape'))));
  assert.ok(apart > 2, `${apart} levels apart`);
  await snapshot(page, 'example-compare');
  assert.deepEqual(problems, []);
  await page.close();
});

test('word-brush.html: elements that share a model, and change with their attributes', { timeout: 300_000 }, async () => {
  const wasBefore = server.requests.filter((path) => path.endsWith('/wordbrush_bg.wasm')).length;
  const { page, problems } = await open('word-brush.html');
  const [stars, circle] = ['two outlined pink stars on a white background', 'a drawing of a medium blue circle on a lavender background']
    .map((name) => page.getByRole('img', { name, exact: true }));
  await stars.waitFor();
  await circle.waitFor();
  assert.ok(distance(await look(stars), await look(circle)) > 2);
  const workers = server.requests.filter((path) => path.endsWith('/wordbrush_bg.wasm'));
  assert.equal(workers.length - wasBefore, 1, 'one model, loaded once');
  await snapshot(page, 'example-word-brush');

  await page.locator('word-brush').first().evaluate((element, prompt) => {
    element.setAttribute('prompt', prompt);
    element.nextElementSibling.setAttribute('model', 'none.safetensors');
  }, 'a <b>square</b>');
  await page.getByRole('img', { name: 'a <b>square</b>', exact: true }).waitFor();
  await page.getByRole('alert').filter({ hasText: 'none.safetensors cannot be fetched: the server answered 404' }).waitFor();
  await page.evaluate(() => document.body.append(Object.assign(document.createElement('word-brush'), { id: 'bare' })));
  await page.locator('#bare').getByRole('alert').filter({ hasText: 'This word-brush has no model' }).waitFor();
  await snapshot(page, 'example-word-brush-changed');
  assert.deepEqual(problems.filter((problem) => !problem.includes('404')), []);
  await page.close();
});
