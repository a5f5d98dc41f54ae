// <embedding-maker>: embeddings without training. Fires "make" with what craftEmbedding takes.

import { words } from '../text/language.js';
import { button, element } from './dom.js';

class EmbeddingMaker extends HTMLElement {
  #names = [];
  #terms;
  #details;

  connectedCallback() {
    const form = this.querySelector('form');
    this.#terms = this.querySelector('.terms');
    this.#details = this.querySelector('details');
    this.#details.addEventListener('toggle', () => this.#fillAll());
    const { kind } = form.elements;
    kind.addEventListener('change', () => this.#showKind(kind.value));
    this.querySelector('.add-term').addEventListener('click', () => this.#addTerm());
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.dispatchEvent(new CustomEvent('make', { detail: this.#spec(form.elements) }));
    });
    this.#addTerm();
    this.#addTerm();
    this.#showKind(kind.value);
  }

  // The embeddings that others can be made of.
  set names(names) {
    this.#names = names;
    this.#fillAll();
  }

  // Only what can be seen: there may be thousands of names, and each menu has them all.
  #fillAll() {
    if (this.#details.open) for (const select of this.querySelectorAll('select.of')) this.#fill(select);
  }

  #fill(select) {
    const { value } = select;
    select.replaceChildren(...this.#names.map((name) => new Option(name)));
    if (this.#names.includes(value)) select.value = value;
  }

  #showKind(kind) {
    for (const part of this.querySelectorAll('[data-kinds]')) part.hidden = !part.dataset.kinds.split(' ').includes(kind);
  }

  #addTerm() {
    const select = element('select', { className: 'of', ariaLabel: words.maker.embedding });
    select.setAttribute('data-say-aria-label', 'maker.embedding');
    this.#fill(select);
    const factor = element('input', { type: 'number', step: 'any', value: '0.5' });
    factor.setAttribute('aria-label', words.maker.factor);
    factor.setAttribute('data-say-aria-label', 'maker.factor');
    factor.dataset.kinds = 'mix';
    const remove = button('✕', words.maker.removeLine, () => row.remove());
    for (const attribute of ['title', 'aria-label']) remove.setAttribute(`data-say-${attribute}`, 'maker.removeLine');
    const row = element('div', { className: 'together' }, factor, select, remove);
    this.#terms.append(row);
    this.#showKind(this.querySelector('[name="kind"]').value);
  }

  #spec({ made, kind: { value: kind }, text, of, factor, rows }) {
    const name = made.value.trim();
    const terms = [...this.#terms.children].map((row) => ({
      name: row.querySelector('select').value, factor: row.querySelector('input').valueAsNumber,
    }));
    switch (kind) {
      case 'text': return { name, kind, text: text.value };
      case 'mix': return { name, kind, terms };
      case 'concat': return { name, kind, names: terms.map((term) => term.name) };
      case 'scale': return { name, kind, of: of.value, factor: factor.valueAsNumber };
      default: return { name, kind, of: of.value, rows: rowNumbers(rows.value) };
    }
  }
}

// "1, 3-5" as people count → [0, 2, 3, 4]; what is no number becomes NaN, which is refused.
function rowNumbers(text) {
  return text.split(/[\s,]+/).filter(Boolean).flatMap((part) => {
    const [, first, last] = /^(\d{1,4})(?:[-–](\d{1,4}))?$/.exec(part) ?? [];
    if (!first) return [NaN];
    const to = Number(last ?? first);
    return Array.from({ length: Math.max(0, to - first + 1) }, (_, i) => Number(first) - 1 + i);
  });
}
customElements.define('embedding-maker', EmbeddingMaker);
