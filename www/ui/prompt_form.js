// <prompt-form>: the prompts and parameters. Fires "generate", "stop" and "prompts" (when a prompt changes).

import { defaults, promptSyntaxes, samplers, schedulers } from '../pkg/index.js';

const NUMBERS = [
  'steps', 'cfg', 'width', 'height', 'batchSize', 'clipSkip', 'variationStrength', 'sNoise', 'sChurn', 'sTmin', 'cfgRescale',
  'guidanceStart', 'guidanceEnd',
];
// Settings of noise, sampler and guidance, as they are where nobody says otherwise.
export const usualSettings = Object.freeze({
  rng: 'cpu', variationSeed: '0', variationStrength: 0, seedDelta: '0', eta: '', sNoise: 1, sChurn: 0, sTmin: 0, sTmax: '',
  cfgRescale: 0, guidanceStart: 0, guidanceEnd: 1, batchSize: 1,
  hiresScale: '', hiresUpscaler: 'latent', hiresSteps: '', hiresDenoise: 0.7,
});
// An empty field leaves these to the engine.
const OPTIONAL = ['eta', 'sTmax'];
const SYNTAXES = new Map([['comfy', 'ComfyUI'], ['a1111', 'AUTOMATIC1111']]);

class PromptForm extends HTMLElement {
  #form;
  #running = false;

  connectedCallback() {
    this.#form = this.querySelector('form');
    const { elements } = this.#form;
    elements.sampler.append(...samplers.map((name) => new Option(name)));
    elements.scheduler.append(...schedulers.map((name) => new Option(name)));
    elements.promptSyntax.append(...promptSyntaxes.map((name) => new Option(SYNTAXES.get(name), name)));
    this.fill(defaults);

    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#generate();
    });
    for (const name of ['prompt', 'negativePrompt', 'promptSyntax']) {
      elements[name].addEventListener('input', () => this.dispatchEvent(new Event('prompts')));
    }
    this.querySelector('#stop').addEventListener('click', () => this.dispatchEvent(new Event('stop')));
    this.querySelector('#dice').addEventListener('click', () => {
      elements.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.#generate();
      else if (event.key === 'Escape' && this.#running) this.dispatchEvent(new Event('stop'));
    });
  }

  get prompts() {
    const { prompt, negativePrompt } = this.#form.elements;
    return [prompt.value, negativePrompt.value];
  }

  get promptSyntax() {
    return this.#form.elements.promptSyntax.value;
  }

  // Sets the fields that are given; a choice that is not on the menu is told and stays as it was.
  fill(values) {
    const refused = [];
    for (const field of this.#form.elements) {
      const value = values[field.name];
      if (!field.name || value === undefined) continue;
      if (field.type === 'checkbox') field.checked = value;
      else if (field.options && ![...field.options].some((option) => option.value === value)) {
        refused.push(`There is no ${field.name} “${value}” here yet: ${field.value} stays chosen.`);
      } else field.value = value;
    }
    this.dispatchEvent(new Event('prompts'));
    return refused;
  }

  // As the fields have them; whether they can be used is the engine's to say.
  get options() {
    const values = new FormData(this.#form);
    let options = Object.fromEntries([...values].map(([name, value]) => [name, value.trim()]));
    for (const name of NUMBERS) options[name] = options[name] === '' ? NaN : Number(options[name]);
    for (const name of OPTIONAL) options[name] = options[name] === '' ? undefined : Number(options[name]);
    const { hiresScale, hiresUpscaler, hiresSteps, hiresDenoise, ...others } = options;
    options = others;
    if (hiresScale !== '') {
      const steps = hiresSteps === '' ? undefined : Number(hiresSteps);
      options.hires = { scale: Number(hiresScale), upscaler: hiresUpscaler, steps, denoise: Number(hiresDenoise || NaN) };
    }
    options.keepEmbeddingsWhole = values.has('keepEmbeddingsWhole');
    options.prompt = values.get('prompt');
    options.negativePrompt = values.get('negativePrompt');
    return options;
  }

  insert(text) {
    const field = this.#form.elements.prompt;
    const before = field.value.slice(0, field.selectionStart);
    const after = field.value.slice(field.selectionEnd);
    const padded = (/\S$/.test(before) ? ' ' : '') + text + (/^\S/.test(after) ? ' ' : '');
    field.setRangeText(padded, field.selectionStart, field.selectionEnd, 'end');
    field.focus();
    this.dispatchEvent(new Event('prompts'));
  }

  // Generate keeps the focus while it cannot be used, so that the keyboard's place is not lost.
  set running(running) {
    this.#running = running;
    this.querySelector('#generate').setAttribute('aria-disabled', String(running));
    this.querySelector('#stop').disabled = !running;
  }

  showTokens(text, warnings) {
    this.querySelector('#token-count').textContent = text;
    this.querySelector('#prompt-warnings').replaceChildren(...warnings.map((warning) => {
      const item = document.createElement('li');
      item.textContent = warning;
      return item;
    }));
  }

  #generate() {
    if (!this.#running) this.dispatchEvent(new Event('generate'));
  }
}
customElements.define('prompt-form', PromptForm);
