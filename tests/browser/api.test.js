// The JavaScript API on the real engine: every refusal has its code, and nothing that is refused harms what works.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { texts } from './lib/png.js';
import { BLANK, serve } from './lib/server.js';

let server;
let browser;
let page;
let problems;

before(async () => {
  server = await serve(new Map([...fixtures(), BLANK]));
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/blank.html`));
  await requireWebGPU(page);
  await page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    const file = async (name) => new File([await (await fetch(`/made/${name}`)).blob()], name);
    const failure = (promise) => Promise.resolve(promise).then(
      () => ({ code: 'nothing failed' }),
      ({ code, message }) => ({ code, message }),
    );
    const pixels = async (result) => {
      const bitmap = await result.image();
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
      return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    Object.assign(globalThis, { StableDiffusion, file, failure, pixels });
    globalThis.sd = await StableDiffusion.load(await file('small.safetensors'));
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('the model says what it is', async () => {
  const { adapter, textWidth, bytes, memory } = await page.evaluate(async () => {
    const { adapter, textWidth, bytes } = sd;
    return { adapter, textWidth, bytes, memory: await sd.memory() };
  });
  assert.equal(textWidth, 64);
  assert.ok(adapter.software && !adapter.f16, JSON.stringify(adapter));
  assert.equal(adapter.storage, 'packed');
  assert.ok(bytes > 1e6 && memory.gpuBytes > 1e6 && memory.gpuPeakBytes >= memory.gpuBytes, JSON.stringify(memory));
  assert.ok(memory.wasmBytes < 192 * 1024 * 1024, JSON.stringify(memory));
});

test('options: unknown names and useless values are refused by name', async () => {
  const wrong = [
    [{ stpes: 3 }, 'UNKNOWN_OPTION', /stpes/],
    [{ __proto__: null, constructor: 3 }, 'UNKNOWN_OPTION', /constructor/],
    [{ steps: 0 }, 'BAD_OPTION', /steps/],
    [{ steps: 2.5 }, 'BAD_OPTION', /steps/],
    [{ steps: NaN }, 'BAD_OPTION', /steps/],
    [{ steps: '20' }, 'BAD_OPTION', /steps/],
    [{ width: 100 }, 'BAD_OPTION', /width.*8|8.*width/],
    [{ height: 0 }, 'BAD_OPTION', /height/],
    [{ width: 1e9 }, 'BAD_OPTION', /width/],
    [{ cfg: Infinity }, 'BAD_OPTION', /cfg/],
    [{ sampler: 'eular' }, 'BAD_OPTION', /eular/],
    [{ scheduler: 'abnormal' }, 'BAD_OPTION', /abnormal/],
    [{ scheduler: 'turbo', steps: 11 }, 'BAD_OPTION', /11/],
    [{ rng: 'gpu' }, 'BAD_OPTION', /gpu/],
    [{ eta: 2 }, 'BAD_OPTION', /eta/],
    [{ variationStrength: 2 }, 'BAD_OPTION', /variation/],
    [{ variationSeed: 'x' }, 'BAD_OPTION', /variationSeed/],
    [{ seed: 'abc' }, 'BAD_OPTION', /seed/],
    [{ seed: 1.5 }, 'BAD_OPTION', /seed/],
    [{ seed: '18446744073709551616' }, 'BAD_OPTION', /seed/],
    [{ seed: 2 ** 60 }, 'BAD_OPTION', /seed/],
    [{ batchSize: 0 }, 'BAD_OPTION', /batch/],
    [{ batchSize: 17 }, 'BAD_OPTION', /16/],
    [{ cfgRescale: 2 }, 'BAD_OPTION', /rescale/],
    [{ cfgRescale: 0.5, cfg: 0 }, 'BAD_OPTION', /rescale/],
    [{ guidanceStart: 0.5, guidanceEnd: 0.5 }, 'BAD_OPTION', /guidance/],
    [{ clipSkip: 0 }, 'BAD_OPTION', /clip ?skip/i],
    [{ prompt: 3 }, 'BAD_OPTION', /prompt/],
    [{ decoder: 'tea' }, 'BAD_OPTION', /tea/],
    [{ decoder: 'taesd' }, 'BAD_OPTION', /taesd_decoder/],
    [{ vaeTiling: false }, 'BAD_OPTION', /vaeTiling/],
  ];
  const errors = await page.evaluate(
    (all) => Promise.all(all.map((options) => failure(sd.generate(options)))),
    wrong.map(([options]) => options),
  );
  wrong.forEach(([options, code, words], i) => {
    assert.equal(errors[i].code, code, `${Object.keys(options)}: ${JSON.stringify(errors[i])}`);
    assert.match(errors[i].message, words);
  });
});

test('pictures at once: A1111’s second is that of the next seed, ComfyUI’s first is the one it makes alone', async () => {
  const made = await page.evaluate(async () => {
    const make = (options) => sd.generate({ prompt: 'a cat', steps: 2, width: 64, height: 64, ...options });
    const of = async (options) => Promise.all((await make(options)).images.map(pixels));
    const { images } = await make({ batchSize: 2, promptSyntax: 'a1111', seed: 7 });
    return {
      a1111: await Promise.all(images.map(pixels)), seeds: images.map(({ params }) => params.seed),
      next: await of({ promptSyntax: 'a1111', seed: 8 }), comfy: await of({ batchSize: 2, seed: 7 }), first: await of({ seed: 7 }),
      guided: await of({ seed: 7, cfgRescale: 0.7, guidanceStart: 0.1, guidanceEnd: 0.9 }),
    };
  });
  assert.equal(made.a1111[1], made.next[0]);
  assert.deepEqual(made.seeds, ['7', '8']);
  assert.equal(made.comfy[0], made.first[0]);
  assert.equal(new Set([...made.a1111, ...made.comfy, ...made.guided]).size, 5, JSON.stringify(made));
});

test('every sampler and scheduler of the lists makes a picture, and few are the same', { timeout: 600_000 }, async () => {
  const made = await page.evaluate(async () => {
    const { samplers, schedulers } = await import('/pkg/index.js');
    const make = async (options) => pixels(await sd.generate({ prompt: 'a cat', steps: 3, width: 64, height: 64, ...options }));
    const made = {};
    for (const sampler of samplers) made[sampler] = await make({ sampler });
    for (const scheduler of schedulers) made[scheduler] = await make({ scheduler });
    for (const options of [{ variationSeed: 5, variationStrength: 0.5 }, { promptSyntax: 'a1111', rng: 'nv' }, { sampler: 'euler_ancestral', eta: 0.5 }]) {
      made[JSON.stringify(options)] = await make(options);
    }
    return made;
  });
  // Some are twins after three steps: those whose noise alone would be made elsewhere, DDIM and Euler, two ways to the same levels.
  const different = new Set(Object.values(made)).size;
  assert.ok(different >= 26, `${different} different pictures`);
  assert.equal(Object.keys(made).length, 23 + 11 + 3);
});

test('embeddings: what is wrong with a file is said by its code, and the others stay', async () => {
  const expected = {
    'wide.pt': 'WRONG_WIDTH', 'nan.safetensors': 'NOT_FINITE', 'page.pt': 'HTML_PAGE', 'pointer.pt': 'LFS_POINTER',
    'empty.pt': 'EMPTY_FILE', 'missing.safetensors': 'NOT_AN_EMBEDDING',
  };
  const { infos, errors, cut, names, removed } = await page.evaluate(async (files) => {
    const infos = await sd.addEmbedding(await file('two-words.safetensors'));
    const errors = {};
    for (const name of files) errors[name] = await failure(sd.addEmbedding(await file(name)));
    const cut = await failure(sd.addEmbedding(await file('cut.pt')));
    const names = sd.embeddings.map(({ name }) => name);
    return { infos, errors, cut, names, removed: [await sd.removeEmbedding('two-words'), await sd.removeEmbedding('two-words')] };
  }, Object.keys(expected));
  const [{ name, vectors, width, dtype, sha256, shortHash }] = infos;
  assert.deepEqual({ name, vectors, width, dtype: dtype.toLowerCase() }, { name: 'two-words', vectors: 2, width: 64, dtype: 'f32' });
  assert.match(sha256, /^[0-9a-f]{64}$/);
  assert.ok(sha256.startsWith(shortHash) && shortHash.length >= 10);
  for (const [file, code] of Object.entries(expected)) {
    assert.equal(errors[file].code, code, `${file}: ${errors[file].message}`);
    assert.ok(errors[file].message.length > 15, errors[file].message);
  }
  assert.ok(['BAD_ZIP', 'TRUNCATED'].includes(cut.code), JSON.stringify(cut));
  assert.deepEqual(names, ['two-words']);
  assert.deepEqual(removed, [true, false]);
});

test('several libraries of embeddings: in one model side by side under their names, and each model has its own', async () => {
  const found = await page.evaluate(async () => {
    const named = async (model, name, from) => model.addEmbedding(await file(from), { name });
    const other = await StableDiffusion.load(await file('small.safetensors'));
    await named(sd, 'mine/word.pt', 'feline.pt');
    await named(sd, 'theirs/word.safetensors', 'two-words.safetensors');
    await named(other, 'word.pt', 'feline.pt');
    const read = async (model, prompt) => {
      const { used, vectors, warnings } = await model.tokens(prompt);
      return { used, vectors, missing: warnings.filter(({ code }) => code === 'UNKNOWN_EMBEDDING').length };
    };
    const names = [sd, other].map(({ embeddings }) => embeddings.map(({ name }) => name));
    const prompt = 'a embedding:mine/word and embedding:theirs/word';
    const [here, there] = [await read(sd, prompt), await read(other, prompt)];
    await other.dispose();
    const after = sd.embeddings.map(({ name }) => name);
    for (const name of after) await sd.removeEmbedding(name);
    return { names, here, there, after };
  });
  assert.deepEqual(found.names, [['mine/word', 'theirs/word'], ['word']]);
  assert.deepEqual(found.here, { used: ['mine/word', 'theirs/word'], vectors: 3, missing: 0 });
  assert.deepEqual([found.there.used.includes('mine/word'), found.there.missing], [false, 2]);
  assert.deepEqual(found.after, ['mine/word', 'theirs/word']);
});

test('models: what cannot be used is refused by name', async () => {
  const errors = await page.evaluate(async () => {
    const load = async (name) => failure(StableDiffusion.load(await file(name)));
    return {
      truncated: await load('truncated.safetensors'), missing: await load('missing.safetensors'), sd2: await load('sd2.safetensors'),
      embedding: await load('two-words.safetensors'), html: await load('page.pt'), url: await failure(StableDiffusion.load('/made/absent.safetensors')),
    };
  });
  assert.deepEqual(
    Object.fromEntries(Object.entries(errors).map(([name, { code }]) => [name, code])),
    { truncated: 'TRUNCATED', missing: 'MISSING_TENSORS', sd2: 'WRONG_FAMILY', embedding: 'WRONG_FAMILY', html: 'HTML_PAGE', url: 'READ' },
    JSON.stringify(errors, null, 1),
  );
});

test('a prompt tells its length and what it misses', async () => {
  const { plain, missing, long } = await page.evaluate(async () => {
    await sd.addEmbedding(await file('feline.pt'));
    return { plain: await sd.tokens('a cat'), missing: await sd.tokens('embedding:felin, (embedding:feline:1.2)'), long: await sd.tokens('cat '.repeat(80)) };
  });
  assert.deepEqual([plain.windows, plain.tokens, plain.warnings.length], [1, 2, 0]);
  assert.deepEqual(missing.used, ['feline']);
  assert.match(missing.warnings[0].message, /felin\b.*feline/s);
  assert.ok(missing.warnings[0].code);
  assert.equal(long.windows, 2);
});

test('the same picture from a file, from a URL in ranges, by a word and by its rows', async () => {
  const { fromFile, again, other, byRows, fromUrl } = await page.evaluate(async () => {
    const options = { prompt: 'a cat', steps: 2, width: 64, height: 64 };
    const fromFile = await pixels(await sd.generate(options));
    const again = await pixels(await sd.generate({ ...options, seed: 1234n, negativePrompt: undefined }));
    const byRows = await pixels(await sd.generate({ ...options, prompt: 'a embedding:feline' }));
    const other = await pixels(await sd.generate({ ...options, prompt: 'a house' }));
    const remote = await StableDiffusion.load('/made/small.safetensors');
    const fromUrl = await pixels(await remote.generate(options));
    await remote.dispose();
    return { fromFile, again, other, byRows, fromUrl };
  });
  assert.equal(again, fromFile);
  assert.equal(byRows, fromFile);
  assert.equal(fromUrl, fromFile);
  assert.notEqual(other, fromFile);
});

test('previews: small pictures that come nearer, only where they are asked for, and no trace of them in the picture', async () => {
  const { sizes, plain, same, refused } = await page.evaluate(async () => {
    const options = { prompt: 'a cat', steps: 3, width: 64, height: 128 };
    const events = async (control) => {
      const generation = sd.generate(options, control);
      const steps = [];
      for await (const event of generation) if (event.type === 'step') steps.push(event.preview);
      return { steps, hash: await pixels(await generation) };
    };
    const [without, shown] = [await events(), await events({ preview: true })];
    return {
      sizes: shown.steps.map(({ width, height, data }) => [width, height, new Set(data).size > 8]),
      plain: without.steps.filter(Boolean).length, same: without.hash === shown.hash,
      refused: await failure((async () => sd.generate(options, { preview: 'often' }))()),
    };
  });
  assert.deepEqual(sizes, Array(3).fill([8, 16, true]));
  assert.equal(plain, 0);
  assert.ok(same);
  assert.equal(refused.code, 'BAD_OPTION');
});

test('the infotext is what the PNG carries as parameters', async () => {
  const { infotext, png } = await page.evaluate(async () => {
    const result = await sd.generate({ prompt: 'a (cat:1.2), ž', negativePrompt: 'text', seed: 5, steps: 1, width: 64, height: 64 });
    return { infotext: await result.infotext(), png: [...new Uint8Array(await result.png.arrayBuffer())] };
  });
  assert.equal(infotext, texts(Buffer.from(png)).parameters);
  assert.match(infotext, /^a \(cat:1\.2\), ž\nNegative prompt: text\nSteps: 1, Sampler: Euler, .*Seed: 5, Size: 64x64/);
});

test('a random seed is told, and gives the same picture again', async () => {
  const { seed, same } = await page.evaluate(async () => {
    const options = { prompt: 'a dog', steps: 1, width: 64, height: 64 };
    const first = await sd.generate({ ...options, seed: -1 });
    const second = await sd.generate({ ...options, seed: first.params.seed });
    return { seed: first.params.seed, same: await pixels(first) === await pixels(second) };
  });
  assert.match(seed, /^\d+$/);
  assert.ok(same);
});

test('dispose frees the worker; a new model works', async () => {
  const { code, steps } = await page.evaluate(async () => {
    await sd.dispose();
    const { code } = await failure(sd.generate({}));
    globalThis.sd = await StableDiffusion.load(await file('small.safetensors'), { dtype: 'f32' });
    return { code, steps: (await sd.generate({ steps: 1, width: 64, height: 64 })).params.steps };
  });
  assert.deepEqual({ code, steps }, { code: 'DISPOSED', steps: 1 });
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
