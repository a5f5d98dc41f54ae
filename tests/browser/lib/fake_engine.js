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

const latin1 = (bytes) => new TextDecoder('latin1').decode(bytes);
const isPng = (bytes) => latin1(bytes.subarray(1, 4)) === 'PNG';

// A recipe is JSON, at the end of a PNG or alone.
export function readRecipe(bytes, fileName) {
  const text = isPng(bytes) ? latin1(bytes).split('recipe:')[1] ?? '' : new TextDecoder().decode(bytes);
  if (text === 'panic') panic();
  if (!text.startsWith('{')) throw failure('NO_RECIPE', `${fileName} carries no recipe`);
  return { prompt: '', negativePrompt: '', embeddings: [], notes: [], ...JSON.parse(text) };
}

export function recipeText(recipe, form) {
  if (!['a1111', 'comfy', 'workflow'].includes(form)) throw failure('BAD_OPTION', `There is no form ${form}`);
  return `${form}: ${JSON.stringify(recipe)}`;
}

// What a model takes, as far as a file that is one is told: `{` follows the header's length.
export async function modelNeeds([file], options) {
  const { size, blob } = file;
  await pause(1);
  if (file.read) await check(file);
  const [fileBytes, weightBytes] = [size ?? blob.size, 2000];
  return { fileBytes, parameters: 1000, textWidth: 4, weightBytes, tokenBytes: 10, stepBytes: 300, decodeBytes: 500, gpuPeakBytes: 2500, options };
}

async function check(file) {
  const head = await file.read(0, Math.min(512, file.size));
  if (head[8] !== 0x7b) throw failure('UNKNOWN_FORMAT', `${file.name} is no safetensors file`);
}

// As readRecipe finds it.
export function writeRecipe(png, recipe) {
  const bare = latin1(png).split('recipe:')[0].length;
  const text = recipe ? `recipe:${JSON.stringify(recipe)}` : '';
  return new Uint8Array([...png.subarray(0, bare), ...new TextEncoder().encode(text)]);
}

export class Engine {
  #embeddings = new Map();
  #vae = null;
  #hashes = 0;
  #slices = 0;
  loaded = 0;
  total = 1000;
  textWidth = 4;

  static async open(files, options) {
    await pause(1);
    const [file] = files;
    const { name, blob, url } = file;
    if (name.startsWith('panic')) await panicInTask();
    if (name.startsWith('bad')) throw failure('WRONG_FAMILY', `${name}: this is an SDXL checkpoint`);
    const engine = new Engine();
    engine.opened = { names: files.map((file) => file.name), options, url, size: blob?.size };
    engine.slices = name.startsWith('slow') ? 1000 : 4;
    if (file.read) {
      await check(file);
      engine.file = file;
      engine.total = file.size;
    }
    return engine;
  }

  async load() {
    await pause(5);
    if (this.#vae) {
      this.loaded += 100;
      if (this.loaded < this.total) return true;
      if (!this.#vae.startsWith('taesd')) this.opened.vae = this.#vae;
      this.#vae = null;
      this.loaded = this.total = 1000;
      return false;
    }
    if (this.file) return this.#readSlice();
    this.#slices += 1;
    this.loaded = (this.total * this.#slices) / this.slices;
    return this.#slices < this.slices;
  }

  listen(listener) {
    this.listener = listener;
  }

  // Only a GPU is measured.
  tunedFor() {
    return this.opened.names[0].startsWith('gpu') ? 'a GPU' : undefined;
  }

  tune(known) {
    this.measured = known === 'measured on a GPU' ? known : '';
  }

  measurements() {
    return this.measured;
  }

  // A download is read to its end, and every byte of it counted.
  async #readSlice() {
    const bytes = await this.file.read(this.loaded, Math.min(1_000_000, this.total - this.loaded));
    let { sum = 7 } = this;
    for (let i = 0; i < bytes.length; i += 1) sum = (Math.imul(sum, 31) + bytes[i]) >>> 0;
    this.sum = sum;
    this.loaded += bytes.length;
    return this.loaded < this.total;
  }

  async openVae([{ name }]) {
    await pause(1);
    if (name.startsWith('bad')) throw failure('MISSING_TENSORS', `${name} is not a VAE`);
    this.#vae = name;
    this.loaded = 1000;
    this.total = name.startsWith('slow') ? 100_000 : 1400;
    return name.startsWith('taesd') ? 'taesd' : 'vae';
  }

  dropVae() {}

  // `memory` tells the slices that were hashed.
  async hash() {
    await pause(5);
    if (this.opened.names[0].startsWith('changed')) throw failure('READ', 'The file has changed.');
    if (this.opened.names[0].startsWith('trap')) panic();
    this.#hashes += 1;
    return this.#hashes < 20;
  }

  adapter() {
    const { names, options, url } = this.opened;
    return {
      name: JSON.stringify({ names, options, url }), backend: 'fake',
      f16: false, software: true, storage: 'packed',
    };
  }

  memory() {
    return { wasmBytes: this.#hashes, gpuBytes: 2, gpuPeakBytes: 3, vae: this.opened.vae, sum: this.sum };
  }

  addEmbedding(fileName, bytes) {
    if (fileName.startsWith('panic')) panic();
    if (bytes.length === 0) throw failure('EMPTY_FILE', `${fileName} is empty`);
    if (isPng(bytes) && !latin1(bytes).includes('an embedding')) throw failure('NOT_AN_EMBEDDING', `${fileName} holds no embedding`);
    const name = fileName.replace(/\.\w+$/, '');
    if (name.startsWith('two')) return ['one', 'other'].map((part) => this.#add(`${name}-${part}`, 'fake'));
    return [this.#add(name, 'fake')];
  }

  #add(name, layout, vectors = 1) {
    const info = {
      name, vectors, width: 4, norm: 0.4, dtype: 'f32', layout, key: '*', sha256: 'ab'.repeat(32), shortHash: 'abababababab', warnings: [],
    };
    this.#embeddings.set(name, info);
    return info;
  }

  embeddingFacts(name) {
    const info = this.#embeddings.get(name);
    if (!info) throw failure('BAD_OPTION', `There is no embedding ${name}`);
    const nearest = [{ id: 2368, word: 'cat</w>', cosine: 0.98 }, { id: 1929, word: '<b>dog</b>', cosine: 0.5 }];
    return {
      norms: Array(info.vectors).fill(0.4), vocabularyNorm: 0.38, budget: info.vectors / 75,
      nearest: Array(info.vectors).fill(nearest), warnings: ['fake facts'],
    };
  }

  craftEmbedding(spec) {
    const known = ['name', 'kind', 'text', 'terms', 'names', 'of', 'factor', 'rows'];
    const unknown = Object.keys(spec).find((key) => !known.includes(key));
    if (unknown) throw failure('UNKNOWN_OPTION', `There is no option "${unknown}"`);
    if (!spec.name) throw failure('BAD_OPTION', 'name is missing');
    const { name, ...rest } = spec;
    return this.#add(name, JSON.stringify(rest));
  }

  exportEmbedding(name, format) {
    if (!this.#embeddings.has(name)) throw failure('BAD_OPTION', `There is no embedding ${name}`);
    return new TextEncoder().encode(`${name} as ${format}`);
  }

  removeEmbedding(wanted) {
    const name = [...this.#embeddings.keys()].find((name) => name.toLowerCase() === wanted.toLowerCase());
    return this.#embeddings.delete(name);
  }

  embeddings() {
    return [...this.#embeddings.values()];
  }

  tokens(prompt, promptSyntax = 'comfy', seed = undefined) {
    if (prompt.includes('panic in tokens')) panic();
    const used = promptSyntax === 'a1111' ? ['in a1111'] : [];
    const calls = [...prompt.matchAll(/embedding:([\w-]+)/g)].map(({ 0: call, 1: written, index: start }) => {
      const end = start + call.length;
      const known = this.#embeddings.has(written);
      return { start, end, groupStart: start, groupEnd: end, written, name: known ? written : null, nearest: null };
    });
    const warnings = prompt.includes('too strong') ? [{ code: 'WEIGHT_CLAMPED', message: 'The weight is too strong.' }] : [];
    const pick = (_, options) => options.split('|')[Number(seed) % options.split('|').length];
    const chosen = seed !== undefined && prompt.includes('{') ? prompt.replace(/\{([^}]*)\}/g, pick) : undefined;
    return { chosen, windows: 1, tokens: prompt.split(/\s+/).filter(Boolean).length, vectors: calls.length, warnings, used, calls };
  }

  async start(options) {
    await pause(1);
    if (options.prompt === 'panic in start') await panicInTask();
    if (options.steps === 0) throw failure('BAD_OPTION', 'steps must be at least 1');
    if (this.measured === '') for (const done of [0, 1]) this.listener('measure', done, 2);
    if (options.prompt === 'prepare and wait') await new Promise(() => {});
    if (this.measured === '') this.measured = 'measured on a GPU';
    return new Generation(options, () => this.#hashes);
  }

  dispose() {}
}

class Generation {
  done = 0;
  previews = 0;
  warnings = [];

  // `hashes` tells the slices that are hashed by now.
  constructor(options, hashes) {
    const { prompt = '', steps = 20, seed = 1234, width = 64, height = 64, batchSize: pictures = 1 } = options;
    Object.assign(this, { prompt, steps, width, height, pictures, seed: String(seed) });
    this.hashes = hashes;
    this.recipe = { ...options, seed: this.seed };
  }

  async step() {
    await pause(20);
    this.done += 1;
    if (this.prompt === 'panic in step' && this.done === 2) await panicInTask();
    if (this.prompt === 'lose the device' && this.done === 2) throw failure('DEVICE_LOST', 'The GPU was lost.');
    if (this.prompt === 'hang') await new Promise(() => {});
    return this.done < this.steps;
  }

  seedsOf(picture) {
    return [String(BigInt(this.seed) + BigInt(picture))];
  }

  // Its first byte tells the step, the second how many there were before it.
  async preview() {
    const data = new Uint8ClampedArray(4 * 8 * 8);
    data.set([this.done, this.previews]);
    this.previews += 1;
    return { width: 8, height: 8, data };
  }

  async image(picture) {
    this.recipe.notes = [`${this.hashes()} slices hashed`];
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext('2d');
    context.fillStyle = `hsl(${(Number(this.seed) + 90 * picture) % 360} 60% 50%)`;
    context.fillRect(0, 0, this.width, this.height);
    const blob = await canvas.convertToBlob({ type: 'image/png' });
    const recipe = `recipe:${JSON.stringify(this.recipe)}`;
    return new Uint8Array(await new Blob([blob, recipe]).arrayBuffer());
  }

  free() {
    if (this.freed) panic();
    this.freed = true;
  }
}
