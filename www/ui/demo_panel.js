// <demo-panel>: the built-in model and its examples. Fires "load", "example" with the example, "embedding" with a name.

import { element } from './dom.js';

// The type under which an example embedding is dragged.
export const DEMO_EMBEDDING = 'application/x-wordbrush-embedding';

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
    const group = (label, shown, ...children) => {
      const made = element('div', { className: 'buttons' }, ...(shown ? [element('span', { className: 'quiet', textContent: shown, ariaHidden: 'true' })] : []), ...children);
      made.setAttribute('role', 'group');
      made.setAttribute('aria-label', label);
      return made;
    };
    this.replaceChildren(
      element('p', { textContent: model.about }),
      group('Built-in model', '', load),
      group('Examples', 'Examples', ...plays),
      group('Example embeddings', 'Embeddings', ...chips),
      element('p', { className: 'quiet', textContent: 'An example makes its picture at once; an embedding is clicked to be added, or dragged into the prompt.' }),
    );
    this.closest('section').hidden = false;
  }
}
customElements.define('demo-panel', DemoPanel);
