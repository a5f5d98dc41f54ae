// The page as a program of its own: installable, and in a folder somewhere on a server. How it is brought up to date is in
// offline.test.js. The engine is the stand-in.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openPage } from './lib/browser.js';
import { serve } from './lib/server.js';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const AT = '/~someone/tools/wordbrush/';

let server;
let profile;
let browser; // a person's own profile: private windows install nothing

before(async () => {
  server = await serve(new Map([['/pkg/wordbrush.js', file('./lib/fake_engine.js')]]), { at: AT });
  profile = mkdtempSync(join(tmpdir(), 'wordbrush-install-'));
  browser = await launch({ profile });
});
after(async () => {
  await browser?.close();
  server?.close();
  rmSync(profile, { recursive: true, force: true });
});

async function open() {
  const { page, problems } = await openPage(browser, server.url + AT);
  page.setDefaultTimeout(30_000);
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  return { page, problems };
}

async function makePicture(page, steps) {
  await page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  await page.getByLabel('Steps', { exact: true }).fill(String(steps));
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
}

test('it can be installed: the manifest has no errors, its addresses are the page’s own, the icons are what it says', async () => {
  const { page, problems } = await open();
  const cdp = await browser.newCDPSession(page);
  const { data, errors } = await cdp.send('Page.getAppManifest');
  assert.deepEqual(errors, []);
  const { installabilityErrors } = await cdp.send('Page.getInstallabilityErrors');
  assert.deepEqual(installabilityErrors, []);
  const manifest = JSON.parse(data);
  for (const name of ['id', 'start_url', 'scope']) assert.equal(new URL(manifest[name], server.url + AT).href, server.url + AT, name);
  for (const { src, sizes } of manifest.icons.filter(({ type }) => type === 'image/png')) {
    const png = readFileSync(file(`../../www/${src}`));
    assert.equal(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`, sizes, src);
  }
  assert.ok(manifest.icons.some(({ purpose }) => purpose === 'maskable'));
  await page.getByRole('button', { name: 'Install', exact: true }).waitFor(); // Chromium offers it itself.
  assert.deepEqual(problems, []);
  await page.close();
});

test('the button is there when the browser offers it, asks once, and goes', async () => {
  const { page, problems } = await open();
  const button = page.getByRole('button', { name: 'Install', exact: true });
  const offer = (outcome) => page.evaluate((outcome) => {
    globalThis.asked = 0;
    const prompt = async () => {
      globalThis.asked += 1;
      return { outcome };
    };
    dispatchEvent(Object.assign(new Event('beforeinstallprompt', { cancelable: true }), { prompt }));
  }, outcome);
  await button.waitFor(); // Chromium's own offer, which would come in between.
  await offer('dismissed');
  await button.click();
  assert.ok(await button.isVisible(), 'who thinks again can still have it');
  await offer('accepted');
  await button.click();
  await button.waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => globalThis.asked), 1);
  assert.deepEqual(problems, []);
  await page.close();
});

test('in a folder of a server it asks for nothing outside of it, and works without a network from there too', async () => {
  const asked = [];
  const { page, problems } = await open();
  page.on('request', (request) => asked.push(request.url()));
  await page.reload();
  await makePicture(page, 1);
  await page.getByRole('img', { name: 'Generated picture', exact: false }).waitFor();
  assert.ok(asked.length > 30, `${asked.length} requests`);
  assert.deepEqual(asked.filter((url) => !url.startsWith('blob:') && !url.startsWith(server.url + AT)), []);
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.ready).scope), server.url + AT);
  await page.evaluate(async (last) => {
    while (!await caches.match(last)) await new Promise((resolve) => { setTimeout(resolve, 50); });
  }, `${server.url}${AT}pkg/wordbrush_bg.wasm`);
  server.goDown();
  await page.reload();
  await makePicture(page, 1);
  await page.getByRole('img', { name: 'Generated picture', exact: false }).waitFor();
  server.comeBack();
  assert.deepEqual(problems.filter((problem) => !problem.includes('net::ERR_')), []);
  await page.close();
});
