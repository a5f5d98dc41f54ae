// The model and the embeddings that come with the page: fetched once each, then held as Files like any others.

import { Rate } from '../pkg/store/rate.js';
import { words } from '../text/language.js';

const HERE = new URL('../demo/', import.meta.url);

export class Demo {
  #files = new Map(); // path → File
  #fetches = new Map(); // path → Promise of it while it is fetched

  constructor(index) {
    Object.assign(this, index); // {model, embeddings, settings, examples} of demo/index.json
  }

  // null where there is none: so says index.json (it holds null) while the model is still being trained.
  static async open() {
    const response = await fetch(new URL('index.json', HERE)).catch(() => null);
    const index = response?.ok ? await response.json() : null;
    return index && new Demo(index);
  }

  get urls() {
    return ['index.json', this.model.file, ...this.embeddings.map(({ file }) => file)].map((file) => new URL(file, HERE).href);
  }

  // `onProgress` is told {loaded, total} of the download.
  async modelFile(onProgress) {
    return this.#file(this.model.file, this.model.name, onProgress);
  }

  // Whether a file is the built-in model.
  has(file) {
    return this.#files.get(this.model.file) === file;
  }

  async embeddingFile(name) {
    const { file } = this.embeddings.find((embedding) => embedding.name === name);
    return this.#file(file, file.split('/').pop());
  }

  async #file(path, name, onProgress = () => {}) {
    if (this.#files.has(path)) return this.#files.get(path);
    // Whoever asks meanwhile waits for the same bytes; after a failure the next one tries again.
    if (!this.#fetches.has(path)) {
      const fetching = download(new URL(path, HERE), onProgress).then((blob) => this.#files.set(path, new File([blob], name)));
      this.#fetches.set(path, fetching.finally(() => this.#fetches.delete(path)));
    }
    await this.#fetches.get(path);
    return this.#files.get(path);
  }
}

async function download(url, onProgress) {
  const failed = (why) => new Error(words.demo.notFetched(url.pathname.split('/').pop(), why));
  const response = await fetch(url).catch((error) => { throw failed(error.message); });
  if (!response.ok) throw failed(words.demo.answers(response.status));
  const total = Number(response.headers.get('Content-Length'));
  const rate = new Rate();
  let loaded = 0;
  const counted = response.body.pipeThrough(new TransformStream({
    transform(part, controller) {
      loaded += part.length;
      const all = Math.max(total, loaded);
      onProgress({ loaded, total: all, ...rate.at(loaded, all) });
      controller.enqueue(part);
    },
  }));
  const blob = await new Response(counted).blob().catch((error) => { throw failed(error.message); });
  // Some servers unpack .gz on the way, so the bytes decide, not the name.
  const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = first === 0x1f && second === 0x8b;
  return packed ? new Response(blob.stream().pipeThrough(new DecompressionStream('gzip'))).blob() : blob;
}
