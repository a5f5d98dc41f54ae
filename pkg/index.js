// Wordbrush on the page's side: promises over one dedicated worker that owns the wasm engine and the GPU (or computes on the CPU).
// index.d.ts documents what is exported here.

import { bitmapOf, imageDataOf, withPixels } from './pictures.js';
import { platform } from './platform.js';
import * as folder from './store/folder.js';
import { Rate } from './store/rate.js';

const HINTS = new Map([
  ['NO_GPU', howToEnable()],
  ['DEVICE_LOST', 'If it happens again, restart the browser.'],
  ['NUMERIC_NAN', 'Load the model with dtype "f32", or try another checkpoint.'],
  ['INTERNAL', 'Load the model again. This is a fault of Wordbrush: please report it.'],
]);

// A Textual Inversion file has a few hundred kB; the engine's own limit is the same.
const EMBEDDING_LIMIT = 32 * 1024 * 1024;
const PICTURE_LIMIT = 256 * 1024 * 1024;

export const samplers = Object.freeze([
  'euler', 'euler_ancestral', 'heun', 'dpm_2', 'dpm_2_ancestral', 'lms', 'dpmpp_2s_ancestral', 'dpmpp_sde', 'dpmpp_sde_gpu',
  'dpmpp_2m', 'dpmpp_2m_sde', 'dpmpp_2m_sde_gpu', 'dpmpp_2m_sde_heun', 'dpmpp_2m_sde_heun_gpu', 'dpmpp_3m_sde',
  'dpmpp_3m_sde_gpu', 'ddim', 'plms', 'uni_pc', 'uni_pc_bh2', 'deis', 'ipndm', 'lcm',
]);
export const schedulers = Object.freeze([
  'normal', 'karras', 'exponential', 'sgm_uniform', 'simple', 'ddim_uniform', 'beta', 'kl_optimal', 'polyexponential',
  'align_your_steps', 'turbo',
]);
export const promptSyntaxes = Object.freeze(['comfy', 'a1111']);
export const defaults = Object.freeze({
  prompt: '', negativePrompt: '', steps: 20, cfg: 8, cfgRescale: 0, guidanceStart: 0, guidanceEnd: 1, width: 512, height: 512,
  batchSize: 1,
  seed: '1234', sampler: 'euler', scheduler: 'normal', clipSkip: 1,
  promptSyntax: 'comfy', keepEmbeddingsWhole: false,
  rng: 'cpu', variationSeed: '0', variationStrength: 0, seedDelta: '0', sNoise: 1, sChurn: 0, sTmin: 0,
  decoder: 'vae', vaeTiling: 'auto',
});

export class WordbrushError extends Error {
  constructor(code, message, hint = HINTS.get(code)) {
    super(message);
    this.name = 'WordbrushError';
    this.code = code;
    if (hint) this.hint = hint;
  }
}

export async function checkWebGPU() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (!adapter) {
    throw new WordbrushError('NO_GPU', `Pictures are computed on the GPU through WebGPU, but ${whyNoGpu()}.`);
  }
  const { vendor, architecture, description, isFallbackAdapter } = adapter.info ?? {};
  return {
    description: description || [vendor, architecture].filter(Boolean).join(' ') || 'unknown GPU',
    f16: adapter.features.has('shader-f16'),
    software: Boolean(isFallbackAdapter) || architecture === 'swiftshader',
  };
}

// Hoisted: HINTS is made of it.
function howToEnable() {
  if (globalThis.isSecureContext === false) return 'Open this page through https: or on localhost.';
  const agent = globalThis.navigator?.userAgent ?? '';
  if (/Firefox\//.test(agent)) {
    return 'To enable it: switch on hardware acceleration in Firefox’s settings and set dom.webgpu.enabled to true on about:config, or use a recent Chrome or Edge.';
  }
  if (/Safari\//.test(agent) && !/Chrom(e|ium)\//.test(agent)) {
    return 'To enable it: update to Safari 26 or later, or use a recent Chrome or Edge.';
  }
  if (/Chrom(e|ium)\//.test(agent)) {
    const linux = /Linux|X11/.test(agent) && !/Android/.test(agent) ? ', on Linux also chrome://flags/#enable-vulkan' : '';
    return `To enable it: switch on hardware acceleration under Settings, System, and restart the browser; where that is not enough, enable chrome://flags/#enable-unsafe-webgpu${linux}.`;
  }
  return 'Use a recent Chrome, Edge, Firefox or Safari with hardware acceleration switched on.';
}

function whyNoGpu() {
  if (navigator.gpu) return 'this browser offers no GPU adapter';
  return globalThis.isSecureContext ? 'this browser does not have it' : 'it exists only on https: and localhost pages';
}

export class StableDiffusion {
  #worker;
  #model;
  #embeddings = new Map();
  #disposed = null;

  constructor(worker, model) {
    this.#worker = worker;
    this.#model = model;
  }

  static async load(source, options = {}) {
    const { onProgress, signal, device, dtype, powerPreference, store = true, tune = true, worker: script } = known(options, LOAD_OPTIONS);
    signal?.throwIfAborted();
    const files = await filesOf(source);
    signal?.throwIfAborted();
    const worker = new EngineWorker(script);
    const onEvent = withRate(onProgress);
    try {
      const engine = defined({ device, dtype, powerPreference });
      const model = await worker.call('open', { files, store, tune, options: engine }, { signal, onEvent });
      return new this(worker, model);
    } catch (error) {
      // The half-loaded model goes with its worker, at once and with all its GPU memory.
      worker.stop(new WordbrushError('DISPOSED', 'The model was not loaded.'));
      throw error;
    }
  }

  get device() { return this.#model.adapter.backend === 'cpu' ? 'cpu' : 'webgpu'; }
  get adapter() { return this.#model.adapter; }
  get textWidth() { return this.#model.textWidth; }
  get bytes() { return this.#model.bytes; }
  get embeddings() { return [...this.#embeddings.values()]; }

  async addEmbedding(file, options = {}) {
    const { name = pathInFolder(file, 'embedding') } = known(options, EMBEDDING_OPTIONS);
    if (!(file instanceof Blob)) throw new WordbrushError('BAD_OPTION', 'addEmbedding needs a File or a Blob.');
    if (file.size > EMBEDDING_LIMIT) {
      const size = (file.size / 1024 / 1024).toFixed(0);
      throw new WordbrushError('TOO_LARGE', `${name} has ${size} MiB; an embedding has at most 32 MiB. Is it a checkpoint or a LoRA?`);
    }
    const bytes = await bytesOf(file, name);
    const infos = await this.#worker.call('addEmbedding', { name: String(name), bytes }, { transfer: [bytes.buffer] });
    // As in the engine, a new one takes the place of the old one of exactly that name.
    for (const info of infos) this.#embeddings.set(info.name, info);
    return infos;
  }

  async removeEmbedding(name) {
    const removed = await this.#worker.call('removeEmbedding', { name: String(name) });
    // A name that is not the exact one may have found an embedding too.
    if (removed && !this.#embeddings.delete(String(name))) {
      const left = await this.#worker.call('embeddings', {});
      this.#embeddings = new Map(left.map((info) => [info.name, info]));
    }
    return removed;
  }

  embeddingFacts(name) { return this.#worker.call('embeddingFacts', { name: String(name) }); }

  async craftEmbedding(spec) {
    const info = await this.#worker.call('craftEmbedding', { spec });
    this.#embeddings.set(info.name, info);
    return info;
  }

  async exportEmbedding(name, format = 'safetensors') {
    const bytes = await this.#worker.call('exportEmbedding', { name: String(name), format: String(format) });
    return new Blob([bytes], { type: 'application/octet-stream' });
  }

  async loadVae(source, options = {}) {
    const { onProgress, signal, store = true } = known(options, VAE_OPTIONS);
    signal?.throwIfAborted();
    const files = unverified(await filesOf(source));
    return this.#worker.call('openVae', { files, store }, { signal, onEvent: withRate(onProgress) });
  }

  async tokens(prompt, { promptSyntax, seed } = {}) {
    if (seed !== undefined && !(/^\d{1,20}$/.test(seed) && BigInt(seed) < 2n ** 64n)) {
      throw new WordbrushError('BAD_OPTION', `seed is ${seed}; it must be a whole number from 0 to 2⁶⁴ − 1.`);
    }
    return this.#worker.call('tokens', { prompt: String(prompt), ...defined({ promptSyntax, seed: seed === undefined ? seed : String(seed) }) });
  }
  memory() { return this.#worker.call('memory', {}); }

  generate(options = {}, control = {}) {
    const { signal, preview = false, profile = false } = known(control, GENERATE_CONTROL);
    if (typeof preview !== 'boolean' && preview !== 'taesd') throw new WordbrushError('BAD_OPTION', `preview is ${preview}; it must be true, false or taesd.`);
    const given = defined(Array.isArray(options?.notes) ? optionsOf(options) : options);
    const { hires } = given;
    return new Generation(given, signal, async (how) => {
      const { hires: _, ...options } = await withPixels(given);
      return this.#worker.call('generate', { options, hires, preview, profile }, how);
    });
  }

  dispose() {
    this.#disposed ??= this.#worker.dispose();
    return this.#disposed;
  }

  async [Symbol.asyncDispose ?? Symbol('asyncDispose')]() { await this.dispose(); }
}

export async function modelNeeds(source, options = {}) {
  const { signal, ...picture } = known(options, NEEDS_OPTIONS);
  return ownWorker('modelNeeds', { files: unverified(await filesOf(source)), options: defined(picture) }, { signal });
}

export const modelStore = Object.freeze({
  list: () => typed(folder.list()),
  remove: (key) => typed(folder.remove(String(key))),

  async add(source, options = {}) {
    const { onProgress, signal, kind = 'model' } = known(options, STORE_OPTIONS);
    if (!['model', 'vae'].includes(kind)) throw new WordbrushError('BAD_OPTION', `kind is ${kind}; it must be model or vae.`);
    const files = unverified(await filesOf(source));
    if (files.length !== 1) throw new WordbrushError('BAD_OPTION', 'Only single files are kept in the browser, no folders.');
    return ownWorker('store', { files, kind }, { signal, onEvent: withRate(onProgress) });
  },

  async room() {
    const { usage = 0, quota = 0 } = await navigator.storage?.estimate?.().catch(() => ({})) ?? {};
    return { usage, quota, persisted: await navigator.storage?.persisted?.().catch(() => false) ?? false };
  },
  persist: async () => await navigator.storage?.persist?.().catch(() => false) ?? false,
});

// A call that may take long has a worker of its own, which ends with it.
async function ownWorker(type, payload, control) {
  control.signal?.throwIfAborted();
  const worker = new EngineWorker();
  try {
    return await worker.call(type, payload, control);
  } finally {
    worker.stop(new WordbrushError('DISPOSED', 'The worker has ended.'));
  }
}

async function typed(promise) {
  return promise.catch((error) => { throw new WordbrushError(error.code ?? 'NO_STORAGE', error.message); });
}

export async function readRecipe(source) {
  if (typeof source === 'string') return recipeCall('readRecipe', { bytes: new TextEncoder().encode(source), name: 'The text' });
  if (!(source instanceof Blob)) throw new WordbrushError('BAD_OPTION', 'readRecipe needs a File, a Blob or a text.');
  const name = source.name ?? 'The picture';
  if (source.size > PICTURE_LIMIT) throw new WordbrushError('TOO_LARGE', `${name} has more than 256 MiB: no recipe is looked for in it.`);
  return recipeCall('readRecipe', { bytes: await bytesOf(source, name), name });
}

export async function recipeText(recipe, form = 'a1111') {
  return recipeCall('recipeText', { recipe, form: String(form) });
}

export async function writeRecipe(png, recipe) {
  if (!(png instanceof Blob)) throw new WordbrushError('BAD_OPTION', 'writeRecipe needs a PNG as a Blob.');
  const bytes = await bytesOf(png, png.name ?? 'The picture');
  return new Blob([await recipeCall('writeRecipe', { bytes, recipe })], { type: 'image/png' });
}

// Recipes have a worker of their own, so that they need no model and wait for none; it ends when it is not used for a while.
let recipeWorker = null;
let recipeRest;

async function recipeCall(type, payload) {
  clearTimeout(recipeRest);
  const worker = recipeWorker ??= new EngineWorker();
  try {
    return await worker.call(type, payload);
  } finally {
    if (worker.idle) {
      clearTimeout(recipeRest);
      if (worker.ended) recipeWorker = recipeWorker === worker ? null : recipeWorker;
      else recipeRest = platform.later(() => endRecipeWorker(worker), 10_000);
    }
  }
}

function endRecipeWorker(worker) {
  worker.stop(new WordbrushError('DISPOSED', 'The worker for recipes has ended.'));
  if (recipeWorker === worker) recipeWorker = null;
}

// A recipe's options. Its template, not what was made of it, gives the same again. With A1111's conventions the seed is the
// picture's own, so that it needs no batch around it.
function optionsOf(recipe) {
  const { batchPosition, model, modelHash, vae, embeddings, template, negativeTemplate, extra, notes, ...options } = recipe;
  if (options.promptSyntax === 'a1111') return { ...options, batchSize: 1 };
  return { ...options, prompt: template ?? options.prompt, negativePrompt: negativeTemplate ?? options.negativePrompt };
}

// One picture in the making: awaiting it gives the result, iterating over it gives the events.
class Generation {
  #events = [];
  #newest = null; // {at, seen}: the event that holds the newest preview, and what tells the worker that it was looked at
  #settled = null;
  #wake = [];
  #own = new AbortController();
  #result;

  // `start` takes {signal, onEvent}.
  constructor(options, given, start) {
    const signal = given ? AbortSignal.any([given, this.#own.signal]) : this.#own.signal;
    const onEvent = (event, seen) => this.#push(event.preview ? this.#previewed(event, seen) : event);
    this.#result = start({ signal, onEvent }).then(({ images: made, params, warnings, seconds, profile }) => {
      const images = made.map(({ png, seeds }) => {
        const blob = new Blob([png], { type: 'image/png' });
        const infotext = async () => recipeText(await readRecipe(blob));
        return { png: blob, image: () => bitmapOf(blob), infotext, params: { ...defaults, ...options, ...params, ...defined(seeds) } };
      });
      const result = { ...images[0], images, warnings, seconds, ...defined({ profile }) };
      this.#settled = { error: null };
      this.#push({ type: 'done', result });
      return result;
    });
    // Whoever only iterates meets the error there; it must not also count as an unhandled rejection.
    this.#result.catch((error) => {
      this.#settled = { thrown: true, error };
      this.#push(null);
    });
  }

  // Of all events only the newest preview is kept.
  #previewed(event, seen) {
    if (this.#newest) {
      const { preview, ...rest } = this.#events[this.#newest.at];
      this.#events[this.#newest.at] = rest;
    }
    this.#newest = { at: this.#events.length, seen };
    return { ...event, preview: imageDataOf(event.preview) };
  }

  #take(at) {
    if (at === this.#newest?.at) this.#newest.seen();
    return this.#events[at];
  }

  #push(event) {
    if (event) this.#events.push(event);
    for (const wake of this.#wake.splice(0)) wake();
  }

  abort(reason) { this.#own.abort(reason); }
  then(fulfilled, rejected) { return this.#result.then(fulfilled, rejected); }
  catch(rejected) { return this.#result.catch(rejected); }
  finally(settled) { return this.#result.finally(settled); }

  async *[Symbol.asyncIterator]() {
    for (let next = 0; ;) {
      if (next < this.#events.length) yield this.#take(next++);
      else if (this.#settled?.thrown) throw this.#settled.error;
      else if (this.#settled) return;
      else await new Promise((resolve) => { this.#wake.push(resolve); });
    }
  }
}

// The worker and the calls that wait for its answers.
class EngineWorker {
  #worker;
  #calls = new Map();
  #nextId = 1;
  #ended = null;

  constructor(script) {
    this.#worker = platform.startWorker(script);
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onmessageerror = () => this.stop(crash('an answer could not be read'));
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.stop(crash(event.message || 'worker.js could not be loaded'));
    };
  }

  get idle() { return this.#calls.size === 0; }
  get ended() { return this.#ended !== null; }

  call(type, payload, { signal, onEvent, transfer = [] } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      if (signal?.aborted) throw signal.reason;
      const id = this.#nextId++;
      try {
        this.#worker.postMessage({ id, type, ...payload }, transfer);
      } catch (error) {
        throw new WordbrushError('BAD_OPTION', `A value cannot be sent to the engine: ${error.message}`);
      }
      const abort = () => {
        this.#worker.postMessage({ type: 'abort', id });
        this.#settle(id)?.reject(signal.reason);
      };
      signal?.addEventListener('abort', abort);
      this.#calls.set(id, { resolve, reject, onEvent, forget: () => signal?.removeEventListener('abort', abort) });
    });
  }

  #receive({ id, event, value, error, fatal }) {
    if (fatal) this.stop(crash(fatal));
    else if (event) this.#calls.get(id)?.onEvent?.(event, () => this.#worker.postMessage({ type: 'seen', id }));
    else if (error) this.#settle(id)?.reject(new WordbrushError(error.code, error.message, error.hint));
    else this.#settle(id)?.resolve(value);
  }

  #settle(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.forget();
    return call;
  }

  // Ends the worker now; every call, waiting or to come, is answered with the error.
  stop(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#worker.terminate();
    for (const id of [...this.#calls.keys()]) this.#settle(id).reject(error);
  }

  // Lets the engine give its GPU memory back, but does not wait for one that hangs.
  async dispose() {
    if (this.#ended) return;
    const error = new WordbrushError('DISPOSED', 'The model was disposed.');
    for (const id of [...this.#calls.keys()]) {
      this.#worker.postMessage({ type: 'abort', id });
      this.#settle(id).reject(error);
    }
    const goodbye = this.call('dispose', {}).catch(() => {});
    this.#ended = error;
    await Promise.race([goodbye, new Promise((resolve) => { platform.later(resolve, 3000); })]);
    this.#worker.terminate();
  }
}

function crash(message) {
  const reason = message.replace(/^Uncaught (Error: )?/, '').replace(/\.?$/, '.');
  return new WordbrushError('INTERNAL', `The engine stopped: ${reason}`);
}

// Progress as the page is told of it: each phase has a speed of its own. A note says something by the way and leaves the rest as
// it was.
function withRate(onProgress) {
  let rate = null;
  let last = { phase: 'open', loaded: 0, total: 0, bytesPerSecond: null, etaSeconds: null };
  return (event) => {
    if (event.note) return onProgress?.({ ...last, note: event.note });
    // What it needs is known while the rest still comes.
    if (event.needs) return onProgress?.({ ...event, bytesPerSecond: null, etaSeconds: null });
    if (event.phase !== last.phase || !rate) rate = new Rate();
    last = { ...event, ...rate.at(event.loaded, event.total) };
    onProgress?.(last);
  };
}

const LOAD_OPTIONS = ['onProgress', 'signal', 'device', 'dtype', 'powerPreference', 'store', 'tune', 'worker'];
const EMBEDDING_OPTIONS = ['name'];
const VAE_OPTIONS = ['onProgress', 'signal', 'store'];
const STORE_OPTIONS = ['onProgress', 'signal', 'kind'];
const NEEDS_OPTIONS = ['signal', 'width', 'height', 'batchSize', 'dtype'];
const GENERATE_CONTROL = ['signal', 'preview', 'profile'];

function known(options, names) {
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown === undefined) return options;
  throw new WordbrushError('UNKNOWN_OPTION', `There is no option "${unknown}"; there are ${names.join(', ')}.`);
}

// An option that is undefined is an option that was not given.
function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

// The files of a model as the worker takes them: {name, blob}, {name, url} or {stored: key}.
async function filesOf(source) {
  if (typeof source === 'string' || source instanceof URL) return [fileOfUrl(source)];
  if (source instanceof Blob) return [{ name: source.name ?? 'model.safetensors', blob: source }];
  if (source?.kind === 'directory') return filesOfFolder(source);
  if (source?.kind === 'file') return filesOf(await source.getFile());
  if (source?.url) return [{ ...fileOfUrl(source.url), sha256: hashOf(source.sha256) }];
  if (typeof source?.stored === 'string') return [{ stored: source.stored }];
  const files = isList(source) ? [...source] : [];
  if (files.length > 0 && files.every((file) => file instanceof Blob)) {
    return files.map((file) => ({ name: pathInFolder(file), blob: file }));
  }
  throw new WordbrushError('BAD_OPTION', 'A model is a File, a list of Files (a folder), a folder handle, a URL, or the key of a stored one.');
}

function isList(source) {
  return typeof source === 'object' && source !== null && Symbol.iterator in source;
}

function fileOfUrl(url) {
  let absolute;
  try {
    absolute = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new WordbrushError('BAD_OPTION', `${url} is not a URL.`);
  }
  if (!/^https?:$/.test(absolute.protocol)) throw new WordbrushError('BAD_OPTION', `${absolute.href} is no address that can be fetched: it must begin with https: or http:.`);
  const last = absolute.pathname.split('/').pop();
  let name;
  try {
    name = decodeURIComponent(last);
  } catch {
    name = last;
  }
  absolute.hash = '';
  return { name: name || 'model.safetensors', url: absolute.href };
}

function hashOf(sha256) {
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) throw new WordbrushError('BAD_OPTION', `sha256 is ${sha256}; it must be 64 hex digits.`);
  return sha256?.toLowerCase();
}

function unverified(files) {
  if (files.some(({ sha256 }) => sha256)) throw new WordbrushError('BAD_OPTION', 'A file is compared with its sha256 when a model is loaded of it: leave it out here.');
  return files;
}

// "folder/unet/model.safetensors" → "unet/model.safetensors"
function pathInFolder(file, otherwise = 'model.safetensors') {
  return file?.webkitRelativePath?.split('/').slice(1).join('/') || file?.name || otherwise;
}

async function bytesOf(file, name) {
  return new Uint8Array(await file.arrayBuffer().catch(() => {
    throw new WordbrushError('READ', `${name} cannot be read: it was changed or removed after it was chosen.`);
  }));
}

async function filesOfFolder(folder, path = '', depth = 0) {
  const files = [];
  for await (const entry of folder.values()) {
    const name = path + entry.name;
    if (entry.kind === 'file') files.push({ name, blob: await entry.getFile() });
    else if (depth < 2 && !entry.name.startsWith('.')) files.push(...await filesOfFolder(entry, `${name}/`, depth + 1));
  }
  return files;
}
