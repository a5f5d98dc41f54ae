// The corpus of embedding files in the browser: each gives what index.json says, and the engine outlives them all.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

const CORPUS = new URL('../corpus/', import.meta.url);
const index = JSON.parse(readFileSync(new URL('index.json', CORPUS), 'utf8'));
const files = Object.keys(index);

let server;
let browser;
let page;
let problems;

before(async () => {
  const paths = files.map((name) => [`/corpus/${name}`, fileURLToPath(new URL(`files/${encodeURIComponent(name)}`, CORPUS))]);
  server = await serve(new Map([...fixtures(), ...paths, BLANK]));
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/blank.html`));
  await requireWebGPU(page);
  await page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    const model = new File([await (await fetch('/made/small.safetensors')).blob()], 'small.safetensors');
    globalThis.sd = await StableDiffusion.load(model);
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('each file gives its vectors or its code', async (t) => {
  const textWidth = await page.evaluate(() => sd.textWidth);
  // Every file is added to an empty library, as several have one name.
  const results = await page.evaluate(async (names) => {
    const results = {};
    for (const name of names) {
      const blob = await (await fetch(`/corpus/${encodeURIComponent(name)}`)).blob();
      try {
        const infos = await sd.addEmbedding(new File([blob], name));
        results[name] = { embeddings: infos.map(({ name, vectors, width }) => ({ name, vectors, width })) };
      } catch ({ code, message }) {
        results[name] = { code, message: String(message) };
      }
      for (const { name } of [...sd.embeddings]) await sd.removeEmbedding(name);
    }
    return results;
  }, files);
  const wrong = [];
  for (const name of files) {
    const { embeddings, error } = index[name];
    const wide = embeddings?.some(({ width }) => width !== textWidth);
    const expected = error ?? (wide ? 'WRONG_WIDTH' : embeddings.map(({ name, vectors }) => `${name}: ${vectors}`).join(', '));
    const { code, embeddings: found, message } = results[name];
    const got = code ?? found.map(({ name, vectors }) => `${name}: ${vectors}`).join(', ');
    if (got !== expected) wrong.push(`${name}: expected ${expected}, got ${got} (${message ?? ''})`);
  }
  t.diagnostic(`${files.length} files, ${files.length - wrong.length} as expected`);
  assert.ok(files.length >= 60);
  assert.equal(wrong.length, 0, wrong.join('\n'));
});

test('the engine has trapped on none of them: the same instance still makes a picture', async () => {
  const { vectors, width, wasmBytes } = await page.evaluate(async () => {
    const feline = new File([await (await fetch('/made/feline.pt')).blob()], 'feline.pt');
    const [{ vectors }] = await sd.addEmbedding(feline);
    const result = await sd.generate({ prompt: 'a embedding:feline', steps: 1, width: 64, height: 64 });
    return { vectors, width: (await result.image()).width, wasmBytes: (await sd.memory()).wasmBytes };
  });
  assert.deepEqual({ vectors, width }, { vectors: 1, width: 64 });
  // Memory of wasm never shrinks: what the largest file took stays visible.
  assert.ok(wasmBytes < 512 * 1024 * 1024, `${wasmBytes} bytes`);
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
