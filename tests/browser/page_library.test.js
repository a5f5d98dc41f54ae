// The page's recipes and its list of embeddings, on a stand-in for the wasm (lib/fake_engine.js).

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drop, launch, openPage, screenshot } from './lib/browser.js';
import { serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('lib/fake_engine.js', import.meta.url));
let server;
let browser;

before(async () => {
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE]]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function loadModel(page) {
  await page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#stop-loading').waitFor({ state: 'hidden' });
  await page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
}

// The recipe that the picture on the page carries, as the stand-in writes it.
async function savedRecipe(page) {
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download PNG' }).click();
  const png = await readFile(await (await download).path(), 'latin1');
  return JSON.parse(png.split('recipe:')[1]);
}

test('a recipe’s templates go into both prompts, and into the next picture; A1111’s do not', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(8000);
  await loadModel(page);
  const fields = async () => [
    await page.getByLabel('Prompt', { exact: true }).inputValue(), await page.getByLabel('Negative prompt', { exact: true }).inputValue(),
  ];
  const recipe = {
    prompt: 'a red {car}', template: String.raw`a {red|green} \{car\}`, steps: 1, width: 64, height: 64,
    negativePrompt: '{logo}', negativeTemplate: String.raw`\{logo\}`, promptSyntax: 'comfy',
  };
  const use = async (name, changes) => {
    await drop(page, [{ name, text: JSON.stringify({ ...recipe, ...changes }) }]);
    await page.locator('#recipe .from', { hasText: name }).waitFor();
    return fields();
  };
  assert.deepEqual(await use('comfy.txt', {}), [recipe.template, recipe.negativeTemplate]);
  await page.getByRole('button', { name: 'Generate' }).click();
  const { prompt, negativePrompt } = await savedRecipe(page);
  assert.deepEqual([prompt, negativePrompt], [recipe.template, recipe.negativeTemplate]);

  assert.deepEqual(await use('plain.txt', { negativeTemplate: undefined }), [recipe.template, '{logo}']);
  assert.deepEqual(await use('a1111.txt', { promptSyntax: 'a1111' }), ['a red {car}', '{logo}']);
  assert.deepEqual(problems, []);
  await page.close();
});

test('what the network predicts, how its noise levels end and how it is decoded are the model’s and the engine’s until they are chosen', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(8000);
  await loadModel(page);
  for (const label of ['Steps', 'Width', 'Height']) await page.getByLabel(label, { exact: true }).fill(label === 'Steps' ? '1' : '64');
  const asked = async (pictures) => {
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.locator('#gallery .tiles button').nth(pictures - 1).waitFor();
    const { prediction, zeroTerminalSnr, vaeTiling } = await savedRecipe(page);
    return [prediction, zeroTerminalSnr, vaeTiling];
  };
  assert.deepEqual(await asked(1), [undefined, undefined, 'auto']);
  await page.getByText('Noise, sampler and guidance settings').click();
  await page.getByLabel('The network predicts', { exact: true }).selectOption('v');
  await page.getByLabel('Ends in noise alone', { exact: true }).selectOption('yes');
  await page.getByLabel('Decode in strips', { exact: true }).check();
  assert.deepEqual(await asked(2), ['v', true, true]);
  assert.deepEqual(problems, []);
  await page.close();
});

test('what of a dynamic prompt stays is told for the seed that is in the form', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(20_000);
  await loadModel(page);
  const told = page.locator('prompt-field .chosen').first();
  await page.getByLabel('Seed', { exact: true }).fill('4');
  await page.getByLabel('Prompt', { exact: true }).fill('a {red|green} car');
  await told.getByText('This time: a red car', { exact: true }).waitFor();
  await page.getByLabel('Seed', { exact: true }).fill('5');
  await told.getByText('This time: a green car', { exact: true }).waitFor();
  await page.getByLabel('Seed', { exact: true }).fill('-1');
  await told.filter({ hasText: /^$/ }).waitFor({ state: 'attached' }); // Nobody knows yet.
  await page.getByRole('button', { name: 'New random seed', exact: true }).click();
  await told.getByText(/^This time: a (red|green) car$/).waitFor();
  await page.getByLabel('Prompt', { exact: true }).fill('a car');
  await told.filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
  assert.deepEqual(problems, []);
  await page.close();
});

test('5000 embeddings: the list shows some, counts the others, and finds each by a part of its name', async () => {
  // Without storage, which is not what this is about: writing 5000 files takes a minute.
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { before: () => {
    Object.defineProperty(navigator, 'storage', { value: undefined });
  } });
  page.setDefaultTimeout(120_000);
  const files = Array.from({ length: 5000 }, (_, i) => ({ name: `Style ${String(i).padStart(4, '0')}.pt`, text: 'x' }));
  const rows = page.locator('#embedding-list > ul > li');
  const left = page.locator('#embedding-list .left');
  const search = page.getByRole('searchbox', { name: 'Find by name' });
  const elements = () => page.evaluate(() => document.querySelectorAll('*').length);

  assert.ok(await search.isHidden(), 'an empty list has nothing to find');
  await drop(page, files);
  await left.getByText('4800 more: type to filter.').waitFor();
  assert.equal(await rows.filter({ hasText: 'waits for a model' }).count(), 200);
  await loadModel(page);
  await left.getByText('4800 more: type to filter.').waitFor();
  assert.equal(await rows.filter({ hasText: '1 vector × 4' }).count(), 200);
  assert.ok(await elements() < 5000, `${await elements()} elements`);
  await screenshot(page, 'many-embeddings');

  // Each step is one key, so the time is that of a person's typing.
  await search.pressSequentially('STYLE 48');
  await left.getByText('100 of 5000.').waitFor();
  assert.equal(await rows.count(), 100);
  await search.pressSequentially('21');
  await left.getByText('1 of 5000.').waitFor();
  await page.getByRole('button', { name: 'Insert embedding:Style 4821 into the prompt' }).click();
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'embedding:Style 4821');
  await page.getByText('Details').click();
  await page.locator('.facts', { hasText: '<b>dog</b> (0.50)' }).waitFor();
  await page.getByRole('button', { name: 'Remove Style 4821' }).click();
  await left.getByText('None of the 4999 names has “STYLE 4821” in it.').waitFor();
  assert.equal(await rows.count(), 0);

  await search.press('Escape');
  await left.getByText('4799 more: type to filter.').waitFor();
  assert.equal(await search.inputValue(), '');
  assert.equal(await rows.count(), 200);
  await search.fill('<b>');
  await left.getByText('None of the 4999 names has “<b>” in it.').waitFor();
  await search.fill('e 1');
  await left.getByText('800 more: type more of a name.').waitFor();

  // The menus of what to mix are filled when they are seen.
  assert.ok(await elements() < 5000, `${await elements()} elements`);
  await page.getByText('Make an embedding').click();
  await page.getByLabel('Made by').selectOption('mix');
  assert.equal(await page.locator('.terms select').first().locator('option').count(), 4999);
  assert.deepEqual(problems, []);
  await page.close();
});

// What the visit before has kept is written again under its handle; a model that is loaded later must still be able to read it.
test('embeddings of the last visit: added again, replaced, or removed in part, the rest is there for the next model and visit', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const { page, problems } = await openPage(context, `${server.url}/www/`);
  page.setDefaultTimeout(8000);
  const names = page.locator('#embedding-list .name');
  const shown = async (...wanted) => {
    await names.nth(wanted.length - 1).waitFor();
    await names.nth(wanted.length).waitFor({ state: 'detached' });
    assert.deepEqual((await names.allTextContents()).sort(), wanted);
  };
  await loadModel(page);
  for (const [name, text] of [['cat', 'fur'], ['dog', 'tail'], ['two', 'both']]) {
    await drop(page, [{ name: `${name}.pt`, text }]);
    await names.filter({ hasText: name }).first().waitFor();
  }
  await shown('cat', 'dog', 'two-one', 'two-other');
  await page.reload();
  await loadModel(page);
  await shown('cat', 'dog', 'two-one', 'two-other');

  const stored = page.locator('#store-status');
  await drop(page, [{ name: 'cat.pt', text: 'fur' }, { name: 'dog.pt', text: 'bark' }, { name: 'new.pt', text: 'new' }]);
  await names.filter({ hasText: 'new' }).waitFor();
  await page.getByRole('button', { name: 'Remove two-one' }).click();
  await shown('cat', 'dog', 'new', 'two-other');
  await stored.getByText('4 kept in this browser').waitFor();
  await loadModel(page);
  await shown('cat', 'dog', 'new', 'two-other');
  assert.equal(await page.getByRole('alert').locator('div').count(), 0);
  await page.reload();
  await loadModel(page);
  await shown('cat', 'dog', 'new', 'two-other');
  await stored.getByText('4 kept in this browser').waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

// Where Chromium may say that the origin's quota is used up.
for (const [where, method] of [
  ['FileSystemFileHandle', 'createWritable'], ['FileSystemWritableFileStream', 'write'], ['FileSystemWritableFileStream', 'close'],
]) {
  test(`a full storage (${method}): a sentence; the embedding is usable, what is kept stays, what is forgotten makes room`, async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const { page, problems } = await openPage(context, `${server.url}/www/`, { before: (`(${(where, method) => {
      const { prototype } = globalThis[where];
      const real = prototype[method];
      prototype[method] = async function refusing(...given) {
        if (globalThis.full) throw new DOMException('The quota has been exceeded.', 'QuotaExceededError');
        return real.apply(this, given);
      };
    }})('${where}', '${method}')`) });
    page.setDefaultTimeout(8000);
    const status = page.locator('#store-status');
    const names = page.locator('#embedding-list .name');
    const add = async (name) => {
      await drop(page, [{ name: `${name}.pt`, text: name }]);
      await names.filter({ hasText: name }).waitFor();
    };
    const inStore = () => page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('wordbrush-embeddings', { create: true });
      const files = [];
      for await (const handle of folder.values()) files.push((await (await handle.getFile()).text()).split('\n')[1]);
      return files;
    });
    const full = (full) => page.evaluate((full) => { globalThis.full = full; }, full);
    await loadModel(page);
    await add('early');
    await status.getByText('1 kept in this browser for the next visit.').waitFor();

    await full(true);
    await add('late');
    await status.getByText('1 kept in this browser for the next visit. New embeddings are not kept for the next visit: the browser’s storage is full.').waitFor();
    assert.deepEqual(await inStore(), ['early'], 'nothing half-written stays');
    await page.getByRole('button', { name: 'Insert embedding:late into the prompt' }).click();
    for (const label of ['Steps', 'Width', 'Height']) await page.getByLabel(label, { exact: true }).fill(label === 'Steps' ? '1' : '64');
    await page.getByRole('button', { name: 'Generate' }).click();
    assert.equal((await savedRecipe(page)).prompt, 'embedding:late');
    assert.equal(await page.getByRole('alert').locator('div').count(), 0);

    await page.getByRole('button', { name: 'Remove early' }).click();
    await status.filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
    assert.deepEqual(await inStore(), [], 'a full storage forgets');
    await full(false);
    await add('again');
    await status.getByText('1 kept in this browser for the next visit.', { exact: true }).waitFor();
    await page.reload();
    await page.locator('#embedding-list li', { hasText: 'waits for a model' }).waitFor();
    assert.deepEqual(await names.allTextContents(), ['again.pt']);
    assert.deepEqual(problems, []);
    await context.close();
  });
}
