// Every variant of every kernel through Tint, Chrome's WGSL compiler. The texts are those that `cargo test --test shaders` gave to naga, but
// for those with f16, as SwiftShader has no shader-f16: they run natively on lavapipe.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { BLANK, serve } from './lib/server.js';

const TEXTS = fileURLToPath(new URL('../../target/tmp/shaders.json', import.meta.url));

let server;
let browser;

before(async () => {
  server = await serve(new Map([BLANK]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function readTexts() {
  assert.ok(existsSync(TEXTS), 'target/tmp/shaders.json is missing: run `cargo test --test shaders` first.');
  return JSON.parse(await readFile(TEXTS, 'utf8'));
}

test('Tint in Chromium accepts what naga accepts: f32 and packed', async () => {
  const texts = await readTexts();
  const { page } = await openPage(browser, `${server.url}/blank.html`);
  await requireWebGPU(page);
  const { wrong, checked } = await page.evaluate(async (all) => {
    const device = await (await navigator.gpu.requestAdapter()).requestDevice({ requiredFeatures: ['subgroups'] });
    device.pushErrorScope('validation');
    const wrong = [];
    let checked = 0;
    for (const code of all) {
      const info = await device.createShaderModule({ code }).getCompilationInfo();
      const errors = info.messages.filter(({ type }) => type === 'error');
      if (errors.length > 0) wrong.push(`${errors[0].lineNum}: ${errors[0].message}\n${code}`);
      checked += 1;
    }
    await device.popErrorScope();
    return { wrong, checked };
  }, texts);
  assert.ok(checked > 300, `${checked} variants`);
  assert.equal(wrong.length, 0, `${wrong.length} of ${checked} variants, the first:\n${wrong[0]}`);
});
