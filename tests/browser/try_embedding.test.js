// Trying an embedding on the page, with the built-in model: with, without and as words; strengths; grids; the sheet that is saved.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, screenshot } from './lib/browser.js';
import { downloaded, fill, finished, openDemo, pixels, serveDemo } from './lib/demo.js';
import { texts } from './lib/png.js';

const OUT = fileURLToPath(new URL('./out/', import.meta.url));
const PROMPT = 'a drawing of a medium embedding:teal-star on a lavender background';

let server;
let browser;
let page;
let problems;
let series;

before(async () => {
  server = await serveDemo();
  browser = await launch();
  ({ page, problems } = await openDemo(browser, server));
  series = page.locator('#series');
});
after(async () => {
  await browser?.close();
  server?.close();
});

const cells = () => series.getByRole('img').all();
const sheet = () => downloaded(page, () => series.getByRole('button', { name: 'Download as one picture' }).click());
const sizeOf = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];
const ready = async (text) => {
  await series.locator('.told', { hasText: text }).waitFor({ timeout: 300_000 });
  await finished(page);
};

async function single(prompt) {
  await fill(page, { Prompt: prompt });
  await page.getByRole('button', { name: 'Generate' }).click();
  await finished(page);
  return pixels(page.getByRole('img', { name: 'Generated picture' }));
}

test('one click makes the picture with the embedding, without it and as plain words', { timeout: 600_000 }, async () => {
  const [withIt, without, words] = [
    await single(PROMPT), await single(PROMPT.replace(' embedding:teal-star', '')), await single(PROMPT.replace('embedding:teal-star', 'teal star')),
  ];
  await fill(page, { Prompt: PROMPT });
  await page.getByRole('button', { name: 'Compare with and without teal-star', exact: true }).click();
  await page.locator('#progress', { hasText: '2 of 3: ' }).waitFor();
  await ready('3 pictures.');
  assert.deepEqual(await series.getByRole('columnheader').allTextContents(), ['with teal-star', 'without teal-star', 'as words: teal star']);
  assert.deepEqual(await Promise.all((await cells()).map(pixels)), [withIt, without, words]);
  assert.equal(new Set([withIt, without, words]).size, 3);
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), PROMPT, 'the prompt stays as it was');
  await screenshot(page, 'compare');

  const { name, bytes } = await sheet();
  writeFileSync(`${OUT}compare-sheet.png`, bytes);
  assert.equal(name, 'wordbrush-teal-star-with-without-as-words.png');
  const [width, height] = sizeOf(bytes);
  assert.ok(width > 3 * 64 && width < 4 * 64 && height > 64, `${width}×${height}`);
  const { parameters, prompt } = texts(bytes);
  assert.ok(parameters.startsWith(`${PROMPT}\nNegative prompt: \nSteps: 1, Sampler: Euler, `), parameters);
  assert.match(parameters, /Seed: 2032, Size: 64x64, .*Script: X\/Y\/Z plot, X Type: Prompt S\/R, X Values: "embedding:teal-star, \\"\\", teal star"/);
  assert.equal(JSON.parse(prompt)['3'].inputs.seed, 2032);
});

test('strengths, in both syntaxes; an embedding that is in no prompt is added', { timeout: 600_000 }, async () => {
  const made = async (count, first) => {
    await ready(`${count} pictures.`);
    assert.equal(new Set(await Promise.all((await cells()).map(pixels))).size, count);
    const { parameters } = texts((await sheet()).bytes);
    assert.ok(parameters.split('\n')[0].includes(first), parameters);
    assert.match(parameters, new RegExp(`X Type: Prompt S/R, X Values: "${first.replace(/^a drawing, /, '').replace(/[()]/g, '\\$&')}, `));
  };
  await page.getByRole('button', { name: 'Try strengths of teal-star', exact: true }).click();
  await made(5, '(embedding:teal-star:0.5)');
  assert.deepEqual(await series.getByRole('columnheader').allTextContents(), [0.5, 0.75, 1, 1.25, 1.5].map((weight) => `Weight ${weight}`));

  await page.getByLabel('Prompt syntax').selectOption('a1111');
  await fill(page, { Prompt: 'a drawing' });
  await series.getByText('X/Y grid').click();
  await page.getByLabel('Columns try').selectOption('Weight');
  await page.getByLabel('Values of the columns').fill('0.5-1.5 [2]');
  await page.getByRole('button', { name: 'Make the grid' }).click();
  await page.getByRole('alert').getByText('No prompt calls an embedding: choose the one to try.').waitFor();
  await page.getByLabel('Embedding to try').selectOption('teal-star');
  await page.getByRole('button', { name: 'Make the grid' }).click();
  await made(2, 'a drawing, (teal-star:0.5)');
  await page.getByLabel('Prompt syntax').selectOption('comfy');
});

test('a grid of rows and columns, typed as A1111 takes them', { timeout: 600_000 }, async () => {
  await fill(page, { Prompt: PROMPT });
  const form = page.getByRole('form', { name: 'X/Y grid' });
  await form.getByLabel('Columns try').selectOption('Steps');
  await form.getByLabel('Values of the columns').fill('1-2');
  await form.getByLabel('Rows try').selectOption('Sampler');
  await form.getByLabel('Values of the rows').fill('euler, Euler a');
  await form.getByRole('button', { name: 'Make the grid' }).click();
  await page.locator('#progress', { hasText: '3 of 4: ' }).waitFor();
  await ready('4 pictures.');
  assert.deepEqual(await series.getByRole('columnheader').allTextContents(), ['Steps 1', 'Steps 2']);
  assert.deepEqual(await series.getByRole('rowheader').allTextContents(), ['Sampler euler', 'Sampler euler_ancestral']);
  assert.equal(await (await cells())[3].getAttribute('alt'), 'Steps 2, Sampler euler_ancestral');
  await screenshot(page, 'grid');
  const { bytes } = await sheet();
  writeFileSync(`${OUT}grid-sheet.png`, bytes);
  assert.match(texts(bytes).parameters, /Script: X\/Y\/Z plot, X Type: Steps, X Values: 1-2, Y Type: Sampler, Y Values: "Euler, Euler a"/);

  // The sheet restores the settings of its first picture, without complaints about the script.
  await page.evaluate(async (base64) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], 'sheet.png'));
    document.querySelector('main').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, bytes.toString('base64'));
  await page.locator('#recipe .from', { hasText: 'sheet.png' }).waitFor();
  assert.equal(await page.getByLabel('Steps', { exact: true }).inputValue(), '1');
  assert.deepEqual(await page.locator('#recipe .notes li').allTextContents(), []);
});

test('a grid can be stopped, and keeps what it has; what cannot be tried is a sentence', { timeout: 600_000 }, async () => {
  const form = page.getByRole('form', { name: 'X/Y grid' });
  const make = () => form.getByRole('button', { name: 'Make the grid' }).click();
  const refused = async (words) => {
    await make();
    const message = page.getByRole('alert').locator('div', { hasText: words });
    await message.waitFor();
    await message.getByRole('button', { name: 'Dismiss' }).click();
  };
  await form.getByLabel('Values of the columns').fill('1-x');
  await refused('“1-x” is neither a number nor a range');
  await form.getByLabel('Values of the rows').fill('Euler b');
  await form.getByLabel('Values of the columns').fill('1');
  await refused('There is no sampler “Euler b”');
  await form.getByLabel('Rows try').selectOption('nothing');
  await form.getByLabel('Columns try').selectOption('Embedding');
  await form.getByLabel('Values of the columns').fill('teal-star, teal-sun');
  await refused('There is no embedding “teal-sun”');
  await form.getByLabel('Columns try').selectOption('Seed');
  await form.getByLabel('Values of the columns').fill('1-50');
  await make();
  await page.locator('#progress', { hasText: '2 of 50: ' }).waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await series.locator('.told', { hasText: /Stopped after \d+ of 50\./ }).waitFor();
  await finished(page);
  assert.match(texts((await sheet()).bytes).parameters, /X Type: Seed, X Values: 1-50/);
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
