// Wordbrush in Node.js: the same API over a thread, with WebGPU from the package `webgpu` and with file paths as sources.
// node.d.ts documents what differs from index.js.

import { openAsBlob } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as wordbrush from './index.js';
import { NO_ADAPTER, openGpu } from './node_gpu.js';
import { platform } from './platform.js';

export * from './index.js';

const { WordbrushError } = wordbrush;
// Blobs that are files: they cannot be sent to a thread, so their paths are, and it opens them anew.
const paths = new WeakMap();

platform.startWorker = () => new EngineThread();
// A program ends when it has nothing more to do, whatever time is left.
platform.later = (work, milliseconds) => setTimeout(work, milliseconds).unref();

export class StableDiffusion extends wordbrush.StableDiffusion {
  static async load(source, options = {}) {
    return super.load(await opened(source), options);
  }

  async addEmbedding(file, options = {}) {
    return super.addEmbedding(await opened(file), options);
  }

  async loadVae(source, options = {}) {
    return super.loadVae(await opened(source), options);
  }
}

export async function readRecipe(source, options) {
  return wordbrush.readRecipe(source?.path === undefined ? source : await openPath(String(source.path)), options);
}

export async function checkWebGPU() {
  const { gpu, missing } = await openGpu();
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new WordbrushError('NO_GPU', 'Pictures are computed on the GPU through WebGPU, and there is no adapter.', missing ?? NO_ADAPTER);
  const { description, vendor, architecture } = adapter.info;
  return {
    description: description || [vendor, architecture].filter(Boolean).join(' ') || 'unknown GPU',
    f16: adapter.features.has('shader-f16'),
    software: /swiftshader|llvmpipe|lavapipe/i.test(`${description} ${architecture}`),
  };
}

// A worker as index.js uses one. It keeps the program alive only while a call waits for its answer.
class EngineThread {
  #thread = new Worker(new URL('./node_worker.js', import.meta.url), { name: 'wordbrush' });
  #calls = new Set();
  #ended = false;

  constructor() {
    this.#thread.unref();
    this.#thread.on('message', (data) => {
      if (data.id !== undefined && !data.event) this.#calls.delete(data.id);
      if (this.#calls.size === 0) this.#thread.unref();
      this.onmessage({ data });
    });
    this.#thread.on('messageerror', () => this.onmessageerror());
    this.#thread.on('error', (error) => this.#fail(error?.message ?? String(error)));
    this.#thread.on('exit', () => this.#fail('its thread has ended'));
  }

  postMessage(data, transfer = []) {
    const files = data.files?.map(({ blob, ...file }) => (paths.has(blob) ? { ...file, path: paths.get(blob) } : { ...file, blob }));
    this.#thread.postMessage(files ? { ...data, files } : data, transfer);
    if (data.type === 'abort' || data.type === 'seen') return;
    this.#calls.add(data.id);
    this.#thread.ref();
  }

  terminate() {
    this.#ended = true;
    return this.#thread.terminate();
  }

  #fail(message) {
    if (!this.#ended) this.onerror({ message, preventDefault() {} });
  }
}

// Paths and file: URLs as the Blobs and lists of Blobs that index.js takes; everything else as it is.
async function opened(source) {
  if (source instanceof URL && source.protocol === 'file:') return openPath(fileURLToPath(source));
  if (typeof source !== 'string' || /^https?:/i.test(source)) return source;
  return openPath(source.startsWith('file:') ? fileURLToPath(source) : source);
}

async function openPath(path) {
  try {
    if (!(await stat(path)).isDirectory()) return await openFile(path, basename(path));
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    // The hub's cache is made of links.
    const files = entries.filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => join(entry.parentPath, entry.name));
    return await Promise.all(files.map((file) => openFile(file, relative(path, file).replaceAll(sep, '/'))));
  } catch (error) {
    throw new WordbrushError('READ', `${path} cannot be read: ${error.message}`);
  }
}

async function openFile(path, name) {
  const blob = Object.assign(await openAsBlob(path), { name });
  paths.set(blob, path);
  return blob;
}
