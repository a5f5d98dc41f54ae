// Memory over a long day in small: pictures, stops at random moments, models loaded and given up. Real engine; what the GPU
// holds is counted outside of it too. PICTURES, STOPS and LOADS choose a longer day, SEED other moments.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openPage, requireWebGPU } from './lib/browser.js';
import { askGpu, faultyWorker } from './lib/faulty_gpu.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

const { SEED, PICTURES, STOPS, LOADS } = Object.fromEntries(
  Object.entries({ SEED: 8, PICTURES: 50, STOPS: 200, LOADS: 20 }).map(([name, usual]) => [name, Number(process.env[name] ?? usual)]),
);

let server;
let browser;
let page;
let problems;

before(async () => {
  server = await serve(new Map([...fixtures(), BLANK, ['/pkg/worker.js', faultyWorker()]]));
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/blank.html`));
  await requireWebGPU(page);
  await page.evaluate(async (seed) => {
    const { StableDiffusion } = await import('/pkg/index.js');
    const model = new File([await (await fetch('/made/small.safetensors')).blob()], 'small.safetensors');
    let state = seed;
    // mulberry32, a public-domain generator by Tommy Ettinger.
    const random = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
    const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
    const options = (n) => ({ prompt: `a cat ${n}`, negativePrompt: 'a dog', steps: 2, width: 64, height: 64, seed: 1 });
    const picture = async (sd, n) => {
      const { png } = await sd.generate(options(n));
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await png.arrayBuffer()));
      return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    Object.assign(globalThis, { StableDiffusion, model, random, pause, options, picture });
    globalThis.sd = await StableDiffusion.load(model);
  }, SEED);
});
after(async () => {
  await browser?.close();
  server?.close();
});

const memory = async () => ({ ...await page.evaluate(() => sd.memory()), counted: (await askGpu(page)).bytes });

test(`${PICTURES} pictures`, { timeout: 3_600_000 }, async (t) => {
  const make = (count) => page.evaluate(async (count) => {
    for (let n = 0; n < count; n += 1) await picture(sd, n);
    return picture(sd, 0);
  }, count);
  const first = await make(PICTURES / 5 - 1);
  const before = await memory();
  assert.equal(await make((4 * PICTURES) / 5), first);
  const after = await memory();
  t.diagnostic(JSON.stringify({ before, after }));
  assert.deepEqual([after.gpuBytes, after.counted, after.wasmBytes], [before.gpuBytes, before.counted, before.wasmBytes]);
  assert.equal(after.counted, after.gpuBytes, 'the engine counts what the browser holds');
});

test(`${STOPS} stops at random moments, in every phase of a picture`, { timeout: 3_600_000 }, async (t) => {
  const before = await memory();
  const { stopped, wrong, phases, same } = await page.evaluate(async (STOPS) => {
    const first = await picture(sd, 0);
    const begun = performance.now();
    await picture(sd, 1);
    const longest = (performance.now() - begun) * 1.1;
    const [wrong, phases] = [[], {}];
    let stopped = 0;
    for (let n = 0; n < STOPS; n += 1) {
      const control = new AbortController();
      const generation = sd.generate(options(n), { signal: control.signal, preview: n % 3 === 0 });
      let phase = 'begin';
      const watched = (async () => { for await (const { type } of generation) phase = type; })().catch(() => {});
      pause(random() * longest).then(() => control.abort());
      const asked = new Promise((resolve) => { control.signal.addEventListener('abort', () => resolve(performance.now())); });
      try {
        await generation;
      } catch (error) {
        stopped += 1;
        phases[phase] = (phases[phase] ?? 0) + 1;
        if (error.name !== 'AbortError') wrong.push(`${n}: ${error}`);
        const late = performance.now() - await asked;
        // Half a second, or as long as this machine takes for a picture: others may be at work on it.
        if (late > Math.max(500, longest)) wrong.push(`${n}: ${late} ms after it was asked for`);
      }
      await watched;
    }
    return { stopped, wrong, phases, same: await picture(sd, 0) === first };
  }, STOPS);
  const after = await memory();
  t.diagnostic(JSON.stringify({ SEED, stopped, phases, before, after }));
  assert.deepEqual(wrong, [], `SEED=${SEED}`);
  assert.ok(stopped > 0.6 * STOPS && Object.keys(phases).length >= 3, JSON.stringify(phases));
  assert.ok(same);
  assert.deepEqual([after.gpuBytes, after.counted, after.wasmBytes], [before.gpuBytes, before.counted, before.wasmBytes], `SEED=${SEED}`);
});

test(`${LOADS} loads, and as many that are stopped`, { timeout: 3_600_000 }, async (t) => {
  const { taken, stopped } = await page.evaluate(async (LOADS) => {
    await sd.dispose();
    const [taken, stopped] = [[], []];
    for (let n = 0; n < LOADS; n += 1) {
      const begun = performance.now();
      globalThis.sd = await StableDiffusion.load(model);
      const longest = performance.now() - begun;
      const { gpuBytes, wasmBytes } = await sd.memory();
      taken.push(`${gpuBytes} ${wasmBytes}`);
      await sd.dispose();
      const signal = AbortSignal.timeout(Math.ceil(random() * longest));
      stopped.push(await StableDiffusion.load(model, { signal }).then(async (sd) => { await sd.dispose(); return 'whole'; }, ({ name }) => name));
    }
    globalThis.sd = await StableDiffusion.load(model);
    await picture(sd, 0);
    return { taken, stopped };
  }, LOADS);
  t.diagnostic(JSON.stringify({ SEED, taken: [...new Set(taken)], stopped: stopped.filter((name) => name !== 'whole').length }));
  assert.equal(new Set(taken).size, 1, String(taken));
  assert.ok(stopped.every((name) => ['TimeoutError', 'whole'].includes(name)), String(stopped));
  assert.ok(stopped.filter((name) => name !== 'whole').length > LOADS / 4, String(stopped));
  // One worker is left, the model's; those before have gone with their memory.
  assert.equal(page.workers().length, 1);
  assert.deepEqual(problems, []);
});
