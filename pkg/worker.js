// The worker's side: loads the wasm, owns the engine and calls it, one call at a time.
//
// Loading and generating are pulled slice by slice and step by step. Between two of them the worker hears new messages: an
// abort ends the job there, and quick calls (embeddings, tokens, memory) are answered there instead of after the picture.
// While there is nothing else to do, the model is hashed slice by slice, for the recipes of its pictures.
//
// A worker without a model reads and writes recipes, looks at models, and brings them into the store.

import { failure } from './store/download.js';
import { keepMeasurements, readMeasurements } from './store/measurements.js';
import { bringIn, stopTransfers, withFiles } from './store/transfers.js';
import { withSubgroups } from './subgroups.js';

let engine = null;
let inEngine = false; // within an awaited call, when the engine must not be called again
let jobs = Promise.resolve();
let hashed = true;
let modelBytes = 0;
let making = null; // the call whose picture is being made
let measured; // what is kept of what the engine has measured
const waiting = [];
const queued = new Set(); // jobs that have not ended, by their calls' ids
const aborted = new Set(); // those of them that are to end
const unseen = new Set(); // calls whose last preview the page has not looked at yet
const breath = new MessageChannel();

const QUICK = {
  addEmbedding: ({ name, bytes }) => engine.addEmbedding(name, bytes),
  removeEmbedding: ({ name }) => engine.removeEmbedding(name),
  embeddings: () => engine.embeddings(),
  embeddingFacts: ({ name }) => engine.embeddingFacts(name),
  craftEmbedding: ({ spec }) => engine.craftEmbedding(spec),
  exportEmbedding: ({ name, format }) => engine.exportEmbedding(name, format),
  tokens: ({ prompt, promptSyntax, seed }) => engine.tokens(prompt, promptSyntax, seed && BigInt(seed)),
  memory: () => engine.memory(),
};
const JOBS = { open, openVae, generate, readRecipe, recipeText, writeRecipe, modelNeeds, store, dispose };

self.onmessage = ({ data }) => {
  if (data.type === 'abort') abort(data.id);
  else if (data.type === 'seen') unseen.delete(data.id);
  else if (data.type in JOBS) queue(data);
  else if (inEngine) waiting.push(data);
  else answer(data, QUICK[data.type]);
};

function abort(id) {
  if (queued.has(id)) aborted.add(id);
  stopTransfers(id);
}

function queue(call) {
  queued.add(call.id);
  jobs = jobs.then(() => answer(call, JOBS[call.type])).then(() => {
    queued.delete(call.id);
    aborted.delete(call.id);
    hashWhenIdle();
  });
}

// One slice at the end of the queue: a job that comes meanwhile waits for that slice only.
function hashWhenIdle() {
  if (!hashed && queued.size === 0) jobs = jobs.then(hashWhileIdle);
}

async function hashWhileIdle() {
  if (hashed || queued.size > 0) return;
  await hashSlice();
  hashWhenIdle();
}

async function hashSlice() {
  try {
    hashed = !await turn(() => engine.hash());
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) fatal(error.message);
    hashed = true; // The file has changed or is gone: recipes do without its hash.
  }
}

// A Rust panic in the middle of an awaited call leaves its promise forever pending and arrives here instead.
self.addEventListener('error', (event) => {
  event.preventDefault();
  fatal(event.message);
});
self.addEventListener('unhandledrejection', (event) => {
  event.preventDefault();
  fatal(event.reason?.message ?? event.reason);
});

function fatal(message) {
  self.postMessage({ fatal: String(message) });
}

// Quick calls are answered before this returns: the engine takes them one after the other.
function answer(call, work) {
  const { id } = call;
  const succeed = (value) => {
    const bytes = value?.images?.map(({ png }) => png) ?? (value instanceof Uint8Array ? [value] : []);
    self.postMessage({ id, value }, bytes.map(({ buffer }) => buffer));
  };
  const fail = (error) => {
    // A trap poisons the instance: nothing that it says afterwards can be trusted.
    if (error instanceof WebAssembly.RuntimeError) fatal(error.message);
    else self.postMessage({ id, error: { code: error?.code ?? 'INTERNAL', message: String(error?.message ?? error) } });
  };
  try {
    const value = work(call);
    if (!(value instanceof Promise)) return succeed(value);
    return value.then(succeed).catch(fail);
  } catch (error) {
    fail(error);
  }
}

// One awaited call into the engine, then the messages that came meanwhile.
async function turn(call) {
  inEngine = true;
  let value;
  try {
    value = await call();
  } finally {
    inEngine = false;
    for (const late of waiting.splice(0)) answer(late, QUICK[late.type]);
  }
  await new Promise((resolve) => {
    breath.port1.onmessage = resolve;
    breath.port2.postMessage(null);
  });
  return value;
}

function stopIfAborted(id) {
  // The page has rejected this call already; the error only ends the job.
  if (aborted.has(id)) throw Object.assign(new Error('Stopped.'), { code: 'ABORTED' });
}

async function open({ id, files, options, store, tune }) {
  let fromCache = false;
  const report = (phase) => {
    self.postMessage({ id, event: { phase, loaded: engine?.loaded ?? 0, total: engine?.total ?? 0, fromCache } });
  };
  report('open');
  const wasm = await importEngine();
  let opened;
  await withFiles(id, files, { kind: 'model', store, check: () => stopIfAborted(id) }, async (sources, arriving) => {
    fromCache = allStored(sources, arriving);
    const needs = await turn(() => wasm.modelNeeds(sources, { dtype: options.dtype }));
    self.postMessage({ id, event: { phase: 'open', loaded: 0, total: 0, needs, fromCache } });
    engine = await turn(() => withSubgroups(() => wasm.Engine.open(sources, options)));
    engine.listen(tellPrepared);
    if (tune) await tuneEngine();
    await loadAll(id, () => { if (!arriving()) report('load'); });
    await verify(id, files[0], sources[0]);
    opened = sources;
  });
  report('ready');
  // A model that is only in memory is not downloaded a second time for its hash.
  hashed = opened.some(({ isStored }) => isStored === false);
  modelBytes = engine.total;
  return { adapter: engine.adapter(), textWidth: engine.textWidth, bytes: modelBytes };
}

// Nothing of it has to come from the network, or from where it was chosen.
const allStored = (sources, arriving) => !arriving() && sources.every(({ isStored }) => isStored === true);

// Who says what the hash of a file is wants no other file.
async function verify(id, { sha256, url }, { size }) {
  if (sha256 === undefined) return;
  while (await turn(() => engine.hash())) {
    stopIfAborted(id);
    self.postMessage({ id, event: { phase: 'verify', loaded: engine.hashed, total: size } });
  }
  if (engine.sha256 === sha256) return;
  throw failure('INTEGRITY', `${url} is not the file that was asked for: its SHA-256 is ${engine.sha256}, expected ${sha256}.`);
}

function tellPrepared(what, done, total) {
  if (making !== null) self.postMessage({ id: making, event: { type: 'prepare', what, done, total } });
}

// The engine measures before the first picture of a size, but for what it knows from an earlier visit.
async function tuneEngine() {
  const device = engine.tunedFor();
  if (device === undefined) return;
  measured = await readMeasurements(device);
  engine.tune(measured);
}

async function keepMeasured() {
  const text = engine.measurements();
  if (text === undefined || text === measured) return;
  measured = text;
  await keepMeasurements(engine.tunedFor(), text);
}

async function openVae({ id, files, store }) {
  let fromCache = false;
  const report = (phase, loaded, total) => self.postMessage({ id, event: { phase, loaded, total, fromCache } });
  stopIfAborted(id);
  report('open', 0, 0);
  let total;
  const kind = await withFiles(id, files, { kind: 'vae', store, check: () => stopIfAborted(id) }, async (sources, arriving) => {
    fromCache = allStored(sources, arriving);
    const kind = await turn(() => engine.openVae(sources));
    total = engine.total - modelBytes;
    try {
      await loadAll(id, () => { if (!arriving()) report('load', Math.max(0, engine.loaded - modelBytes), total); });
    } catch (error) {
      engine.dropVae();
      throw error;
    }
    return kind;
  });
  report('ready', total, total);
  return kind;
}

// Tells what a model would take: of one at an address, only its header is fetched.
async function modelNeeds({ id, files, options }) {
  const { modelNeeds: read } = await importEngine();
  const how = { kind: 'model', store: false, block: HEADER, check: () => stopIfAborted(id) };
  return withFiles(id, files, how, (sources) => read(sources, options));
}

const HEADER = 512 * 1024;

// Brings a model into the store without loading it.
async function store({ id, files: [file], kind }) {
  return bringIn(id, file, { kind, check: () => stopIfAborted(id) });
}

async function loadAll(id, report) {
  stopIfAborted(id);
  report();
  for (let reported = performance.now(); await turn(() => engine.load());) {
    stopIfAborted(id);
    if (performance.now() - reported < 100) continue;
    report();
    reported = performance.now();
  }
}

async function readRecipe({ bytes, name }) {
  return (await importEngine()).readRecipe(bytes, name);
}

async function recipeText({ recipe, form }) {
  return (await importEngine()).recipeText(recipe, form);
}

async function writeRecipe({ bytes, recipe }) {
  return (await importEngine()).writeRecipe(bytes, recipe);
}

async function importEngine() {
  try {
    const wasm = await import('./wordbrush.js');
    await wasm.default();
    return wasm;
  } catch (error) {
    const message = `The engine (wordbrush_bg.wasm) could not be loaded: ${error.message} In a checkout, run cargo xtask build.`;
    throw Object.assign(new Error(message), { code: 'INTERNAL' });
  }
}

async function generate({ id, options, hires, preview, profile }) {
  stopIfAborted(id);
  const began = performance.now();
  making = id;
  let generation;
  try {
    if (profile) engine.setProfiling(true);
    generation = await turn(() => engine.start(options));
    await keepMeasured();
    const { steps, seed, warnings, pictures } = generation;
    const tokens = (prompt) => {
      const { windows, tokens: count, used } = engine.tokens(prompt ?? '', options.promptSyntax);
      return { windows, tokens: count, used };
    };
    self.postMessage({
      id,
      event: { type: 'tokens', positive: tokens(options.prompt), negative: tokens(options.negativePrompt), warnings, seed },
    });
    await allSteps(id, generation, preview, 1);
    if (hires) {
      const first = generation;
      try {
        generation = await turn(() => engine.enlarge(first, hires));
      } finally {
        if (generation !== first) first.free();
      }
      await allSteps(id, generation, preview, 2);
    }
    const { width, height } = generation;
    // What is left of the hash is done now: the same picture must be the same file whether it was made at once or later.
    while (!hashed) {
      stopIfAborted(id);
      await hashSlice();
    }
    const images = [];
    for (let i = 0; i < pictures; i += 1) {
      stopIfAborted(id);
      self.postMessage({ id, event: { type: 'decode', picture: i, pictures } });
      const [ownSeed, variationSeed] = generation.seedsOf(i);
      images.push({ png: await turn(() => generation.image(i)), seeds: { seed: ownSeed, variationSeed } });
    }
    await keepMeasured();
    const seconds = (performance.now() - began) / 1000;
    return { images, params: { steps, width, height }, warnings, seconds, profile: profile ? await turn(() => engine.profile()) : undefined };
  } finally {
    making = null;
    if (profile) engine.setProfiling(false);
    unseen.delete(id);
    generation?.free();
  }
}

async function allSteps(id, generation, preview, pass) {
  const { steps } = generation;
  const clock = stepClock(steps);
  for (let more = true; more;) {
    stopIfAborted(id);
    more = await turn(() => generation.step());
    const event = { type: 'step', pass, step: generation.done, steps, sigma: generation.sigma, ...clock(generation.done) };
    // A page that has not looked at the last preview needs no other.
    if (preview && !unseen.has(id)) {
      event.preview = await turn(() => generation.preview(preview === 'taesd'));
      unseen.add(id);
    }
    self.postMessage({ id, event }, event.preview ? [event.preview.data.buffer] : []);
  }
}

// The first step also warms up, so the time left is told from the second on.
function stepClock(steps) {
  let last = performance.now();
  let first = null;
  return (done) => {
    const now = performance.now();
    const msPerStep = now - last;
    last = now;
    first ??= { now, done };
    const mean = done > first.done ? (now - first.now) / (done - first.done) : null;
    return { msPerStep, etaSeconds: mean === null ? null : (mean * (steps - done)) / 1000 };
  };
}

function dispose() {
  hashed = true;
  engine?.dispose();
  engine = null;
}
