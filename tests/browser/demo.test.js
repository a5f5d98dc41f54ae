// The model that comes with the page: one click draws what the prompt and the embedding say, and goes on without a network.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { shown } from './lib/png.js';
import { serve } from './lib/server.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUT = fileURLToPath(new URL('./out/', import.meta.url));

let server;
let browser;
let page;
let problems;

before(async () => {
  server = await serve();
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' }));
  await requireWebGPU(page);
  page.setDefaultTimeout(120_000);
});
after(async () => {
  await browser?.close();
  server?.close();
});

// What the reader of attributes sees in a PNG: the one that measures the model natively.
function read(path) {
  const said = execFileSync('cargo', ['run', '--quiet', '--example', 'demo_model', '--', 'read', '--png', path], { cwd: ROOT });
  return JSON.parse(said);
}

async function picture(name) {
  await page.locator('#generate[aria-disabled="false"]').waitFor();
  assert.equal(await page.locator('#milestones').textContent(), 'The picture is ready.', await page.locator('#messages').textContent());
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download PNG' }).click();
  const png = await readFile(await (await download).path());
  const path = `${OUT}demo-${name}.png`;
  await writeFile(path, png);
  return { png, path };
}

// Clicks an example and gives its picture.
async function play(title, name) {
  const started = page.locator('#generate[aria-disabled="true"]').waitFor();
  await page.getByRole('group', { name: 'Examples' }).getByRole('button', { name: title, exact: true }).click();
  await started;
  return picture(name);
}

let first;

test('one click on an example loads the model, adds the embeddings and draws what they mean', async () => {
  first = await play('A teal star', 'with');
  const seen = read(first.path);
  assert.deepEqual([seen.shape, seen.colour, seen.style, seen.background], ['star', 'teal', 'striped', 'white']);
  assert.match(await page.locator('#model-status').textContent(), /shapes\.safetensors is loaded/);
  assert.deepEqual((await page.locator('#embedding-list .name').allTextContents()).sort(), ['failures', 'teal-star']);
  await screenshot(page, 'demo');
});

test('the same prompt without the embedding draws no teal star', async () => {
  const { path } = await play('… without the embedding', 'without');
  const seen = read(path);
  assert.equal(seen.shape, 'star');
  assert.notDeepEqual([seen.colour, seen.style], ['teal', 'striped']);
});

test('words alone, counted and coloured', async () => {
  const seen = read((await play('Words alone', 'words')).path);
  const asked = { shape: 'heart', colour: 'orange', style: 'striped', background: 'lavender', count: 3 };
  assert.deepEqual(Object.fromEntries(Object.keys(asked).map((key) => [key, seen[key]])), asked);
});

test('embeddings in four formats are added by a click, or by dragging one into the prompt', async () => {
  const chips = page.getByRole('group', { name: 'Example embeddings' });
  await chips.getByRole('button', { name: 'magenta-heart.bin' }).click();
  await chips.getByRole('button', { name: 'lime-diamond.safetensors' }).click();
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.fill('');
  await chips.getByRole('button', { name: 'teal.png' }).dragTo(prompt);
  await page.locator('#embedding-list .name').nth(4).waitFor();
  assert.equal((await prompt.inputValue()).trim(), 'embedding:teal');
  const names = await page.locator('#embedding-list .name').allTextContents();
  assert.deepEqual(names.sort(), ['failures', 'lime-diamond', 'magenta-heart', 'teal', 'teal-star']);
});

test('with the network off the page opens again and draws the same picture', async () => {
  const model = `${server.url}/www/demo/shapes.safetensors.gz`;
  await page.waitForFunction(async (url) => Boolean(await caches.match(url)), model);
  await page.context().setOffline(true);
  server.requests.length = 0;
  await page.reload();
  const again = await play('A teal star', 'offline');
  assert.deepEqual(server.requests, [], 'nothing was asked of the server');
  assert.ok(shown(again.png).equals(shown(first.png)));
  assert.deepEqual(problems.filter((problem) => !/ERR_INTERNET_DISCONNECTED/.test(problem)), []);
});
