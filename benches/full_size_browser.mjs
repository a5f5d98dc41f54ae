// Loads a full-size checkpoint in headless Chromium through the npm package and makes one small picture: peak memory.
//
//   node benches/full_size_browser.mjs [/path/to/sd15-random.safetensors]     (written by benches/full_size.py)
//
// Needs `cargo xtask build` and `npm ci` in tests/browser. Prints one line of JSON.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { launch, openPage, requireWebGPU } from '../tests/browser/lib/browser.js';
import { BLANK, serve } from '../tests/browser/lib/server.js';

const path = process.argv[2] ?? '/work/full/sd15-random.safetensors';
const server = await serve(new Map([BLANK]));
const browser = await launch();
const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
page.setDefaultTimeout(1_800_000);
await requireWebGPU(page);
await page.evaluate(() => {
  const input = document.createElement('input');
  input.type = 'file';
  document.body.append(input);
});
await page.locator('input').setInputFiles(path);
const result = await page.evaluate(async () => {
  const { StableDiffusion } = await import('/pkg/index.js');
  const file = document.querySelector('input').files[0];
  let started = performance.now();
  let bytes = 0;
  const sd = await StableDiffusion.load(file, { onProgress: ({ loaded }) => { bytes = loaded; } });
  const loadSeconds = (performance.now() - started) / 1000;
  const loaded = await sd.memory();
  started = performance.now();
  const { png } = await sd.generate({ prompt: 'a photo of a cat', negativePrompt: 'text, watermark', steps: 2, width: 64, height: 64 });
  const pictureSeconds = (performance.now() - started) / 1000;
  const bytesOfPng = Array.from(new Uint8Array(await png.arrayBuffer()));
  return { bytes, loadSeconds, loaded, pictureSeconds, finished: await sd.memory(), png: bytesOfPng };
});
await browser.close();
server.close();
assert.deepEqual(problems, []);
writeFileSync('/tmp/full_size_browser.png', Uint8Array.from(result.png));
delete result.png;
console.log(JSON.stringify(result));
