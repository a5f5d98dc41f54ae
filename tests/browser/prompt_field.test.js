// Writing prompts on the page, with the built-in model: names completed, marked and counted, weights by keyboard, sizes and seeds.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { drop, launch, screenshot } from './lib/browser.js';
import { fill, finished, openDemo, serveDemo } from './lib/demo.js';
import { fixtures } from './lib/fixtures.js';

let server;
let browser;
let page;
let problems;
let prompt;
let negative;
let listbox;

before(async () => {
  server = await serveDemo(new Map([...fixtures()].filter(([name]) => name === '/made/wide.pt')));
  browser = await launch();
  ({ page, problems } = await openDemo(browser, server, ['teal-star.pt', 'lime-diamond.safetensors', 'teal.png']));
  prompt = page.getByLabel('Prompt', { exact: true });
  negative = page.getByLabel('Negative prompt', { exact: true });
  listbox = page.getByRole('listbox', { name: 'Names' });
});
after(async () => {
  await browser?.close();
  server?.close();
});

const options = () => listbox.getByRole('option').evaluateAll((all) => all.map(({ title }) => title));
const active = (field) => field.evaluate((it) => document.getElementById(it.getAttribute('aria-activedescendant'))?.title ?? null);
const syntax = (value) => page.getByLabel('Prompt syntax').selectOption(value);
const marks = () => page.locator('prompt-field').first().locator('.marks li');

test('a name is completed by keyboard, in both prompts', async () => {
  for (const field of [prompt, negative]) {
    await field.fill('');
    await field.pressSequentially('a embedding:');
    await listbox.waitFor();
    assert.equal(await field.getAttribute('aria-expanded'), 'true');
    assert.deepEqual((await options()).toSorted(), ['lime-diamond', 'teal', 'teal-star']);
    await field.pressSequentially('TEA');
    const offered = await options();
    assert.deepEqual(offered.toSorted(), ['teal', 'teal-star']);
    assert.equal(await active(field), offered[0]);
    await field.press('ArrowDown');
    assert.equal(await active(field), offered[1]);
    await field.press('ArrowDown');
    await field.press('ArrowUp');
    assert.equal(await active(field), offered[1], 'the list goes round');
    await field.press('Enter');
    assert.equal(await field.inputValue(), `a embedding:${offered[1]}`);
    assert.ok(await listbox.isHidden());
    assert.equal(await field.getAttribute('aria-expanded'), 'false');
    assert.equal(await active(field), null);
    await field.press('Control+z');
    assert.equal(await field.inputValue(), 'a embedding:TEA', 'undo takes it back');
    await field.fill('');
  }
});

test('Tab takes, Escape closes, a click takes; what stands behind the caret is replaced', async () => {
  await prompt.fill('');
  await prompt.pressSequentially('(embedding:li');
  await prompt.press('Tab');
  assert.equal(await prompt.inputValue(), '(embedding:lime-diamond');
  assert.ok(await prompt.evaluate((it) => it === document.activeElement));
  await prompt.fill('embedding:lime b');
  for (let i = 0; i < 4; i += 1) await prompt.press('ArrowLeft');
  await prompt.press('x');
  await prompt.press('Backspace');
  await listbox.waitFor();
  await prompt.press('Escape');
  assert.ok(await listbox.isHidden());
  await prompt.press('x');
  await prompt.press('Backspace');
  await listbox.getByRole('option').first().click();
  assert.equal(await prompt.inputValue(), 'embedding:lime-diamond b');
  await prompt.press('End');
  await prompt.press('Tab');
  assert.ok(await negative.evaluate((it) => it === document.activeElement), 'Tab goes on where there is no list');
});

test('bare names in A1111’s syntax: taken only when chosen', async () => {
  await syntax('a1111');
  await prompt.fill('');
  await prompt.pressSequentially('a te');
  await listbox.waitFor();
  assert.equal(await active(prompt), null);
  await prompt.press('Enter');
  assert.equal(await prompt.inputValue(), 'a te\n');
  await prompt.fill('');
  await prompt.pressSequentially('a lim');
  await prompt.press('ArrowDown');
  await prompt.press('Tab');
  assert.equal(await prompt.inputValue(), 'a lime-diamond');
  await prompt.pressSequentially(', embedding:te');
  await prompt.press('Enter');
  assert.match(await prompt.inputValue(), /^a lime-diamond, teal(-star)?$/);
  await marks().nth(1).waitFor();
  await syntax('comfy');
});

test('names are marked found, missing with a suggestion, or of another width; vectors and windows are counted', async () => {
  await drop(page, [{ name: 'wide.pt', url: '/made/wide.pt' }]);
  await page.getByRole('alert').getByRole('button', { name: 'Dismiss' }).click();
  await prompt.fill(`${'a cat '.repeat(36)}embedding:teal-sta embedding:wide, (embedding:lime-diamond:1.2) embedding:zzzzzzzz embedding:teal`);
  await marks().nth(4).waitFor();
  assert.deepEqual(await marks().allTextContents(), [
    '✗ There is no embedding teal-sta. Use teal-star', '! wide belongs to a model of another text width', '✓ lime-diamond, 4 vectors',
    '✗ There is no embedding zzzzzzzz.', '✓ teal, 1 vector',
  ]);
  await page.locator('#token-count', { hasText: '78 tokens of 150 in 2 windows, 5 of them vectors of embeddings' }).waitFor();
  await screenshot(page, 'marks');
  await page.getByRole('button', { name: 'Use teal-star', exact: true }).click();
  assert.ok((await prompt.inputValue()).includes(' embedding:teal-star embedding:wide,'));
  await marks().filter({ hasText: '✓ teal-star, 3 vectors' }).waitFor();
});

test('Ctrl+Up and Ctrl+Down weigh the word, the call or the selection, in the steps of each tool', async () => {
  await prompt.fill('a red embedding:teal-star b');
  await marks().filter({ hasText: '✓ teal-star' }).waitFor();
  await prompt.press('Home');
  for (let i = 0; i < 3; i += 1) await prompt.press('ArrowRight');
  await prompt.press('Control+ArrowUp');
  assert.equal(await prompt.inputValue(), 'a (red:1.05) embedding:teal-star b');
  await prompt.press('Control+ArrowUp');
  await prompt.press('Control+ArrowDown');
  await prompt.press('Control+ArrowDown');
  assert.equal(await prompt.inputValue(), 'a red embedding:teal-star b');
  await prompt.press('End');
  for (let i = 0; i < 4; i += 1) await prompt.press('ArrowLeft');
  await prompt.press('Control+ArrowDown');
  assert.equal(await prompt.inputValue(), 'a red (embedding:teal-star:0.95) b');
  await syntax('a1111');
  await prompt.press('Control+ArrowDown');
  assert.equal(await prompt.inputValue(), 'a red (embedding:teal-star:0.85) b');
  await prompt.press('Control+a');
  await prompt.press('Control+ArrowUp');
  assert.equal(await prompt.inputValue(), '(a red (embedding:teal-star:0.85) b:1.1)');
  await syntax('comfy');
});

test('sizes in one choice; the seed of the last picture', async () => {
  const size = page.getByLabel('Size', { exact: true });
  const sides = async () => [await page.getByLabel('Width', { exact: true }).inputValue(), await page.getByLabel('Height', { exact: true }).inputValue()];
  assert.equal(await size.inputValue(), '');
  await size.selectOption('512 × 768');
  assert.deepEqual(await sides(), ['512', '768']);
  await page.getByRole('button', { name: 'Swap width and height' }).click();
  assert.deepEqual([await size.inputValue(), ...await sides()], ['768x512', '768', '512']);
  await fill(page, { Width: 64, Height: 64, Seed: -1, Prompt: 'a star' });
  assert.equal(await size.inputValue(), '');
  const last = page.getByRole('button', { name: 'Seed of the last picture' });
  assert.ok(await last.isDisabled());
  await page.getByRole('button', { name: 'Generate' }).click();
  await finished(page);
  await last.click();
  const seed = await page.getByLabel('Seed', { exact: true }).inputValue();
  assert.match(seed, /^\d+$/);
  assert.match(await page.locator('figcaption').textContent(), new RegExp(`seed ${seed},`));
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
