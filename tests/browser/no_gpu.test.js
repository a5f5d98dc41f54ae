// In a browser without an adapter the page says so, in words, at once; and so does the API.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openPage, screenshot } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

let server;
let browser;

before(async () => {
  server = await serve(new Map([...fixtures(), BLANK]));
  browser = await launch({ webgpu: false });
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('the page says what is missing and what to do', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  const message = page.getByRole('alert').locator('[data-code="NO_GPU"]');
  await message.waitFor();
  assert.match(await message.textContent(), /WebGPU.*hardware acceleration/s);
  assert.equal(await page.locator('#gpu').textContent(), 'GPU: none');
  await screenshot(page, 'no-gpu');
  assert.deepEqual(problems, []);
  await page.close();
});

test('checkWebGPU and load reject with NO_GPU', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
  const codes = await page.evaluate(async () => {
    const { StableDiffusion, checkWebGPU } = await import('/pkg/index.js');
    const code = (error) => error.code;
    return [await checkWebGPU().catch(code), await StableDiffusion.load('/made/small.safetensors').catch(code)];
  });
  assert.deepEqual(codes, ['NO_GPU', 'NO_GPU']);
  assert.deepEqual(problems, []);
  await page.close();
});
