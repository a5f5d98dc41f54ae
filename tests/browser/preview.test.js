// Previews and pages that do not keep up, on a stand-in for the wasm (lib/fake_engine.js): none is made that nobody looks at.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openPage } from './lib/browser.js';
import { BLANK, serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('lib/fake_engine.js', import.meta.url));
let server;
let browser;
let page;
let problems;

before(async () => {
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE], BLANK]));
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/blank.html`));
  await page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    const sd = await StableDiffusion.load(new File(['x'], 'model.safetensors'));
    const generate = () => sd.generate({ steps: 8 }, { preview: true });
    // [step, the preview's step, previews before it] of the steps that have one.
    const told = ({ step, preview }) => [step, preview.data[0], preview.data[1]];
    Object.assign(globalThis, { generate, told });
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('whoever takes every event gets a preview with every step', async () => {
  const steps = await page.evaluate(async () => {
    const steps = [];
    for await (const event of generate()) if (event.preview) steps.push(told(event));
    return steps;
  });
  assert.deepEqual(steps, [1, 2, 3, 4, 5, 6, 7, 8].map((step) => [step, step, step - 1]));
});

test('nobody looks: one preview is made, and a late iteration gets it', async () => {
  const steps = await page.evaluate(async () => {
    const generation = generate();
    await generation;
    const steps = [];
    for await (const event of generation) if (event.preview) steps.push(told(event));
    return steps;
  });
  assert.deepEqual(steps, [[1, 1, 0]]);
});

test('a slow page gets fewer, none of them twice; the newest alone is kept', async () => {
  const { seen, late } = await page.evaluate(async () => {
    const generation = generate();
    const [seen, late] = [[], []];
    for await (const event of generation) {
      if (!event.preview) continue;
      seen.push(told(event));
      await new Promise((resolve) => { setTimeout(resolve, 70); });
    }
    for await (const event of generation) if (event.preview) late.push(told(event));
    return { seen, late };
  });
  assert.ok(seen.length >= 2 && seen.length < 8, JSON.stringify(seen));
  seen.forEach(([step, drawn, before], i) => assert.deepEqual([drawn, before], [step, i]));
  assert.deepEqual(late, [seen.at(-1)]);
});

test('the page shows previews while it is asked to, then the picture; a TAESD can be chosen once it is there', async () => {
  const { page: www, problems: uncaught } = await openPage(browser, `${server.url}/www/`);
  const visible = async () => www.locator('figure > :not(figcaption):not([hidden])').evaluateAll((all) => all.map(({ tagName }) => tagName));
  const make = async () => {
    await www.getByRole('button', { name: 'Generate' }).click();
    await www.locator('#progress', { hasText: /Step \d\d+ of 150/ }).waitFor();
    const during = await visible();
    await www.locator('#stop[aria-disabled="true"]').waitFor();
    return [during, await visible()];
  };
  const previews = www.getByLabel('Previews');
  await www.locator('#model-file').setInputFiles({ name: 'model.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await www.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  await www.getByLabel('Steps', { exact: true }).fill('150');
  assert.deepEqual(await make(), [['CANVAS'], ['IMG']]);
  await previews.selectOption('none');
  assert.deepEqual(await make(), [['IMG'], ['IMG']]);
  const offered = () => www.locator('option[value="taesd"]').evaluateAll((all) => all.map(({ disabled }) => !disabled));
  assert.deepEqual(await offered(), [false, false]);
  await www.locator('#vae-file').setInputFiles({ name: 'taesd_decoder.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await www.locator('#model-status', { hasText: 'beside it taesd_decoder.safetensors' }).waitFor();
  assert.deepEqual(await offered(), [true, true]);
  await previews.selectOption('by TAESD');
  assert.deepEqual(await make(), [['CANVAS'], ['IMG']]);
  assert.deepEqual(uncaught, []);
  await www.close();
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
