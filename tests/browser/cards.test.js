// The cards of the embeddings, with folders and preview pictures of a real disk; folders as models; what is spoken while something
// goes on. The engine is the stand-in.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { check } from './lib/axe.js';
import { dropPaths, launch, openPage, screenshot } from './lib/browser.js';
import { fill } from './lib/demo.js';
import { serve } from './lib/server.js';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));

let server;
let browser;
let disk;

before(async () => {
  server = await serve(new Map([['/pkg/wordbrush.js', file('./lib/fake_engine.js')]]));
  browser = await launch();
  disk = mkdtempSync(join(tmpdir(), 'wordbrush-cards-'));
  const picture = readFileSync(file('../../www/demo/with.png'));
  const files = {
    'styles/cat.pt': 'c', 'styles/cat.preview.png': picture, 'styles/dog.pt': 'd', 'styles/readme.txt': 'not for us', 'styles/more/deep.pt': 'e',
    'sun.pt': 's', 'sun.png': picture, 'moon.pt': 'm',
    'my-model/model_index.json': '{}', 'my-model/unet/diffusion_pytorch_model.safetensors': 'u', 'my-model/vae/diffusion_pytorch_model.safetensors': 'v',
    'my-model/text_encoder/model.safetensors': 't',
  };
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(disk, path, '..'), { recursive: true });
    writeFileSync(join(disk, path), content);
  }
});
after(async () => {
  await browser?.close();
  server?.close();
  rmSync(disk, { recursive: true, force: true });
});

const on = (...names) => names.map((name) => join(disk, name));
const names = (page) => page.locator('#embedding-list .name').allTextContents();

async function loadModel(page) {
  await page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
}

test('a folder and files are dropped: cards with pictures, in their folders, which stay', { timeout: 120_000 }, async () => {
  const context = await browser.newContext({ serviceWorkers: 'block', viewport: { width: 1280, height: 900 } });
  const { page, problems } = await openPage(context, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  await loadModel(page);
  await dropPaths(page, on('styles', 'sun.pt', 'sun.png', 'moon.pt'));
  const list = page.getByRole('list', { name: 'Embeddings', exact: true });
  await list.getByRole('button', { name: 'styles/more 1', exact: true }).waitFor();
  assert.deepEqual(await names(page), ['sun', 'moon', 'cat', 'dog', 'more/deep'], 'those of no folder first, each folder by itself');
  assert.deepEqual(await page.locator('#messages p').allTextContents(), [], 'what is no embedding in a folder is nobody’s business');
  const cat = list.getByRole('listitem').filter({ has: page.getByRole('button', { name: 'Insert embedding:cat into the prompt', exact: true }) });
  await cat.getByText('1 vector × 4, f32, mean norm 0.40, fake, abababababab', { exact: true }).waitFor();
  const pictures = list.getByRole('img');
  assert.deepEqual(await pictures.evaluateAll((all) => all.map(({ alt }) => alt)), ['What sun looks like', 'What cat looks like']);
  const isShown = () => pictures.evaluateAll(async (all) => {
    for (const it of all) it.loading = 'eager';
    await Promise.all(all.map((it) => it.decode()));
    return all.every(({ naturalWidth }) => naturalWidth > 0 && naturalWidth <= 256);
  });
  assert.ok(await isShown());
  await check(page, 'cards');
  await screenshot(page, 'cards');

  const folder = list.getByRole('button', { name: 'styles 2', exact: true });
  await folder.press('Enter');
  assert.deepEqual(await names(page), ['sun', 'moon', 'more/deep']);
  assert.deepEqual(await folder.evaluate((it) => [it === document.activeElement, it.ariaExpanded]), [true, 'false']);
  await folder.press('Enter');

  // Into either prompt, by a click and by dragging.
  const [prompt, negative] = ['Prompt', 'Negative prompt'].map((label) => page.getByLabel(label, { exact: true }));
  await list.getByRole('button', { name: 'Insert embedding:sun into the prompt', exact: true }).click();
  await list.getByRole('button', { name: 'Insert embedding:moon into the negative prompt', exact: true }).click();
  // Nothing may scroll or move between the two ends of a drag.
  await page.locator('.marks li').nth(1).waitFor();
  await page.setViewportSize({ width: 1280, height: 2400 });
  await list.getByRole('button', { name: 'Insert embedding:cat into the prompt', exact: true }).dragTo(negative);
  await page.waitForFunction(() => document.querySelector('[name="negativePrompt"]').value.includes('embedding:cat'));
  assert.match(await negative.inputValue(), /^(embedding:moon ?embedding:cat|embedding:cat ?embedding:moon)$/);
  assert.equal(await prompt.inputValue(), 'embedding:sun');
  await page.getByLabel('Prompt syntax').selectOption('AUTOMATIC1111');
  await prompt.fill('');
  await list.getByRole('button', { name: 'Insert embedding:more/deep into the prompt', exact: true }).click();
  assert.equal(await prompt.inputValue(), 'more/deep');

  await page.reload();
  await page.locator('#embedding-list li', { hasText: 'waits for a model' }).nth(4).waitFor();
  await list.getByRole('button', { name: 'styles 2', exact: true }).waitFor();
  await loadModel(page);
  await pictures.nth(1).waitFor();
  assert.ok(await isShown());
  await list.getByRole('button', { name: 'Remove cat', exact: true }).click();
  await list.getByRole('button', { name: 'styles 1', exact: true }).waitFor();
  assert.equal(await pictures.count(), 1);
  assert.deepEqual(problems, []);
  await context.close();
});

test('a folder is chosen by the button; its pictures belong to their embeddings', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  await loadModel(page);
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('button', { name: 'Add a folder…', exact: true }).click();
  await (await chooser).setFiles(join(disk, 'styles'));
  await page.locator('#embedding-list .name').nth(2).waitFor();
  assert.deepEqual((await names(page)).sort(), ['cat', 'dog', 'more/deep']);
  await page.getByRole('img', { name: 'What cat looks like', exact: true }).waitFor();
  assert.deepEqual(problems, []);
  await page.close();
});

test('a diffusers folder that is dropped is a model', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  await dropPaths(page, on('my-model'));
  await page.locator('#model-status', { hasText: 'my-model is loaded' }).waitFor();
  assert.deepEqual(problems, []);
  await page.close();
});

test('the screen stays on while a model is loaded and a picture is made, and no longer', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { before: () => {
    globalThis.screenLocks = { asked: 0, held: 0 };
    Object.defineProperty(navigator, 'wakeLock', { value: {
      async request(type) {
        if (type !== 'screen') throw new TypeError(type);
        screenLocks.asked += 1;
        screenLocks.held += 1;
        return { release: async () => { screenLocks.held -= 1; } };
      },
    } });
  } });
  page.setDefaultTimeout(30_000);
  const locks = (asked, held) => page.waitForFunction(([asked, held]) => screenLocks.asked === asked && screenLocks.held === held, [asked, held]);
  await page.locator('#model-file').setInputFiles({ name: 'slow.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await locks(1, 1);
  await page.locator('#model-status', { hasText: 'slow.safetensors is loaded' }).waitFor();
  await locks(1, 0);
  await fill(page, { Steps: 100, Width: 64, Height: 64 });
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await locks(2, 1);
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await locks(2, 0);
  assert.deepEqual(problems, []);
  await page.close();
});

test('a model, a VAE and embeddings are chosen by keyboard alone', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  page.on('filechooser', () => {}); // Playwright catches them from now on, not only while one is waited for.
  const choose = async (name, file) => {
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    for (let presses = 0; await focused() !== name; presses += 1) {
      assert.ok(presses < 80, `Tab never came to ${name}`);
      await page.keyboard.press('Tab');
    }
    const chooser = page.waitForEvent('filechooser');
    await page.keyboard.press('Enter');
    await (await chooser).setFiles(file);
  };
  const of = (name) => ({ name, mimeType: '', buffer: Buffer.from('x') });
  await choose('Choose a file…', of('m.safetensors'));
  await page.locator('#model-status', { hasText: 'm.safetensors is loaded' }).waitFor();
  await choose('Choose a VAE…', of('v.safetensors'));
  await page.locator('#model-status', { hasText: 'with the VAE v.safetensors' }).waitFor();
  await choose('Add files…', [of('cat.pt'), of('dog.pt')]);
  await page.locator('#embedding-list .name').nth(1).waitFor();
  await choose('Choose a folder…', join(disk, 'my-model'));
  await page.locator('#model-status', { hasText: 'my-model is loaded' }).waitFor();
  assert.deepEqual((await names(page)).sort(), ['cat', 'dog']);
  assert.deepEqual(problems, []);
  await page.close();
});

test('who looks sees how far each part is; who listens hears of a load and of a picture four times each', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(60_000);
  await page.evaluate(() => {
    [globalThis.heard, globalThis.seen] = [[], []];
    for (const id of ['load-progress', 'progress']) {
      const line = document.querySelector(`#${id} p`);
      new MutationObserver(() => globalThis.seen.push(line.textContent)).observe(line, { childList: true });
    }
    for (const id of ['load-milestones', 'milestones']) {
      const it = document.getElementById(id);
      if (it.getAttribute('role') !== 'status') throw new Error(`${id} is no live region`);
      new MutationObserver(() => globalThis.heard.push(it.textContent)).observe(it, { childList: true, characterData: true, subtree: true });
    }
  });
  const heard = () => page.evaluate(() => globalThis.heard.splice(0));
  await page.locator('#model-file').setInputFiles({ name: 'slow.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'slow.safetensors is loaded' }).waitFor();
  assert.deepEqual(await heard(), [25, 50, 75, 100].map((percent) => `Onto the GPU: ${percent} %`));
  await fill(page, { Steps: 40, Width: 64, Height: 64 });
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await page.getByRole('img', { name: 'Generated picture', exact: false }).waitFor();
  await page.locator('#milestones', { hasText: 'The picture is ready.' }).waitFor({ state: 'attached' });
  const seen = await page.evaluate(() => globalThis.seen);
  for (const wanted of [
    /^Reading the header…$/, /^Onto the GPU: [\d.]+ KiB of 1\.0 KiB, [\d.]+ KiB\/s, about [\d.]+ s left$/, /^Loaded: 1\.0 KiB of 1\.0 KiB/,
    /^Reading the prompt, preparing the GPU…$/, /^Step 20 of 40, about [\d.]+ s left$/, /^Turning the result into pixels…$/,
  ]) assert.ok(seen.some((text) => wanted.test(text)), `${wanted} was never seen: ${[...new Set(seen)].join(' | ')}`);
  assert.deepEqual(await heard(), ['Making a picture.', ...[10, 20, 30, 40].map((step) => `Step ${step} of 40`), 'The picture is ready.']);
  assert.deepEqual(problems, []);
  await page.close();
});
