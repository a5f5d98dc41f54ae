// The main job, on the page, on the real engine: drop a checkpoint and embeddings, write a prompt, get the picture.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFile } from 'node:fs/promises';
import { drop, launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { shown } from './lib/png.js';
import { serve } from './lib/server.js';

let server;
let browser;
let page;
let problems;
let prompt;
let alerts;

const made = (...names) => names.map((name) => ({ name, url: `/made/${name}` }));
const names = () => page.locator('#embedding-list .name').allTextContents();
const modelLoaded = () => page.locator('#model-status', { hasText: 'is loaded' }).waitFor();

// Sets the fields, generates, and gives the PNG through the page's own download.
async function picture(fields) {
  await fill(fields);
  await page.getByRole('button', { name: 'Generate' }).click();
  await finished();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download PNG' }).click();
  const file = await download;
  assert.match(file.suggestedFilename(), /^wordbrush-\d+\.png$/);
  return readFile(await file.path());
}

async function fill(fields) {
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(String(value));
}

async function finished() {
  await page.locator('#stop[aria-disabled="true"]').waitFor();
  const said = await page.locator('#messages [data-code]').allTextContents();
  assert.equal(await page.locator('#milestones').textContent(), 'The picture is ready.', said.join('\n'));
}

before(async () => {
  server = await serve(fixtures());
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/www/`));
  await requireWebGPU(page);
  page.setDefaultTimeout(120_000);
  prompt = page.getByLabel('Prompt', { exact: true });
  alerts = page.getByRole('alert');
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('an embedding dropped before the model waits for it', async () => {
  await drop(page, made('two-words.safetensors'));
  await page.locator('#embedding-list li', { hasText: 'waits for a model' }).waitFor();
  await page.getByRole('button', { name: 'Generate' }).click();
  await alerts.getByText('Drop or choose a model first.').waitFor();
});

test('drop a checkpoint and a .pt, name both embeddings in the prompt, get the picture', async () => {
  await drop(page, made('small.safetensors', 'feline.pt'));
  await modelLoaded();
  await page.locator('#embedding-list .name').nth(1).waitFor();
  assert.deepEqual((await names()).sort(), ['feline', 'two-words']);
  await page.locator('#embedding-list li', { hasText: '2 vectors × 64' }).waitFor();

  await prompt.fill('a painting of');
  await page.getByRole('button', { name: 'Insert embedding:feline into the prompt' }).click();
  await page.getByRole('button', { name: 'Insert embedding:two-words into the prompt' }).click();
  assert.equal(await prompt.inputValue(), 'a painting of embedding:feline embedding:two-words');
  await page.locator('#token-count', { hasText: '6 tokens' }).waitFor();

  const first = await picture({ Steps: 2, Width: 64, Height: 64, 'Negative prompt': 'text' });
  assert.equal(first.subarray(1, 4).toString(), 'PNG');
  await screenshot(page, 'picture');
  assert.match(await page.locator('figcaption').textContent(), /64×64, 2 steps, CFG 8, euler, normal, seed 1234/);
  assert.equal(await alerts.locator('div').count(), 0);
  assert.deepEqual(await picture({}), first, 'the same seed must give the same bytes');
  assert.notDeepEqual(await picture({ Seed: 5 }), first);
});

test('an embedding whose rows are a word’s rows gives exactly the word’s picture', async () => {
  const word = await picture({ Prompt: 'a (cat:1.2) on a hill', Seed: 1234 });
  const embedding = await picture({ Prompt: 'a (embedding:feline:1.2) on a hill' });
  const extension = await picture({ Prompt: 'a (embedding:feline.pt:1.2) on a hill' });
  // The PNGs carry their recipes, which differ in the prompt; the pictures do not differ at all.
  assert.deepEqual(shown(embedding), shown(word));
  assert.deepEqual(shown(extension), shown(word));
  assert.notDeepEqual(shown(await picture({ Prompt: 'a (dog:1.2) on a hill' })), shown(word));
});

test('the page answers while a picture is made; Stop stops; the next picture is the same as ever', async () => {
  const before = await picture({ Prompt: 'a dog', Steps: 2 });
  await fill({ Steps: 100 });
  await page.evaluate(() => {
    globalThis.ticks = 0;
    setInterval(() => { globalThis.ticks += 1; }, 10);
  });
  await prompt.press('Control+Enter');
  await page.locator('#progress', { hasText: /Step \d+ of 100/ }).waitFor();
  const seed = await page.getByLabel('Seed', { exact: true }).inputValue();
  await page.getByRole('button', { name: 'New random seed' }).click();
  assert.notEqual(await page.getByLabel('Seed', { exact: true }).inputValue(), seed);
  assert.ok(await page.evaluate(() => globalThis.ticks > 5));
  assert.equal(await page.locator('#stop').getAttribute('aria-disabled'), 'false', 'the click was answered during the picture');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.locator('#milestones', { hasText: 'Stopped.' }).waitFor({ state: 'attached' });
  assert.deepEqual(await picture({ Prompt: 'a dog', Steps: 2, Seed: 1234 }), before);

  await fill({ Steps: 100 });
  await prompt.press('Control+Enter');
  await page.locator('#progress', { hasText: /Step \d+ of 100/ }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#milestones', { hasText: 'Stopped.' }).waitFor({ state: 'attached' });
});

test('broken files, wrong widths, other models: a sentence each, and the rest still works', async () => {
  const before = await picture({ Prompt: 'a house', Steps: 1, Seed: 1234 });
  const wrong = {
    'page.pt': 'HTML_PAGE', 'cut.pt': /BAD_ZIP|TRUNCATED/, 'wide.pt': 'WRONG_WIDTH', 'sd2.safetensors': 'WRONG_FAMILY',
  };
  for (const [file, code] of Object.entries(wrong)) {
    await drop(page, made(file));
    const message = alerts.locator('div', { hasText: file.split('.')[0] });
    await message.waitFor();
    assert.match(await message.getAttribute('data-code'), new RegExp(code));
  }
  await screenshot(page, 'broken-files');
  assert.deepEqual((await names()).sort(), ['feline', 'two-words', 'wide.pt']);
  await page.locator('#embedding-list li', { hasText: 'wide.pt' }).getByText('belongs to a model of another text width').waitFor();
  await page.getByRole('button', { name: 'Remove wide.pt' }).click();
  await page.locator('#embedding-list li', { hasText: 'wide.pt' }).waitFor({ state: 'detached' });
  assert.deepEqual((await names()).sort(), ['feline', 'two-words']);
  await page.locator('#model-status', { hasText: 'small.safetensors is loaded' }).waitFor();
  assert.deepEqual(await picture({}), before);
  for (const _ of Object.keys(wrong)) await alerts.getByRole('button', { name: 'Dismiss' }).first().press('Enter');
  assert.equal(await alerts.locator('div').count(), 0);
});

test('a misspelt embedding is a warning with the nearest name; useless options are errors', async () => {
  await prompt.fill('embedding:felin');
  await page.getByRole('listitem').filter({ hasText: 'There is no embedding felin.' }).getByRole('button', { name: 'Use feline' }).waitFor();
  await picture({ Steps: 1 });
  for (const [field, value, words] of [['Steps', 0, /steps/i], ['Width', 100, /8/], ['Steps', '', /steps/i]]) {
    await fill({ Steps: 1, Width: 64, [field]: value });
    await page.getByRole('button', { name: 'Generate' }).click();
    const message = alerts.locator('[data-code="BAD_OPTION"]', { hasText: words });
    await message.waitFor();
    await message.getByRole('button', { name: 'Dismiss' }).click();
  }
  await picture({ Steps: 1, Width: 64 });
});

test('a removed embedding is gone; another model keeps the others', async () => {
  await page.getByRole('button', { name: 'Remove two-words' }).click();
  await page.locator('#embedding-list li').nth(1).waitFor({ state: 'detached' });
  await page.locator('#model-file').setInputFiles({ name: 'another.safetensors', mimeType: '', buffer: server.made.get('/made/small.safetensors') });
  await page.locator('#model-status', { hasText: 'another.safetensors is loaded' }).waitFor();
  assert.deepEqual(await names(), ['feline']);
  await picture({ Prompt: 'embedding:feline' });
});

test('a GPU that is lost in the middle: the model and its embeddings are loaded again, the prompt stays', async () => {
  const before = await picture({ Steps: 1, Seed: 1234 });
  await fill({ Steps: 100 });
  await prompt.press('Control+Enter');
  await page.locator('#progress', { hasText: /Step \d+ of 100/ }).waitFor();
  await (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess');
  await alerts.locator('[data-code="DEVICE_LOST"]', { hasText: 'The model was loaded again' }).waitFor();
  assert.equal(await prompt.inputValue(), 'embedding:feline');
  assert.deepEqual(await names(), ['feline']);
  assert.deepEqual(await picture({ Steps: 1 }), before);
});

test('nothing was left uncaught, nothing broke the page’s policy', () => assert.deepEqual(problems, []));
