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

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
