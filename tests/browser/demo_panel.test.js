// The panel of the built-in model, with an index and files made up here and the stand-in as engine.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { launch, openPage } from './lib/browser.js';
import { serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('./lib/fake_engine.js', import.meta.url));
const INDEX = {
  model: { file: 'm.safetensors.gz', name: 'm.safetensors', size: '1 kB', about: 'A model for the test.' },
  settings: { width: 128, height: 72, steps: 2, cfg: 6 },
  embeddings: [{ name: 'cat', file: 'embeddings/cat.pt', about: 'A cat' }, { name: 'dog', file: 'embeddings/dog.pt', about: 'A dog' }],
  examples: [{ title: 'A cat', prompt: 'embedding:cat', negativePrompt: '', seed: '7', embeddings: ['cat'] }],
};

let server;
let browser;

before(async () => {
  server = await serve(new Map([
    ['/pkg/wordbrush.js', FAKE],
    ['/www/demo/index.json', Buffer.from(JSON.stringify(INDEX))],
    ['/www/demo/m.safetensors.gz', gzipSync(Buffer.from('x'.repeat(1000)))],
    ['/www/demo/embeddings/cat.pt', Buffer.from('x')],
    ['/www/demo/embeddings/dog.pt', Buffer.from('y')],
  ]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('one click on an example loads the model, adds its embedding, fills the form and makes the picture', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(10_000);
  await page.getByRole('group', { name: 'Examples', exact: true }).getByRole('button', { name: 'A cat' }).click();
  await page.getByRole('img').waitFor();
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  const value = (label) => page.getByLabel(label, { exact: true }).inputValue();
  assert.deepEqual([await value('Prompt'), await value('Width'), await value('Height'), await value('Seed')], ['embedding:cat', '128', '72', '7']);
  assert.deepEqual(await page.locator('#embedding-list .name').allTextContents(), ['cat']);

  await page.getByRole('button', { name: 'dog.pt' }).click();
  await page.locator('#embedding-list .name', { hasText: 'dog' }).waitFor();
  assert.deepEqual(problems, []);
  await page.close();
});

test('two quick clicks on the load button fetch and load the model once', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(10_000);
  await page.getByRole('group', { name: 'Examples', exact: true }).waitFor();
  const fetched = () => server.requests.filter((path) => path === '/www/demo/m.safetensors.gz').length;
  const before = fetched();
  await page.getByRole('button', { name: 'Load the built-in model' }).dblclick();
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  assert.equal(fetched() - before, 1);
  assert.equal(await page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/pkg/worker.js')).length), 1);
  assert.deepEqual(problems, []);
  await page.close();
});

test('the page opens with an example, which Generate makes with its model and embedding; what was changed stays changed', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(10_000);
  const value = (label) => page.getByLabel(label, { exact: true }).inputValue();
  await page.getByRole('group', { name: 'Examples', exact: true }).waitFor();
  assert.deepEqual([await value('Prompt'), await value('Width'), await value('Seed')], ['embedding:cat', '128', '7']);
  await page.getByLabel('Steps', { exact: true }).fill('3');
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.getByRole('img').waitFor();
  assert.equal(await value('Steps'), '3');
  assert.deepEqual(await page.locator('#embedding-list .name').allTextContents(), ['cat']);
  assert.deepEqual(problems, []);
  await page.close();
});

test('a model of one’s own begins with its own settings, not with the example’s', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(10_000);
  await page.getByRole('group', { name: 'Examples', exact: true }).waitFor();
  await page.locator('#model-file').setInputFiles({ name: 'own.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'own.safetensors is loaded' }).waitFor();
  const value = (label) => page.getByLabel(label, { exact: true }).inputValue();
  assert.deepEqual([await value('Prompt'), await value('Width')], ['', '512']);
  assert.deepEqual(problems, []);
  await page.close();
});

test('an example embedding is dragged into the prompt', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(10_000);
  await page.getByRole('group', { name: 'Built-in model' }).getByRole('button').click();
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.fill('');
  await page.getByRole('button', { name: 'dog.pt' }).dragTo(prompt);
  await page.locator('#embedding-list .name', { hasText: 'dog' }).waitFor();
  assert.equal(await prompt.inputValue(), 'embedding:dog');
  assert.deepEqual(problems, []);
  await page.close();
});
