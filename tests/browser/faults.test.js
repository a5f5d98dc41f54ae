// The package's promises when things go wrong, on a stand-in for the wasm (lib/fake_engine.js): crashes, aborts, queues.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openPage, screenshot, drop } from './lib/browser.js';
import { model } from './lib/hub.js';
import { BLANK, serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('lib/fake_engine.js', import.meta.url));
let server;
let browser;

before(async () => {
  const own = ['/models/c.safetensors', model(1000)];
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE], BLANK, own]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

// Runs `body(wordbrush, load)` in a blank page and asserts that nothing was left uncaught there.
async function inPage(body) {
  const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
  const result = await page.evaluate(async (source) => {
    const wordbrush = await import('/pkg/index.js');
    const load = (name = 'model.safetensors', options = {}) => wordbrush.StableDiffusion.load(new File(['x'], name), options);
    // What a promise is rejected with, as plain data.
    const failure = (promise) => Promise.resolve(promise).then(
      (value) => ({ resolved: String(value) }),
      (error) => ({ name: error?.name, code: error?.code, message: error?.message ?? String(error), hint: error?.hint }),
    );
    return (0, eval)(`(${source})`)({ ...wordbrush, load, failure });
  }, String(body));
  await page.waitForTimeout(50);
  assert.deepEqual(problems, []);
  await page.close();
  return result;
}

test('a picture: events in order, a result by await and by iteration', async () => {
  const { events, late, params, size, same, png } = await inPage(async ({ load }) => {
    const sd = await load();
    const generation = sd.generate({ prompt: 'a cat', steps: 3, seed: 2n ** 63n });
    const events = [];
    for await (const event of generation) events.push(event.type === 'step' ? `step ${event.step}/${event.steps}` : event.type);
    const late = [];
    for await (const event of generation) late.push(event.type);
    const result = await generation;
    const bitmap = await result.image();
    return {
      events, late: late.length, params: result.params, size: [bitmap.width, bitmap.height],
      same: (await generation) === result, png: result.png.type,
    };
  });
  assert.deepEqual(events, ['tokens', 'step 1/3', 'step 2/3', 'step 3/3', 'decode', 'done']);
  assert.equal(late, events.length);
  assert.equal(params.seed, '9223372036854775808');
  assert.deepEqual({ prompt: params.prompt, cfg: params.cfg, sampler: params.sampler }, { prompt: 'a cat', cfg: 8, sampler: 'euler' });
  assert.deepEqual(size, [64, 64]);
  assert.ok(same);
  assert.equal(png, 'image/png');
});

test('progress of a load: phases, growing bytes', async () => {
  const seen = await inPage(async ({ load }) => {
    const seen = [];
    await load('model.safetensors', { onProgress: (progress) => seen.push(progress) });
    return seen;
  });
  assert.equal(seen[0].phase, 'open');
  assert.deepEqual({ phase: seen.at(-1).phase, loaded: seen.at(-1).loaded, total: seen.at(-1).total }, { phase: 'ready', loaded: 1000, total: 1000 });
  for (let i = 1; i < seen.length; i++) assert.ok(seen[i].loaded >= seen[i - 1].loaded);
  for (const { file, fromCache } of seen) assert.deepEqual([file, fromCache], ['model.safetensors', false]);
});

test('sources: a file, a list with paths, a folder handle, a URL; anything else is refused', async () => {
  const result = await inPage(async ({ StableDiffusion, failure }) => {
    const opened = async (source) => {
      const sd = await StableDiffusion.load(source);
      const { names, url } = JSON.parse(sd.adapter.name);
      await sd.dispose();
      return { names, url };
    };
    const inFolder = (path) => Object.defineProperty(new File(['x'], path.split('/').pop()), 'webkitRelativePath', { value: path });
    const root = await navigator.storage.getDirectory();
    const unet = await root.getDirectoryHandle('unet', { create: true });
    const handle = await unet.getFileHandle('model.safetensors', { create: true });
    return {
      file: await opened(new File(['x'], 'a.safetensors')),
      blob: await opened(new Blob(['x'])),
      list: await opened([inFolder('sd/unet/a.safetensors'), inFolder('sd/vae/b.safetensors')]),
      folder: await opened(root),
      handle: await opened(handle),
      url: await opened('/models/c.safetensors?x=1'),
      object: await opened({ url: new URL('/models/c.safetensors', location.href).href }),
      wrong: await Promise.all([null, 3, [], [1], {}, 'http://['].map((source) => failure(StableDiffusion.load(source)))),
      option: await failure(StableDiffusion.load(new Blob(['x']), { dtpye: 'f16' })),
    };
  });
  assert.deepEqual(result.file.names, ['a.safetensors']);
  assert.deepEqual(result.blob.names, ['model.safetensors']);
  assert.deepEqual(result.list.names, ['unet/a.safetensors', 'vae/b.safetensors']);
  assert.deepEqual(result.folder.names, ['unet/model.safetensors']);
  assert.deepEqual(result.handle.names, ['model.safetensors']);
  assert.deepEqual(result.url, { names: ['c.safetensors'], url: `${server.url}/models/c.safetensors?x=1` });
  assert.deepEqual(result.object.names, ['c.safetensors']);
  for (const error of result.wrong) assert.equal(error.code, 'BAD_OPTION');
  assert.deepEqual([result.option.code, /dtpye/.test(result.option.message)], ['UNKNOWN_OPTION', true]);
});

test('abort: every call takes a signal, before it begins and while it waits', async () => {
  const result = await inPage(async ({ load, failure, readRecipe, recipeText, writeRecipe, modelNeeds, modelStore }) => {
    const sd = await load();
    await sd.addEmbedding(new File(['x'], 'cat.pt'));
    const model = new File(['x'], 'model.safetensors');
    const calls = (options) => ({
      addEmbedding: () => sd.addEmbedding(new File(['x'], 'dog.pt'), options),
      removeEmbedding: () => sd.removeEmbedding('cat', options),
      craftEmbedding: () => sd.craftEmbedding({ name: 'made', words: 'a cat' }, options),
      embeddingFacts: () => sd.embeddingFacts('cat', options),
      exportEmbedding: () => sd.exportEmbedding('cat', 'pt', options),
      tokens: () => sd.tokens('a cat', options),
      memory: () => sd.memory(options),
      loadVae: () => sd.loadVae(new File(['x'], 'vae.safetensors'), options),
      generate: () => sd.generate({ steps: 1 }, options),
      readRecipe: () => readRecipe('Steps: 1', options),
      recipeText: () => recipeText({ prompt: 'a' }, 'a1111', options),
      writeRecipe: () => writeRecipe(new Blob(['x']), { prompt: 'a' }, options),
      modelNeeds: () => modelNeeds(model, options),
      add: () => modelStore.add('http://localhost/none.safetensors', options),
    });
    const before = {};
    for (const [name, call] of Object.entries(calls({ signal: AbortSignal.abort(new Error('before')) }))) before[name] = (await failure(call())).message;
    // While the engine hangs nothing is answered, but an abort is.
    failure(sd.generate({ prompt: 'hang' }));
    await new Promise((resolve) => { setTimeout(resolve, 60); });
    const control = new AbortController();
    const waiting = ['embeddingFacts', 'exportEmbedding', 'tokens', 'memory'].map((name) => failure(calls({ signal: control.signal })[name]()));
    control.abort(new Error('meanwhile'));
    const meanwhile = (await Promise.all(waiting)).map(({ message }) => message);
    const unknown = await failure(sd.memory({ signl: control.signal }));
    return { before, meanwhile, unknown, names: sd.embeddings.map(({ name }) => name) };
  });
  assert.equal(Object.keys(result.before).length, 14);
  for (const [name, message] of Object.entries(result.before)) assert.equal(message, 'before', name);
  assert.deepEqual(result.meanwhile, Array(4).fill('meanwhile'));
  assert.equal(result.unknown.code, 'UNKNOWN_OPTION');
  assert.deepEqual(result.names, ['cat']);
});

test('abort: before, while loading, in the queue, between steps, within a step that hangs', async () => {
  const result = await inPage(async ({ load, failure }) => {
    const early = await failure(load('model.safetensors', { signal: AbortSignal.abort(new Error('early')) }));
    const control = new AbortController();
    const slow = failure(load('slow.safetensors', { signal: control.signal, onProgress: ({ loaded }) => loaded > 0 && control.abort('loading') }));
    const sd = await load();
    const [first, second] = [new AbortController(), new AbortController()];
    const one = sd.generate({ steps: 50 }, { signal: first.signal });
    const two = sd.generate({ steps: 50 }, { signal: second.signal });
    const three = sd.generate({ steps: 2, seed: 7 });
    second.abort(new Error('in the queue'));
    const steps = [];
    try {
      for await (const event of one) {
        if (event.type === 'step') steps.push(event.step);
        if (steps.length === 2) first.abort();
      }
    } catch (error) {
      steps.push(error.name);
    }
    const hanging = new AbortController();
    const done = (await three).params.seed;
    const hang = sd.generate({ prompt: 'hang' }, { signal: hanging.signal });
    setTimeout(() => hanging.abort(new Error('hanging')), 60);
    return {
      early, slow: await slow, one: await failure(one), two: await failure(two), steps, done,
      hang: await failure(hang), disposed: await failure(sd.dispose()),
    };
  });
  assert.equal(result.early.message, 'early');
  assert.equal(result.slow.message, 'loading');
  assert.equal(result.one.name, 'AbortError');
  assert.equal(result.two.message, 'in the queue');
  assert.deepEqual(result.steps, [1, 2, 'AbortError']);
  assert.equal(result.done, '7');
  assert.equal(result.hang.message, 'hanging');
  assert.equal(result.disposed.resolved, 'undefined');
});

test('a picture is stopped by itself: at once, between steps, in the queue, beside a signal; a finished one stays', async () => {
  const result = await inPage(async ({ load, failure }) => {
    const sd = await load();
    const atOnce = sd.generate({ steps: 50 });
    atOnce.abort(new Error('at once'));
    const one = sd.generate({ steps: 50 });
    const two = sd.generate({ steps: 50 }, { signal: new AbortController().signal });
    two.abort('in the queue');
    const both = new AbortController();
    const three = sd.generate({ steps: 50 }, { signal: both.signal });
    both.abort('by its signal');
    three.abort('too late');
    const steps = [];
    try {
      for await (const event of one) {
        if (event.type === 'step') steps.push(event.step);
        if (steps.length === 2) one.abort();
      }
    } catch (error) {
      steps.push(error.name);
    }
    const reason = (picture) => picture.then(() => 'made', (error) => error);
    const finished = sd.generate({ steps: 1, seed: 7 });
    const { params } = await finished;
    finished.abort();
    return { steps, seed: params.seed, again: (await finished).params.seed, atOnce: await failure(atOnce), two: await reason(two), three: await reason(three) };
  });
  assert.equal(result.atOnce.message, 'at once');
  assert.deepEqual(result.steps, [1, 2, 'AbortError']);
  assert.deepEqual([result.two, result.three], ['in the queue', 'by its signal']);
  assert.deepEqual([result.seed, result.again], ['7', '7']);
});

test('pictures queue; embeddings and token counts do not wait for them', async () => {
  const order = await inPage(async ({ load }) => {
    const sd = await load();
    const order = [];
    const note = (name) => () => { order.push(name); };
    await Promise.all([
      sd.generate({ steps: 4 }).then(note('first')),
      sd.generate({ steps: 1 }).then(note('second')),
      sd.tokens('a b c').then(({ tokens }) => order.push(`tokens ${tokens}`)),
      sd.addEmbedding(new File(['x'], 'new.pt')).then(note('embedding')),
    ]);
    return [...order, sd.embeddings.map(({ name }) => name).join()];
  });
  assert.deepEqual(order, ['tokens 3', 'embedding', 'first', 'second', 'new']);
});

test('a panic rejects everything pending, and every later call, with INTERNAL', async () => {
  const result = await inPage(async ({ load, failure }) => {
    const outcome = {};
    for (const prompt of ['panic in step', 'panic in start', 'panic in tokens']) {
      const sd = await load();
      const pending = [sd.generate({ prompt }), sd.generate({ prompt: 'innocent' })].map(failure);
      if (prompt === 'panic in tokens') pending.push(failure(sd.tokens(prompt)));
      outcome[prompt] = [...await Promise.all(pending), await failure(sd.generate({})), await failure(sd.tokens(''))];
      await sd.dispose();
    }
    outcome.open = [await failure(load('panic.safetensors'))];
    const sd = await load();
    outcome.embedding = [await failure(sd.addEmbedding(new File(['x'], 'panic.pt'))), await failure(sd.memory())];
    // Nobody looks at this one: it must not count as uncaught.
    const careless = await load();
    careless.generate({ prompt: 'panic in step' });
    await new Promise((resolve) => { setTimeout(resolve, 150); });
    return outcome;
  });
  for (const [place, errors] of Object.entries(result)) {
    for (const error of errors) {
      assert.deepEqual([error.name, error.code], ['WordbrushError', 'INTERNAL'], `${place}: ${JSON.stringify(error)}`);
      assert.match(error.message, /engine stopped: .*unreachable/);
    }
  }
});

test('other errors leave the model usable', async () => {
  const result = await inPage(async ({ load, failure, WordbrushError }) => {
    const sd = await load();
    const errors = [
      await failure(load('bad.safetensors')),
      await failure(sd.generate({ steps: 0 })),
      await failure(sd.generate({ prompt: 'lose the device' })),
      await failure(sd.generate({ prompt: () => {} })),
      await failure(sd.addEmbedding(new File([], 'empty.pt'))),
      await failure(sd.addEmbedding('no file')),
      await failure(sd.addEmbedding(new File([new Uint8Array(33 * 1024 * 1024)], 'huge.pt'))),
    ];
    const isError = await sd.generate({ steps: 0 }).catch((error) => error instanceof WordbrushError && error instanceof Error);
    return { codes: errors.map(({ code }) => code), hint: errors[2].hint, isError, after: (await sd.generate({ steps: 1 })).params.steps };
  });
  assert.deepEqual(result.codes, ['WRONG_FAMILY', 'BAD_OPTION', 'DEVICE_LOST', 'BAD_OPTION', 'EMPTY_FILE', 'BAD_OPTION', 'TOO_LARGE']);
  assert.match(result.hint, /again/);
  assert.ok(result.isError);
  assert.equal(result.after, 1);
});

test('facts, crafted embeddings, files of them; what the engine refuses keeps its code', async () => {
  const result = await inPage(async ({ load, failure }) => {
    const sd = await load();
    await sd.addEmbedding(new File(['x'], 'Feline.pt'));
    const inFolder = Object.defineProperty(new File(['x'], 'a.pt'), 'webkitRelativePath', { value: 'embeddings/styles/a.pt' });
    await sd.addEmbedding(inFolder);
    const facts = await sd.embeddingFacts('Feline');
    const made = await sd.craftEmbedding({ name: 'made', kind: 'scale', of: 'Feline', factor: 2 });
    const pt = await sd.exportEmbedding('made', 'pt');
    const errors = [
      await failure(sd.embeddingFacts('none')), await failure(sd.craftEmbedding({ name: 'a', knid: 'text' })),
      await failure(sd.craftEmbedding({ kind: 'text', text: () => {} })), await failure(sd.exportEmbedding('none')),
      await failure(sd.loadVae(new Blob(['x']), { onProgres: null })), await failure(sd.loadVae(new File(['x'], 'bad.safetensors'))),
      await failure(sd.loadVae(3)),
    ];
    const names = sd.embeddings.map(({ name }) => name);
    const removed = [await sd.removeEmbedding('feline'), await sd.removeEmbedding('made'), await sd.removeEmbedding('made')];
    return {
      facts, layout: made.layout, pt: await pt.text(), safetensors: await (await sd.exportEmbedding('styles/a')).text(),
      codes: errors.map(({ code }) => code), names, removed, left: sd.embeddings.map(({ name }) => name),
      dialects: [(await sd.tokens('a')).used, (await sd.tokens('a', { promptSyntax: 'a1111' })).used],
    };
  });
  assert.equal(result.facts.nearest[0][0].id, 2368);
  assert.deepEqual(JSON.parse(result.layout), { kind: 'scale', of: 'Feline', factor: 2 });
  assert.deepEqual([result.pt, result.safetensors], ['made as pt', 'styles/a as safetensors']);
  assert.deepEqual(result.codes, ['BAD_OPTION', 'UNKNOWN_OPTION', 'BAD_OPTION', 'BAD_OPTION', 'UNKNOWN_OPTION', 'MISSING_TENSORS', 'BAD_OPTION']);
  assert.deepEqual(result.names, ['Feline', 'styles/a', 'made']);
  assert.deepEqual([result.removed, result.left], [[true, true, false], ['styles/a']]);
  assert.deepEqual(result.dialects, [[], ['in a1111']]);
});

test('a VAE is loaded between pictures, with progress; an aborted one is left out', async () => {
  const { seen, vae, after, aborted, step } = await inPage(async ({ load, failure }) => {
    const sd = await load();
    const seen = [];
    const picture = sd.generate({ steps: 2 });
    await sd.loadVae(new File(['x'], 'vae.safetensors'), { onProgress: ({ phase, loaded, total }) => seen.push({ phase, loaded, total }) });
    const { vae } = await sd.memory();
    const control = new AbortController();
    const onProgress = ({ loaded }) => loaded > 0 && control.abort(new Error('enough'));
    const aborted = await failure(sd.loadVae(new File(['x'], 'slow.safetensors'), { signal: control.signal, onProgress }));
    const { params } = await sd.generate({ steps: 1 });
    return { seen, vae, after: (await sd.memory()).vae, aborted: aborted.message, step: [params.steps, (await picture).params.steps] };
  });
  assert.deepEqual([seen[0].phase, seen.at(-1)], ['open', { phase: 'ready', loaded: 400, total: 400 }]);
  assert.deepEqual([vae, after, aborted, step], ['vae.safetensors', 'vae.safetensors', 'enough', [1, 2]]);
});

test('recipes are read and written without a model; a panic there ends only that call', async () => {
  const result = await inPage(async ({ readRecipe, recipeText, failure }) => {
    const recipe = await readRecipe('{"prompt":"a cat","seed":"18446744073709551615"}');
    const blob = await readRecipe(new Blob(['{"steps":3}']));
    return {
      recipe, steps: blob.steps, text: await recipeText(recipe, 'workflow'), usual: await recipeText({}),
      none: await failure(readRecipe(new File(['x'], 'x.png'))), wrong: await failure(readRecipe(3)),
      form: await failure(recipeText(recipe, 'xml')), function: await failure(recipeText({ prompt: () => {} })),
      panic: await failure(readRecipe('panic')), after: (await readRecipe('{"steps":4}')).steps,
    };
  });
  assert.deepEqual([result.recipe.prompt, result.recipe.seed, result.steps, result.after], ['a cat', '18446744073709551615', 3, 4]);
  assert.match(result.text, /^workflow: .*a cat/);
  assert.match(result.usual, /^a1111: /);
  const codes = ['none', 'wrong', 'form', 'function', 'panic'].map((name) => result[name].code);
  assert.deepEqual(codes, ['NO_RECIPE', 'BAD_OPTION', 'BAD_OPTION', 'BAD_OPTION', 'INTERNAL']);
  assert.match(result.none.message, /x\.png/);
});

test('the model is hashed while there is nothing else to do, and at the latest before a picture is saved', async () => {
  const result = await inPage(async ({ load, readRecipe, failure }) => {
    const hashed = async (sd) => (await sd.memory()).wasmBytes;
    const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
    const idle = await load();
    await pause(600);
    const whole = await hashed(idle);
    const sd = await load();
    const first = sd.generate({ steps: 2 });
    const second = sd.generate({ steps: 2 });
    const notes = [];
    for (const picture of [first, second]) notes.push((await readRecipe((await picture).png)).notes[0]);
    const changed = await load('changed.safetensors');
    await pause(50);
    const works = (await changed.generate({ steps: 1 })).params.steps;
    const trapped = await load('trap.safetensors');
    await pause(50);
    const early = await load();
    const began = performance.now();
    await early.dispose();
    return { notes, whole, works, trapped: await failure(trapped.memory()), disposed: performance.now() - began };
  });
  assert.equal(result.whole, 20);
  for (const note of result.notes) assert.match(note, /^20 slices/, 'equal pictures must be equal files, whenever they are made');
  assert.equal(result.works, 1);
  assert.equal(result.trapped.code, 'INTERNAL');
  assert.ok(result.disposed < 1000);
});

test('dispose: pending calls reject, later ones too, twice is fine', async () => {
  const result = await inPage(async ({ load, failure }) => {
    const sd = await load();
    const pending = failure(sd.generate({ steps: 100 }));
    await Promise.all([sd.dispose(), sd.dispose()]);
    await sd.dispose();
    return [await pending, await failure(sd.generate({})), await failure(sd.addEmbedding(new File(['x'], 'a.pt')))];
  });
  assert.deepEqual(result.map(({ code }) => code), ['DISPOSED', 'DISPOSED', 'DISPOSED']);
});

test('a missing wasm package is a sentence, not a hanging promise', async () => {
  server.made.set('/pkg/wordbrush.js', '/nonexistent');
  const { page } = await openPage(browser, `${server.url}/blank.html`);
  const error = await page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    return StableDiffusion.load(new Blob(['x'])).catch(({ code, message }) => ({ code, message }));
  });
  server.made.set('/pkg/wordbrush.js', FAKE);
  await page.close();
  assert.equal(error.code, 'INTERNAL');
  assert.match(error.message, /cargo xtask build/);
});

test('the page answers a crash by loading the model and the embeddings again, and keeps the prompt', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  await drop(page, [{ name: '__proto__.pt', text: 'x' }, { name: '<img src=x onerror=alert(1)>.pt', text: 'x' }]);
  const rows = page.locator('#embedding-list .name');
  await page.locator('#embedding-list li', { hasText: 'waits for a model' }).nth(1).waitFor();
  await page.locator('#model-file').setInputFiles({ name: 'my model.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'my model.safetensors is loaded' }).waitFor();
  const names = ['__proto__', '<img src=x onerror=alert(1)>'];
  await rows.nth(1).waitFor();
  assert.deepEqual(await rows.allTextContents(), names);
  assert.equal(await page.locator('#embedding-list img').count(), 0);

  await page.getByLabel('Prompt', { exact: true }).fill('panic in step');
  await page.keyboard.press('Control+Enter');
  const alert = page.getByRole('alert');
  await alert.locator('[data-code="INTERNAL"]').waitFor();
  await page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  await screenshot(page, 'after-a-crash');
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'panic in step');
  assert.deepEqual(await rows.allTextContents(), names);

  await page.getByLabel('Prompt', { exact: true }).fill('');
  await rows.first().click();
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'embedding:__proto__');
  await page.getByLabel('Steps', { exact: true }).fill('2');
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.getByRole('img').waitFor();
  assert.equal(await alert.locator('div').count(), 0);

  await page.getByRole('button', { name: 'Remove __proto__' }).click();
  await page.locator('#embedding-list .name').nth(1).waitFor({ state: 'detached' });
  await page.getByLabel('Steps', { exact: true }).fill('500');
  await page.getByLabel('Prompt', { exact: true }).press('Control+Enter');
  await page.locator('#progress', { hasText: /Step \d+ of 500/ }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#milestones', { hasText: 'Stopped.' }).waitFor({ state: 'attached' });
  assert.equal(await page.getByRole('button', { name: 'Stop' }).isDisabled(), true);
  assert.deepEqual(problems, []);
  await page.close();
});

test('the page: facts, making, keeping over a reload, forgetting, recipes, VAE, syntax', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(8000);
  const model = () => page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  const loaded = () => page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  const names = page.locator('#embedding-list .name');
  await model();
  await loaded();
  await drop(page, [{ name: '<i>a.pt', text: 'x' }, { name: 'two.pt', text: 'x' }]);
  await names.nth(2).waitFor();
  await page.getByText('Details').first().click();
  await page.locator('.facts', { hasText: '<b>dog</b> (0.50)' }).waitFor();
  await page.locator('.facts', { hasText: 'Takes 1 of a window' }).waitFor();
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save as .pt: <i>a' }).click();
  assert.equal((await download).suggestedFilename(), '_i_a.pt');

  await page.getByText('Make an embedding').click();
  await page.getByLabel('Name', { exact: true }).fill('made');
  await page.getByLabel('Made by').selectOption('rows');
  await page.getByLabel('Vectors', { exact: true }).fill('1, 3-4');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.locator('#embedding-list li', { hasText: '{"kind":"rows","of":"<i>a","rows":[0,2,3]}' }).waitFor();
  await page.getByRole('button', { name: 'Remove two-other' }).click();
  await names.filter({ hasText: 'two-other' }).waitFor({ state: 'detached' });
  await page.getByText('3 kept in this browser').waitFor();

  await page.reload();
  await page.locator('#embedding-list li', { hasText: 'waits for a model' }).nth(2).waitFor();
  await model();
  await loaded();
  assert.deepEqual((await names.allTextContents()).sort(), ['<i>a', 'made', 'two-one']);

  const recipe = {
    prompt: 'one two', steps: 1, width: 64, height: 64, seed: '18446744073709551615', sampler: 'dpm_fast', scheduler: 'karras', promptSyntax: 'a1111',
    clipSkip: 2, rng: 'nv', eta: 0.5, embeddings: [{ name: 'MADE', shortHash: 'abababababab' }, { name: 'gone', shortHash: '' }], notes: ['<u>note'],
  };
  await drop(page, [{ name: 'recipe.pt', text: JSON.stringify(recipe) }]);
  const notes = page.locator('#recipe .notes li');
  await notes.nth(2).waitFor();
  assert.deepEqual((await notes.allTextContents()).slice(1), ['The embedding gone is missing.', '<u>note']);
  const value = (label) => page.getByLabel(label, { exact: true }).inputValue();
  assert.equal(await value('Seed'), recipe.seed);
  assert.deepEqual([await value('Sampler'), await value('Scheduler'), await value('Random numbers'), await value('Eta')], ['euler', 'karras', 'nv', '0.5']);
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.getByRole('button', { name: 'Copy as ComfyUI workflow' }).waitFor();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy as A1111 text' }).click();
  await page.getByText('Copied.').waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, /^a1111: .*"promptSyntax":"a1111"/);
  assert.match(copied, /"clipSkip":2/);

  // What the next recipe does not say is as usual, not as the last one had it.
  await drop(page, [{ name: 'plain.pt', text: JSON.stringify({ prompt: 'plain', steps: 1, embeddings: [], notes: [] }) }]);
  await page.waitForFunction(() => document.querySelector('[name="prompt"]').value === 'plain');
  assert.deepEqual([await value('Random numbers'), await value('Eta')], ['cpu', '']);

  await page.getByText('Paste its recipe').click();
  await page.getByLabel('Recipe text or workflow JSON').fill('nonsense');
  await page.getByRole('button', { name: 'Use this recipe' }).click();
  await page.getByRole('alert').locator('[data-code="NO_RECIPE"]').waitFor();
  await page.locator('#vae-file').setInputFiles({ name: 'v.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'with the VAE v.safetensors' }).waitFor();
  await screenshot(page, 'library');

  await page.getByRole('button', { name: 'Forget all' }).click();
  await names.first().waitFor({ state: 'detached' });
  await page.reload();
  await page.locator('#gpu:not(:empty)').waitFor();
  assert.equal(await page.locator('#embedding-list li').count(), 0);
  assert.deepEqual(problems, []);
  await page.close();
});

test('the page without storage works and says so', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.addInitScript(() => { Object.defineProperty(navigator, 'storage', { value: undefined }); });
  await page.goto(`${server.url}/www/`);
  await page.getByText('not kept for the next visit').waitFor();
  await drop(page, [{ name: 'a.pt', text: 'x' }]);
  await page.locator('#embedding-list .name').first().waitFor();
  assert.equal(await page.getByRole('alert').locator('[data-code]').count(), await page.getByRole('alert').locator('[data-code="NO_GPU"]').count());
  await context.close();
});
