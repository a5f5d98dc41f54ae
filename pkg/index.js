// Wordbrush on the page's side: promises over one dedicated worker that owns the wasm engine and the GPU (or computes on the CPU).
// index.d.ts documents what is exported here.

import { EngineWorker, ownWorker } from './engine_worker.js';
import { WordbrushError } from './errors.js';
import { Generation } from './generation.js';
import {
  CALL_OPTIONS, EMBEDDING_OPTIONS, GENERATE_CONTROL, LOAD_OPTIONS, NEEDS_OPTIONS, STORE_OPTIONS, TOKENS_OPTIONS, VAE_OPTIONS, defined, known,
} from './options.js';
import { withPixels } from './pictures.js';
import { withRate } from './progress.js';
import { optionsOf } from './recipes.js';
import { bytesOf, filesOf, pathInFolder, unverified } from './sources.js';
import * as folder from './store/folder.js';

export { WordbrushError } from './errors.js';
export { defaults, promptSyntaxes, samplers, schedulers } from './options.js';
export { readRecipe, recipeText, writeRecipe } from './recipes.js';
export { checkWebGPU } from './webgpu.js';

// A Textual Inversion file has a few hundred kB; the engine's own limit is the same.
const EMBEDDING_LIMIT = 32 * 1024 * 1024;

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
    const onEvent = withRate(onProgress, files);
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
    const { name = pathInFolder(file, 'embedding'), signal } = known(options, EMBEDDING_OPTIONS);
    signal?.throwIfAborted();
    if (!(file instanceof Blob)) throw new WordbrushError('BAD_OPTION', 'addEmbedding needs a File or a Blob.');
    if (file.size > EMBEDDING_LIMIT) {
      const size = (file.size / 1024 / 1024).toFixed(0);
      throw new WordbrushError('TOO_LARGE', `${name} has ${size} MiB; an embedding has at most 32 MiB. Is it a checkpoint or a LoRA?`);
    }
    const bytes = await bytesOf(file, name);
    // What the engine is given it adds: whoever aborts later is too late.
    signal?.throwIfAborted();
    const infos = await this.#worker.call('addEmbedding', { name: String(name), bytes }, { transfer: [bytes.buffer] });
    // As in the engine, a new one takes the place of the old one of exactly that name.
    for (const info of infos) this.#embeddings.set(info.name, info);
    return infos;
  }

  async removeEmbedding(name, options = {}) {
    known(options, CALL_OPTIONS).signal?.throwIfAborted();
    const removed = await this.#worker.call('removeEmbedding', { name: String(name) });
    // A name that is not the exact one may have found an embedding too.
    if (removed && !this.#embeddings.delete(String(name))) {
      const left = await this.#worker.call('embeddings', {});
      this.#embeddings = new Map(left.map((info) => [info.name, info]));
    }
    return removed;
  }

  async embeddingFacts(name, options = {}) {
    return this.#worker.call('embeddingFacts', { name: String(name) }, known(options, CALL_OPTIONS));
  }

  async craftEmbedding(spec, options = {}) {
    known(options, CALL_OPTIONS).signal?.throwIfAborted();
    const info = await this.#worker.call('craftEmbedding', { spec });
    this.#embeddings.set(info.name, info);
    return info;
  }

  async exportEmbedding(name, format = 'safetensors', options = {}) {
    const bytes = await this.#worker.call('exportEmbedding', { name: String(name), format: String(format) }, known(options, CALL_OPTIONS));
    return new Blob([bytes], { type: 'application/octet-stream' });
  }

  async loadVae(source, options = {}) {
    const { onProgress, signal, store = true } = known(options, VAE_OPTIONS);
    signal?.throwIfAborted();
    const files = unverified(await filesOf(source));
    return this.#worker.call('openVae', { files, store }, { signal, onEvent: withRate(onProgress, files) });
  }

  async tokens(prompt, options = {}) {
    const { promptSyntax, seed, signal } = known(options, TOKENS_OPTIONS);
    if (seed !== undefined && !(/^\d{1,20}$/.test(seed) && BigInt(seed) < 2n ** 64n)) {
      throw new WordbrushError('BAD_OPTION', `seed is ${seed}; it must be a whole number from 0 to 2⁶⁴ − 1.`);
    }
    return this.#worker.call('tokens', { prompt: String(prompt), ...defined({ promptSyntax, seed: seed === undefined ? seed : String(seed) }) }, { signal });
  }

  async memory(options = {}) { return this.#worker.call('memory', {}, known(options, CALL_OPTIONS)); }

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
    return ownWorker('store', { files, kind }, { signal, onEvent: withRate(onProgress, files) });
  },

  async room() {
    const { usage = 0, quota = 0 } = await navigator.storage?.estimate?.().catch(() => ({})) ?? {};
    return { usage, quota, persisted: await navigator.storage?.persisted?.().catch(() => false) ?? false };
  },
  persist: async () => await navigator.storage?.persist?.().catch(() => false) ?? false,
});

async function typed(promise) {
  return promise.catch((error) => { throw new WordbrushError(error.code ?? 'NO_STORAGE', error.message); });
}
