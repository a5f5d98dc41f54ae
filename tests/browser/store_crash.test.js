// The GPU is lost while a model comes from the network: the real engine, with the model that comes with the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { hub } from './lib/hub.js';
import { serve } from './lib/server.js';

const BYTES = gunzipSync(readFileSync(new URL('../../www/demo/shapes.safetensors.gz', import.meta.url)));
const BLOCK = 8 << 20;

let server;
let far;
let browser;

before(async () => {
  far = await hub();
  server = await serve(new Map(), far);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
  far?.close();
});

test('it is loaded again by itself, from what is stored and the rest of the download', { timeout: 600_000 }, async () => {
  far.files.set('shapes.safetensors', { bytes: BYTES });
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  await requireWebGPU(page);
  page.setDefaultTimeout(300_000);
  await page.getByLabel('Prompt', { exact: true }).fill('two blue squares');
  await page.getByText('Get a model from the web', { exact: true }).click();
  await page.getByLabel('Address of a .safetensors file', { exact: true }).fill(`${server.url}/owner/repository/resolve/main/shapes.safetensors`);
  await page.getByRole('button', { name: 'Look it up', exact: true }).click();
  await page.locator('.found').getByText('to download').waitFor();
  far.requests.length = 0;
  const workers = () => page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/pkg/worker.js')).length);
  const before = await workers();
  Object.assign(far.files.get('shapes.safetensors'), { pace: 20_000, holdAt: BLOCK + 4_000_000 });
  await page.getByRole('button', { name: 'Download and load', exact: true }).click();
  // Beyond the first block, so that the GPU has its share already.
  await page.locator('#load-progress', { hasText: /Downloading: (9|1\d)\.\d MiB of/ }).waitFor();
  assert.equal(await workers(), before + 1);
  await (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess');
  Object.assign(far.files.get('shapes.safetensors'), { pace: Infinity, holdAt: undefined });
  await page.locator('#model-status', { hasText: 'shapes.safetensors is loaded' }).waitFor();
  assert.equal(await workers(), before + 2);
  // Whatever had arrived by then was not asked for again.
  const [first, ...later] = far.requests.map(({ range }) => Number(/\d+/.exec(range)[0]));
  assert.ok(first === 0 && later.every((start) => start >= BLOCK && start % BLOCK === 0), String(later));
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'two blue squares');
  assert.deepEqual(problems, []);
});
