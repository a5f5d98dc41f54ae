// Once it was opened, the page opens and works without a network. The engine is the stand-in: what counts is that it arrives.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { drop, kept, launch, openPage } from './lib/browser.js';
import { hub, model } from './lib/hub.js';
import { DEMO, serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('./lib/fake_engine.js', import.meta.url));

let server;
let far; // where models come from, beside the page
let browser;

before(async () => {
  far = await hub();
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE]]), far);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
  far?.close();
});

test('with the network off the page opens again, loads a model and makes a picture', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  page.setDefaultTimeout(20_000);
  // The engine is the last of what is kept.
  await kept(page, `${server.url}/www/pkg/wordbrush_bg.wasm`);
  // Not the browser's own emulation: what a service worker asks for passes by it in some versions.
  server.goDown();

  await page.reload();
  await page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  await drop(page, [{ name: 'cat.pt', text: 'x' }]);
  await page.locator('#embedding-list .name').first().click();
  await page.getByLabel('Steps', { exact: true }).fill('2');
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.getByRole('img').waitFor();
  server.comeBack();
  // The network's refusals are the browser's to report; nothing of the page's own may fail.
  assert.deepEqual(problems.filter((problem) => !problem.includes('net::ERR_')), []);
  await page.close();
});

test('the built-in model and its embeddings are there with the network off, though nobody has used them before', async () => {
  server.made.set(DEMO, fileURLToPath(new URL('../../www/demo/index.json', import.meta.url)));
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  page.setDefaultTimeout(60_000);
  const example = page.getByRole('group', { name: 'Examples', exact: true }).getByRole('button', { name: 'A teal star', exact: true });
  await example.waitFor();
  const { model: { file }, embeddings } = JSON.parse(await readFile(server.made.get(DEMO), 'utf8'));
  for (const path of [file, ...embeddings.map((embedding) => embedding.file)]) await kept(page, `${server.url}/www/demo/${path}`);
  server.goDown();
  await page.reload();
  await example.click();
  await page.locator('#model-status', { hasText: 'shapes.safetensors is loaded' }).waitFor();
  await page.locator('#embedding-list .name', { hasText: 'teal-star' }).waitFor();
  await page.getByRole('img', { name: 'Generated picture', exact: false }).waitFor();
  server.comeBack();
  server.made.set(DEMO, Buffer.from('null'));
  assert.deepEqual(problems.filter((problem) => !problem.includes('net::ERR_')), []);
  await page.close();
});

test('a model that was downloaded once opens with the network off, in a page that does too', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  page.setDefaultTimeout(20_000);
  await kept(page, `${server.url}/www/pkg/wordbrush_bg.wasm`);
  far.files.set('far.safetensors', { bytes: model(3_000_000) });
  await page.getByText('Get a model from the web', { exact: true }).click();
  await page.getByLabel('Address of a .safetensors file', { exact: true }).fill(`${server.url}/owner/repository/resolve/main/far.safetensors`);
  await page.getByRole('button', { name: 'Look it up', exact: true }).click();
  await page.getByRole('button', { name: 'Download and load', exact: true }).click();
  await page.locator('#model-status', { hasText: 'far.safetensors is loaded' }).waitFor();
  server.goDown();
  await page.reload();
  await page.getByRole('button', { name: 'Open far.safetensors', exact: true }).click();
  await page.locator('#model-status', { hasText: 'far.safetensors is loaded' }).waitFor();
  await page.getByLabel('Steps', { exact: true }).fill('1');
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.getByRole('img').waitFor();
  server.comeBack();
  assert.deepEqual(problems.filter((problem) => !problem.includes('net::ERR_')), []);
  await page.close();
});

test('a new version is taken at the next visit with a network', async () => {
  const { page } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  page.setDefaultTimeout(20_000);
  const style = `${server.url}/www/style.css`;
  await kept(page, style);
  server.made.set('/www/style.css', Buffer.from('/* new */'));
  await page.reload();
  await kept(page, style, '/* new */');
  await page.close();
});

test('a new version in the middle of a picture waits: the picture is made, nothing is reloaded or lost', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  page.setDefaultTimeout(20_000);
  await kept(page, `${server.url}/www/pkg/wordbrush_bg.wasm`);
  await page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  await drop(page, [{ name: 'cat.pt', text: 'x' }]);
  await page.locator('#embedding-list .name').first().waitFor();
  await page.getByLabel('Prompt', { exact: true }).fill('a cat');
  await page.getByLabel('Steps', { exact: true }).fill('100');
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.locator('#progress', { hasText: /Step \d+ of 100/ }).waitFor();
  await page.evaluate(() => { globalThis.sameVisit = true; });

  const worker = await readFile(new URL('../../www/sw.js', import.meta.url), 'utf8');
  server.made.set('/www/sw.js', Buffer.from(`${worker}\n// another version`));
  server.made.set('/www/app/picture.js', Buffer.from('throw new Error("of another version");'));
  await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const old = registration.active;
    await registration.update();
    for (;;) {
      if (registration.waiting || (registration.active !== old && registration.active?.state === 'activated')) return;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  });
  await page.locator('#gallery .tiles button').first().waitFor();
  assert.ok(await page.evaluate(() => globalThis.sameVisit));
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'a cat');
  assert.deepEqual(await page.locator('#embedding-list .name').allTextContents(), ['cat']);
  // The visit goes on with the version that it began with.
  await page.getByLabel('Steps', { exact: true }).fill('1');
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.locator('#gallery .tiles button').nth(1).waitFor();
  assert.deepEqual(problems, []);
  for (const path of ['/www/sw.js', '/www/app/picture.js']) server.made.delete(path);
  await page.close();
});
