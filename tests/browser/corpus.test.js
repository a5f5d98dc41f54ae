// The corpus of embedding files in the browser: each gives what index.json says, and the engine outlives them all.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { unzipSync, zipSync } from 'fflate';
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

// The corpora of the fuzzers, as tests/fuzz_corpora.rs replays them natively: by the calls that take such bytes.
const FUZZED = {
  checkpoint: ['vae', ([json]) => Buffer.concat([lengthOf(json), json])],
  dynamic: ['tokens'],
  infotext: ['recipe'],
  pickle: ['embedding', ([pickle]) => zipSync({ 'archive/data.pkl': [pickle, { level: 0 }], 'archive/version': [Buffer.from('3\n'), { level: 0 }] }), 'x.pt'],
  png_embedding: ['embedding', undefined, 'x.png'],
  prompt: ['tokens'],
  recipe_picture: ['recipe'],
  safetensors_header: ['embedding', undefined, 'x.safetensors'],
  workflow: ['recipe'],
  zip: ['embedding', undefined, 'x.pt'],
};
const MOST_GROWTH = 96 * 1024 * 1024;

// A header is followed by as many zeros as it speaks of, if a page can have so many.
function zerosBehind(json) {
  try {
    const ends = Object.values(JSON.parse(json)).map(({ data_offsets: [, end] }) => end);
    const most = Math.max(0, ...ends);
    return most <= 32 << 20 ? most : 0;
  } catch {
    return 0;
  }
}

function lengthOf(json) {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return length;
}

for (const [target, [call, wrapped = ([bytes]) => bytes, name = 'x']] of Object.entries(FUZZED)) {
  test(`fuzzed: ${target}`, async (t) => {
    const entries = unzipSync(readFileSync(new URL(`../fuzz/corpora/${target}.zip`, import.meta.url)));
    const inputs = Object.entries(entries).map(([id, bytes]) => [id, Buffer.from(wrapped([bytes])).toString('base64'), call === 'vae' ? zerosBehind(Buffer.from(bytes).toString()) : 0]);
    const { wrong, codes, grown } = await page.evaluate(async ({ inputs, call, name }) => {
      const { readRecipe } = await import('/pkg/index.js');
      const calls = {
        embedding: async (file) => {
          await sd.addEmbedding(file);
          for (const { name } of [...sd.embeddings]) await sd.removeEmbedding(name);
        },
        recipe: readRecipe,
        tokens: async (file) => {
          for (const promptSyntax of ['comfy', 'a1111']) await sd.tokens(await file.text(), { promptSyntax });
        },
        vae: (file) => sd.loadVae(file),
      };
      const before = (await sd.memory()).wasmBytes;
      const [wrong, codes] = [[], {}];
      for (const [id, text, zeros] of inputs) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.codePointAt(0));
        const code = await calls[call](new File([bytes, new Uint8Array(zeros)], name)).then(() => 'fine', ({ code, message }) => code ?? message);
        codes[code] = (codes[code] ?? 0) + 1;
        if (code === 'INTERNAL') wrong.push(id);
      }
      return { wrong, codes, grown: (await sd.memory()).wasmBytes - before };
    }, { inputs, call, name });
    t.diagnostic(`${inputs.length} inputs, ${grown} bytes more: ${JSON.stringify(codes)}`);
    assert.deepEqual(wrong, []);
    assert.ok(grown < MOST_GROWTH, `wasm has grown by ${grown} bytes`);
  });
}

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
