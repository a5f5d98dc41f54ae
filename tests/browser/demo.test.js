// The built-in model in real Chromium, with its own files: what the page opens with, clicked through, its pictures read.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drop, kept, launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { DEMO, serve } from './lib/server.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUT = fileURLToPath(new URL('./out/', import.meta.url));

let server;
let browser;

before(async () => {
  server = await serve(new Map([
    ...fixtures(),
    [DEMO, `${ROOT}www/demo/index.json`],
    ['/made/other.safetensors', `${ROOT}tests/golden/models/two_levels.safetensors`], // of text width 128
  ]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

// What the attribute reader finds in the picture on the page.
async function look(page, name) {
  // The page's policy lets nobody fetch the picture's URL.
  const base64 = await page.getByRole('img').evaluate((img) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: img.naturalWidth, height: img.naturalHeight });
    canvas.getContext('2d').drawImage(img, 0, 0);
    return canvas.toDataURL('image/png').split(',')[1];
  });
  const path = `${OUT}${name}.png`;
  writeFileSync(path, Buffer.from(base64, 'base64'));
  const args = ['run', '--quiet', '--example', 'demo_model', '--', 'read', '--png', path];
  return JSON.parse(execFileSync('cargo', args, { cwd: ROOT, encoding: 'utf8' }));
}

// Waits until the page has made another picture after `change`.
async function picture(page, change) {
  const shown = () => page.evaluate(() => document.querySelector('#picture img')?.src ?? '');
  const before = await shown();
  await change();
  await page.waitForFunction((before) => {
    const img = document.querySelector('#picture img');
    return img?.src && img.src !== before && img.complete && document.querySelector('#stop').ariaDisabled === 'true';
  }, before, { timeout: 300_000 });
}

// Clicks the first example; what is in its picture is what the example says it shows.
async function firstExample(page, example, name) {
  await picture(page, () => page.getByRole('group', { name: 'Examples', exact: true }).getByRole('button', { name: example.title, exact: true }).click());
  const there = await look(page, name);
  assert.deepEqual([there.shape, there.style, there.failure], [example.shows.shape, example.shows.style, ''], JSON.stringify(there));
  assert.ok(Math.abs(there.hue - example.shows.hue) <= 14, `hue ${there.hue}`);
  return there;
}

const readDemo = async () => (await fetch(`${server.url}/www/demo/index.json`)).json();

test('with the network off the first example makes its picture at one click, and the embedding is what makes it', { timeout: 900_000 }, async (t) => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  await requireWebGPU(page);
  page.setDefaultTimeout(300_000);
  const { model, embeddings, examples } = await readDemo();
  const example = examples[0];
  await screenshot(page, 'demo-opened');
  for (const path of ['pkg/wordbrush_bg.wasm', ...[model, ...embeddings].map(({ file }) => `demo/${file}`)]) await kept(page, `${server.url}/www/${path}`);
  t.after(() => server.comeBack());
  server.goDown();
  await page.reload();

  const there = await firstExample(page, example, 'demo-with-embedding');
  await screenshot(page, 'demo-with-embedding-page');

  // The same seed with the embedding's word left out, in fewer steps: SwiftShader takes a minute for all of them.
  await page.getByLabel('Steps', { exact: true }).fill('8');
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.fill(example.prompt.replace(/embedding:\S+/, 'shape'));
  await picture(page, () => page.getByRole('button', { name: 'Generate' }).click());
  const without = await look(page, 'demo-without-embedding');
  const same = without.shape === there.shape && without.style === there.style && Math.abs(without.hue - example.shows.hue) <= 14;
  assert.ok(!same, `without the embedding: ${JSON.stringify(without)}`);
  // The network's refusals are the browser's to report.
  assert.deepEqual(problems.filter((problem) => !problem.includes('net::ERR_')), []);
  await page.close();
});

test('without an adapter the first example makes its picture on the CPU', { timeout: 600_000 }, async (t) => {
  const onCpu = await launch({ webgpu: false });
  t.after(() => onCpu.close());
  const { page, problems } = await openPage(onCpu, `${server.url}/www/`);
  page.setDefaultTimeout(300_000);
  const { examples } = await readDemo();
  await page.getByRole('alert').locator('[data-code="NO_GPU"]').waitFor();
  const begun = performance.now();
  await firstExample(page, examples[0], 'demo-on-cpu');
  console.log(`loaded, drawn and read on the CPU in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  assert.match(await page.locator('#model-status').textContent(), /f32 on the CPU/);
  await screenshot(page, 'demo-on-cpu-page');

  // One of words alone, with all steps, as the button says them.
  await picture(page, () => page.getByRole('button', { name: 'Only words' }).click());
  const plain = await look(page, 'demo-plain');
  assert.deepEqual(
    [plain.count, plain.style, plain.colour, plain.shape, plain.background],
    [2, 'outlined', 'pink', 'star', 'white'],
    JSON.stringify(plain),
  );
  assert.deepEqual(problems, []);
});

test('an embedding of another model waits for its own, listed, and comes back with it', { timeout: 600_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(120_000);
  const load = page.getByRole('group', { name: 'Built-in model' }).getByRole('button');
  await load.click();
  await page.locator('#model-status', { hasText: 'shapes.safetensors is loaded' }).waitFor();
  // The example on the page brought its embedding along.
  const there = page.locator('#embedding-list li', { hasText: '3 vectors × 64' }).filter({ hasText: 'teal-star' });
  const waiting = (name) => page.locator('#embedding-list li', { hasText: name }).filter({ hasText: 'another text width' });
  await there.waitFor();
  await drop(page, [{ name: 'wide.pt', url: '/made/wide.pt' }]);
  await waiting('wide.pt').waitFor();

  await drop(page, [{ name: 'other.safetensors', url: '/made/other.safetensors' }]);
  await page.locator('#model-status', { hasText: 'other.safetensors is loaded' }).waitFor();
  await waiting('teal-star.pt').waitFor();

  await load.click();
  await page.locator('#model-status', { hasText: 'shapes.safetensors is loaded' }).waitFor();
  await there.waitFor();
  assert.deepEqual(problems, []);
  await page.close();
});
