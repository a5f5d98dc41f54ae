// <word-brush model="sd15.safetensors" prompt="a photo of a cat"></word-brush>: a picture that is made where it is shown.
//
// Other attributes: embeddings (URLs, with spaces between), negative-prompt, seed, steps, cfg, size. Elements of the same model
// share it and take turns; one that leaves the page, or whose attributes change, stops its picture.

import { StableDiffusion } from './node_modules/wordbrush/index.js';

const models = new Map(); // from model and embeddings to the promise of what was loaded

function loaded(model, embeddings) {
  const key = [model, ...embeddings].join(' ');
  if (!models.has(key)) models.set(key, load(model, embeddings));
  models.get(key).catch(() => models.delete(key)); // so that the next element tries again
  return models.get(key);
}

async function load(model, embeddings) {
  const sd = await StableDiffusion.load(new URL(model, document.baseURI));
  for (const embedding of embeddings) {
    const response = await fetch(embedding);
    if (!response.ok) throw new Error(`${embedding} cannot be fetched: the server answered ${response.status}.`);
    await sd.addEmbedding(await response.blob(), { name: decodeURIComponent(embedding.split('/').pop()) });
  }
  return sd;
}

class WordBrush extends HTMLElement {
  static observedAttributes = ['model', 'embeddings', 'prompt', 'negative-prompt', 'seed', 'steps', 'cfg', 'size'];
  #making = null;

  connectedCallback() { this.#start(); }
  attributeChangedCallback() { this.#start(); }
  disconnectedCallback() { this.#making?.abort(); }

  async #start() {
    this.#making?.abort();
    const { signal } = this.#making = new AbortController();
    await null; // Several attributes that change at once make one picture.
    if (signal.aborted || !this.isConnected) return;
    try {
      await this.#make(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#show(Object.assign(document.createElement('p'), { role: 'alert', textContent: `${error.message} ${error.hint ?? ''}` }));
      this.dispatchEvent(new ErrorEvent('error', { error, message: error.message }));
    }
  }

  async #make(signal) {
    if (!this.hasAttribute('model')) throw new Error('This word-brush has no model: name a checkpoint’s address in its attribute model.');
    const progress = Object.assign(document.createElement('progress'), { ariaLabel: this.getAttribute('prompt') });
    this.#show(progress);
    const embeddings = this.getAttribute('embeddings')?.split(/\s+/).filter(Boolean) ?? [];
    const sd = await loaded(this.getAttribute('model'), embeddings);
    const number = (name) => (this.hasAttribute(name) ? Number(this.getAttribute(name)) : undefined);
    const making = sd.generate({
      prompt: this.getAttribute('prompt') ?? '', negativePrompt: this.getAttribute('negative-prompt') ?? '',
      seed: this.getAttribute('seed') ?? undefined, steps: number('steps'), cfg: number('cfg'), width: number('size'), height: number('size'),
    }, { signal });
    for await (const event of making) {
      if (event.type === 'step') Object.assign(progress, { max: event.steps, value: event.step });
    }
    const src = URL.createObjectURL((await making).png);
    const image = Object.assign(new Image(), { src, alt: this.getAttribute('prompt') ?? '' });
    await image.decode();
    URL.revokeObjectURL(src);
    if (signal.aborted) return;
    this.#show(image);
    this.dispatchEvent(new Event('load'));
  }

  #show(element) { this.replaceChildren(element); }
}

customElements.define('word-brush', WordBrush);
