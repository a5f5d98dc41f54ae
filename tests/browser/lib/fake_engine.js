// A stand-in for pkg/wordbrush.js, for faults that the real engine cannot be made to show on demand: a panic, a lost GPU, a
// step that hangs. It has the same classes and methods; words in the prompt choose what goes wrong.

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const failure = (code, message) => Object.assign(new Error(message), { code });
const panic = () => { throw new WebAssembly.RuntimeError('unreachable'); };
// Rust futures run in a task of their own: a panic there reaches nobody who awaits.
const panicInTask = () => new Promise(() => { queueMicrotask(panic); });

export default async function init() {
  await pause(1);
}

export class Engine {
  #embeddings = new Map();
  #slices = 0;
  loaded = 0;
  total = 1000;
  textWidth = 4;

  static async open(files, options) {
    await pause(1);
    const [{ name, blob, url }] = files;
    if (name.startsWith('panic')) await panicInTask();
    if (name.startsWith('bad')) throw failure('WRONG_FAMILY', `${name}: this is an SDXL checkpoint`);
    const engine = new Engine();
    engine.opened = { names: files.map((file) => file.name), options, url, size: blob?.size };
    engine.slices = name.startsWith('slow') ? 1000 : 4;
    return engine;
  }

  async load() {
    await pause(5);
    this.#slices += 1;
    this.loaded = (this.total * this.#slices) / this.slices;
    return this.#slices < this.slices;
  }

  adapter() {
    const { names, options, url } = this.opened;
    return {
      name: JSON.stringify({ names, options, url }), backend: 'fake',
      f16: false, software: true, storage: 'packed',
    };
  }

  memory() {
    return { wasmBytes: 1, gpuBytes: 2, gpuPeakBytes: 3 };
  }

  addEmbedding(fileName, bytes) {
    if (fileName.startsWith('panic')) panic();
    if (bytes.length === 0) throw failure('EMPTY_FILE', `${fileName} is empty`);
    const name = fileName.replace(/\.\w+$/, '');
    const info = {
      name, vectors: 1, width: 4, dtype: 'f32', layout: 'fake', key: '*', sha256: 'ab'.repeat(32), shortHash: 'abababababab',
      warnings: [],
    };
    this.#embeddings.set(name, info);
    return [info];
  }

  removeEmbedding(name) {
    return this.#embeddings.delete(name);
  }

  embeddings() {
    return [...this.#embeddings.values()];
  }

  tokens(prompt) {
    if (prompt.includes('panic in tokens')) panic();
    return { windows: 1, tokens: prompt.split(/\s+/).filter(Boolean).length, warnings: [], used: [] };
  }

  async start(options) {
    await pause(1);
    if (options.prompt === 'panic in start') await panicInTask();
    if (options.steps === 0) throw failure('BAD_OPTION', 'steps must be at least 1');
    return new Generation(options);
  }

  dispose() {}
}

class Generation {
  done = 0;
  warnings = [];

  constructor({ prompt = '', steps = 20, seed = 1234, width = 64, height = 64 }) {
    Object.assign(this, { prompt, steps, width, height, seed: String(seed) });
  }

  async step() {
    await pause(20);
    this.done += 1;
    if (this.prompt === 'panic in step' && this.done === 2) await panicInTask();
    if (this.prompt === 'lose the device' && this.done === 2) throw failure('DEVICE_LOST', 'The GPU was lost.');
    if (this.prompt === 'hang') await new Promise(() => {});
    return this.done < this.steps;
  }

  async image() {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext('2d');
    context.fillStyle = `hsl(${Number(this.seed) % 360} 60% 50%)`;
    context.fillRect(0, 0, this.width, this.height);
    const blob = await canvas.convertToBlob({ type: 'image/png' });
    return new Uint8Array(await blob.arrayBuffer());
  }

  free() {
    if (this.freed) panic();
    this.freed = true;
  }
}
