// <prompt-form>: the prompts and parameters. Fires "generate", "stop", "empty" (the queue) and "prompts" (when a prompt changes).

import { defaults, promptSyntaxes, samplers, schedulers } from '../pkg/index.js';
import { words } from '../text/language.js';
import { element, english } from './dom.js';
import './prompt_field.js';

const NUMBERS = [
  'steps', 'cfg', 'width', 'height', 'batchSize', 'clipSkip', 'variationStrength', 'sNoise', 'sChurn', 'sTmin', 'cfgRescale',
  'guidanceStart', 'guidanceEnd',
];
// Settings of noise, sampler and guidance, as they are where nobody says otherwise.
export const usualSettings = Object.freeze({
  rng: 'cpu', variationSeed: '0', variationStrength: 0, seedDelta: '0', eta: '', sNoise: 1, sChurn: 0, sTmin: 0, sTmax: '',
  cfgRescale: 0, guidanceStart: 0, guidanceEnd: 1, batchSize: 1,
  hiresScale: '', hiresUpscaler: 'latent', hiresSteps: '', hiresDenoise: 0.7, hiresCfg: '', hiresSeed: '', hiresSampler: '',
  hiresScheduler: '', hiresPrompt: '', hiresNegativePrompt: '', prediction: '', zeroTerminalSnr: '',
});
// An empty field leaves these to the engine, or to the model.
const OPTIONAL = ['eta', 'sTmax'];
const TRUTHS = { true: true, false: false };
// What Stable Diffusion 1.5 was trained on, its usual portraits and landscapes, and the built-in model's.
const SIZES = [[512, 512], [512, 768], [768, 512], [576, 768], [768, 576], [384, 640], [640, 384], [128, 128]];
// How the first pass's picture is made larger: of latents, of pixels.
const UPSCALERS = {
  latents: [
    'latent', 'latent-antialiased', 'latent-bicubic', 'latent-bicubic-antialiased', 'latent-nearest', 'latent-nearest-exact', 'latent-area',
    'latent-bislerp',
  ],
  pixels: ['lanczos', 'nearest', 'bilinear', 'bicubic', 'area'],
};
const SYNTAXES = new Map([['comfy', 'ComfyUI'], ['a1111', 'AUTOMATIC1111']]);

// What is left empty is the first pass's.
function secondPass({ hiresScale, hiresUpscaler, hiresDenoise, hiresSteps, hiresCfg, ...own }) {
  const number = (text) => (text === '' ? undefined : Number(text));
  return {
    scale: Number(hiresScale), upscaler: hiresUpscaler, denoise: Number(hiresDenoise || NaN), steps: number(hiresSteps), cfg: number(hiresCfg),
    prompt: own.hiresPrompt || undefined, negativePrompt: own.hiresNegativePrompt || undefined, seed: own.hiresSeed || undefined,
    sampler: own.hiresSampler || undefined, scheduler: own.hiresScheduler || undefined,
  };
}

class PromptForm extends HTMLElement {
  #form;
  #fields;
  #running = false;
  #lastSeed = null;

  connectedCallback() {
    this.#form = this.querySelector('form');
    this.#fields = [...this.querySelectorAll('prompt-field')];
    const { elements } = this.#form;
    elements.sampler.append(...samplers.map((name) => new Option(name)));
    elements.scheduler.append(...schedulers.map((name) => new Option(name)));
    elements.hiresSampler.append(...samplers.map((name) => new Option(name)));
    elements.hiresScheduler.append(...schedulers.map((name) => new Option(name)));
    this.#offerUpscalers();
    elements.promptSyntax.append(...promptSyntaxes.map((name) => new Option(SYNTAXES.get(name), name)));
    this.#offerSizes();
    this.fill(defaults);

    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#generate();
    });
    // The second click of a double click means nothing more.
    this.querySelector('#generate').addEventListener('click', (event) => event.detail === 2 && event.preventDefault());
    this.querySelector('#empty-queue').addEventListener('click', () => this.dispatchEvent(new Event('empty')));
    for (const name of ['prompt', 'negativePrompt', 'promptSyntax', 'seed']) {
      elements[name].addEventListener('input', () => this.dispatchEvent(new Event('prompts')));
    }
    this.querySelector('#stop').addEventListener('click', () => this.dispatchEvent(new Event('stop')));
    this.querySelector('#dice').addEventListener('click', () => {
      this.fill({ seed: crypto.getRandomValues(new Uint32Array(1))[0] });
    });
    this.querySelector('#reuse-seed').addEventListener('click', () => this.fill({ seed: this.#lastSeed }));
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.repeat) this.#generate();
      else if (event.key === 'Escape' && this.#running) this.dispatchEvent(new Event('stop'));
    });
  }

  #offerUpscalers() {
    const groups = Object.entries(UPSCALERS).map(([domain, names]) => {
      const group = element('optgroup', { label: words.form.domains[domain] }, ...names.map((name) => new Option(words.form.upscalers[name], name)));
      group.dataset.sayLabel = `form.domains.${domain}`;
      for (const option of group.children) option.dataset.say = `form.upscalers.${option.value}`;
      return group;
    });
    this.#form.elements.hiresUpscaler.append(...groups);
  }

  // Width and height in one; the menu tells the size that the fields have.
  #offerSizes() {
    const { width, height } = this.#form.elements;
    const menu = this.querySelector('#size');
    const other = new Option(words.form.otherSize, '');
    other.dataset.say = 'form.otherSize';
    menu.append(...SIZES.map(([w, h]) => new Option(`${w} × ${h}`, `${w}x${h}`)), other);
    for (const side of [width, height]) side.addEventListener('input', () => this.#showSize());
    menu.addEventListener('change', () => {
      if (menu.value) [width.value, height.value] = menu.value.split('x');
    });
    this.querySelector('#swap').addEventListener('click', () => {
      [width.value, height.value] = [height.value, width.value];
      this.#showSize();
    });
  }

  #showSize() {
    const { width, height } = this.#form.elements;
    const menu = this.querySelector('#size');
    menu.value = `${width.value}x${height.value}`;
    if (menu.selectedIndex < 0) menu.value = '';
  }

  get prompts() {
    const { prompt, negativePrompt } = this.#form.elements;
    return [prompt.value, negativePrompt.value];
  }

  get promptSyntax() {
    return this.#form.elements.promptSyntax.value;
  }

  // The seed of the next picture, where it is not a random one; undefined else.
  get seed() {
    const seed = this.#form.elements.seed.value.trim();
    return /^\d{1,19}$/.test(seed) ? seed : undefined;
  }

  // Sets the fields that are given; a choice that is not on the menu is told and stays as it was.
  fill(values) {
    const refused = [];
    for (const field of this.#form.elements) {
      const value = values[field.name];
      if (!field.name || value === undefined) continue;
      if (field.type === 'checkbox') field.checked = value === true;
      else if (field.options && ![...field.options].some((option) => option.value === value)) {
        refused.push(words.form.refused(field.name, value, field.value));
      } else field.value = value;
    }
    this.#showSize();
    this.dispatchEvent(new Event('prompts'));
    return refused;
  }

  // As the fields have them; whether they can be used is the engine's to say.
  get options() {
    const values = new FormData(this.#form);
    const options = Object.fromEntries([...values].map(([name, value]) => [name, value.trim()]));
    for (const name of NUMBERS) options[name] = options[name] === '' ? NaN : Number(options[name]);
    for (const name of OPTIONAL) options[name] = options[name] === '' ? undefined : Number(options[name]);
    const second = Object.entries(options).filter(([name]) => name.startsWith('hires'));
    for (const [name] of second) delete options[name];
    if (values.get('hiresScale') !== '') options.hires = secondPass(Object.fromEntries(second));
    options.keepEmbeddingsWhole = values.has('keepEmbeddingsWhole');
    options.vaeTiling = values.has('vaeTiling') || 'auto';
    options.prediction ||= undefined;
    options.zeroTerminalSnr = TRUTHS[options.zeroTerminalSnr];
    options.prompt = values.get('prompt');
    options.negativePrompt = values.get('negativePrompt');
    return options;
  }

  // Into "prompt" or "negativePrompt".
  insert(text, name) {
    const field = this.#form.elements[name];
    const before = field.value.slice(0, field.selectionStart);
    const after = field.value.slice(field.selectionEnd);
    const padded = (/\S$/.test(before) ? ' ' : '') + text + (/^\S/.test(after) ? ' ' : '');
    field.setRangeText(padded, field.selectionStart, field.selectionEnd, 'end');
    field.focus();
    this.dispatchEvent(new Event('prompts'));
  }

  // Stop keeps the focus while it cannot be used, so that the keyboard's place is not lost.
  set running(running) {
    this.#running = running;
    this.querySelector('#stop').setAttribute('aria-disabled', String(!running));
  }

  // How many pictures wait for their turn.
  set waiting(count) {
    this.querySelector('#queue').textContent = words.form.waiting(count);
    this.querySelector('#empty-queue').hidden = count === 0;
  }

  // What the engine reads in each of the `prompts`.
  show(prompts, readings) {
    for (const [i, field] of this.#fields.entries()) field.show(prompts[i], readings[i]);
  }

  warn(warnings) {
    this.querySelector('#prompt-warnings').replaceChildren(...warnings.map(({ code, message }) => (
      element('li', {}, `${words.form.warning(code)} `.trimStart(), english('span', message))
    )));
  }

  // What prompts may name, as <prompt-field> takes it.
  set embeddings(embeddings) {
    for (const field of this.#fields) field.embeddings = embeddings;
  }

  // The seed that a picture was made of.
  set lastSeed(seed) {
    this.#lastSeed = seed;
    this.querySelector('#reuse-seed').disabled = false;
  }

  #generate() {
    this.dispatchEvent(new Event('generate'));
  }
}
customElements.define('prompt-form', PromptForm);
