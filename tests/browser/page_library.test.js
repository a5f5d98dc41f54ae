// The page's recipes and its list of embeddings, on a stand-in for the wasm (lib/fake_engine.js).

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drop, launch, openPage } from './lib/browser.js';
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
    await page.getByLabel('Prompt', { exact: true }).inputValue(), await page.getByLabel('Negative prompt').inputValue(),
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
