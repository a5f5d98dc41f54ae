// <demo-panel>: the built-in model and its examples. Fires "load", "example" with the example, "embedding" with a name.

import { language, words } from '../text/language.js';
import { element } from './dom.js';

// The type under which an example embedding is dragged.
export const DEMO_EMBEDDING = 'application/x-wordbrush-embedding';

// Its texts in the language of the page, where the index has them.
const inLanguage = (entry) => ({ ...entry, ...entry[language] });

class DemoPanel extends HTMLElement {
  #loaded = false;

  show({ model, embeddings, examples }) {
    const fire = (type, detail) => () => this.dispatchEvent(new CustomEvent(type, { detail }));
    const load = element('button', { type: 'button', className: 'load', textContent: words.demo.load(model.size) });
    load.addEventListener('click', fire('load'));
    const plays = examples.map((example) => {
      const play = element('button', { type: 'button', textContent: inLanguage(example).title, title: example.prompt });
      play.addEventListener('click', fire('example', example));
      return play;
    });
    const chips = embeddings.map((embedding) => {
      const { name, file } = embedding;
      const chip = element('button', { type: 'button', className: 'name', textContent: file.split('/').pop(), title: inLanguage(embedding).about, draggable: true });
      chip.addEventListener('click', fire('embedding', name));
      chip.addEventListener('dragstart', ({ dataTransfer }) => {
        dataTransfer.setData(DEMO_EMBEDDING, name);
        dataTransfer.setData('text/plain', `embedding:${name}`);
      });
      return chip;
    });
    const group = (label, shown, ...children) => {
      const made = element('div', { className: 'buttons' }, ...(shown ? [element('span', { className: 'quiet', textContent: shown, ariaHidden: 'true' })] : []), ...children);
      made.setAttribute('role', 'group');
      made.setAttribute('aria-label', label);
      return made;
    };
    this.replaceChildren(
      element('p', { textContent: inLanguage(model).about }),
      group(words.demo.model, '', load),
      group(words.demo.examples, words.demo.examples, ...plays),
      group(words.demo.exampleEmbeddings, words.demo.embeddings, ...chips),
      element('p', { className: 'quiet', textContent: words.demo.how }),
    );
    this.closest('section').hidden = false;
    this.loaded = this.#loaded;
  }

  // Whether the built-in model is the one in use: there is nothing to load then. The button keeps the keyboard's place.
  set loaded(loaded) {
    this.#loaded = loaded;
    const load = this.querySelector('.load');
    load?.classList.toggle('primary', !loaded);
    load?.setAttribute('aria-disabled', String(loaded));
  }
}
customElements.define('demo-panel', DemoPanel);
