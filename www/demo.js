// The model and the embeddings that come with the page: fetched once each, then held as Files like any others.

import { element } from './ui/dom.js';

const HERE = new URL('./demo/', import.meta.url);

export class Demo {
  #files = new Map();

  constructor(index) {
    Object.assign(this, index); // {model, embeddings, settings, examples} of demo/index.json
  }

  // null where a copy of the page comes without it.
  static async open() {
    const response = await fetch(new URL('index.json', HERE)).catch(() => null);
    return response?.ok ? new Demo(await response.json()) : null;
  }

  get urls() {
    return ['index.json', this.model.file, ...this.embeddings.map(({ file }) => file)].map((file) => new URL(file, HERE).href);
  }

  // `onProgress` is told {loaded, total} of the download.
  async modelFile(onProgress) {
    return this.#file(this.model.file, this.model.name, onProgress);
  }

  async embeddingFile(name) {
    const { file } = this.embeddings.find((embedding) => embedding.name === name);
    return this.#file(file, file.split('/').pop());
  }

  async #file(path, name, onProgress = () => {}) {
    if (!this.#files.has(path)) this.#files.set(path, new File([await download(new URL(path, HERE), onProgress)], name));
    return this.#files.get(path);
  }
}

async function download(url, onProgress) {
  const failed = (why) => new Error(`${url.pathname.split('/').pop()} could not be fetched: ${why}.`);
  const response = await fetch(url).catch((error) => { throw failed(error.message); });
  if (!response.ok) throw failed(`the server answers ${response.status}`);
  const total = Number(response.headers.get('Content-Length'));
  let loaded = 0;
  const counted = response.body.pipeThrough(new TransformStream({
    transform(part, controller) {
      loaded += part.length;
      onProgress({ loaded, total: Math.max(total, loaded), bytesPerSecond: null, etaSeconds: null });
      controller.enqueue(part);
    },
  }));
  const blob = await new Response(counted).blob().catch((error) => { throw failed(error.message); });
  // Some servers unpack .gz on the way, so the bytes decide, not the name.
  const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = first === 0x1f && second === 0x8b;
  return packed ? new Response(blob.stream().pipeThrough(new DecompressionStream('gzip'))).blob() : blob;
}

// Asks the service worker to keep what this page is made of, so that it opens without a network from now on.
export async function keepForOffline(demo) {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register(new URL('./sw.js', import.meta.url));
  const { active } = await navigator.serviceWorker.ready;
  const own = new URL('./', import.meta.url).href;
  const loaded = performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.startsWith(own));
  const engine = ['worker.js', 'wordbrush.js', 'wordbrush_bg.wasm'].map((name) => new URL(`./pkg/${name}`, import.meta.url).href);
  // Who asked the browser to save data gets the pictures' model only when it is used.
  const model = demo && !navigator.connection?.saveData ? demo.urls : [];
  active.postMessage({ keep: [...new Set([own, ...loaded, ...engine, ...model])] });
}

// <demo-panel>: the built-in model and its examples. Fires "load", "example" with the example, "embedding" with a name.
class DemoPanel extends HTMLElement {
  show({ model, embeddings, examples }) {
    const fire = (type, detail) => () => this.dispatchEvent(new CustomEvent(type, { detail }));
    const load = element('button', { type: 'button', className: 'primary', textContent: `Load the built-in model (${model.size})` });
    load.addEventListener('click', fire('load'));
    const plays = examples.map((example) => {
      const play = element('button', { type: 'button', textContent: example.title, title: example.prompt });
      play.addEventListener('click', fire('example', example));
      return play;
    });
    const chips = embeddings.map(({ name, file, about }) => {
      const chip = element('button', { type: 'button', className: 'name', textContent: file.split('/').pop(), title: about, draggable: true });
      chip.addEventListener('click', fire('embedding', name));
      chip.addEventListener('dragstart', ({ dataTransfer }) => {
        dataTransfer.setData(DEMO_EMBEDDING, name);
        dataTransfer.setData('text/plain', `embedding:${name}`);
      });
      return chip;
    });
    const group = (label, ...children) => {
      const made = element('div', { className: 'buttons' }, ...children);
      made.setAttribute('role', 'group');
      made.setAttribute('aria-label', label);
      return made;
    };
    this.replaceChildren(
      element('p', { textContent: model.about }),
      group('Built-in model', load),
      element('p', { className: 'quiet', textContent: 'Examples make their picture at once:' }),
      group('Examples', ...plays),
      element('p', { className: 'quiet', textContent: 'Embeddings made for it, to click or to drag into the prompt:' }),
      group('Example embeddings', ...chips),
    );
    this.closest('section').hidden = false;
  }
}
customElements.define('demo-panel', DemoPanel);

// The type under which an example embedding is dragged.
export const DEMO_EMBEDDING = 'application/x-wordbrush-embedding';
