// <embedding-list>: what prompts may name. Fires "insert", "remove" and "facts" with the name, "save" with name and format.
// Names come from files: textContent and properties only.

import { button, element } from './dom.js';

class EmbeddingList extends HTMLElement {
  #rows = new Map(); // name → {info, row}; rows stay, so that the focus and what is open stay

  // `waiting` are files, {name, why}, that will be read when there is a model, or another one.
  show(embeddings, waiting) {
    const before = this.#rows;
    this.#rows = new Map(embeddings.map((info) => {
      const old = before.get(info.name);
      return [info.name, old?.info === info ? old : { info, row: this.#row(info) }];
    }));
    const rows = [...this.#rows.values()].map(({ row }) => row);
    const waits = waiting.map(({ name, why }) => this.#head(name, why, [], true));
    this.querySelector('ul').replaceChildren(...rows, ...waits);
  }

  showFacts(name, { norms, vocabularyNorm, budget, nearest, warnings }) {
    const place = this.#rows.get(name)?.row.querySelector('.facts');
    if (!place) return;
    const cells = (tag, ...texts) => element('tr', {}, ...texts.map((text) => element(tag, { textContent: text })));
    const rows = norms.map((norm, i) => {
      const words = nearest[i].map(({ word, cosine }) => `${word.replace(/<\/w>$/, '')} (${cosine.toFixed(2)})`);
      return cells('td', String(i + 1), `${norm.toFixed(3)} (${(norm / vocabularyNorm).toFixed(2)}×)`, words.join(', '));
    });
    place.replaceChildren(
      element('p', { textContent: `Takes ${Math.round(75 * budget)} of a window's 75 places. The vocabulary's mean norm is ${vocabularyNorm.toFixed(3)}.` }),
      ...warnings.map((warning) => element('p', { className: 'warnings', textContent: warning })),
      element('table', {}, element('thead', {}, cells('th', 'Vector', 'Norm', 'Nearest words')), element('tbody', {}, ...rows)),
    );
  }

  #row(info) {
    const { name } = info;
    const row = this.#head(name, facts(info), info.warnings);
    const place = element('div', { className: 'facts' }, element('p', { textContent: 'Measuring…' }));
    const details = element('details', {}, element('summary', { textContent: 'Details' }), place, element('div', { className: 'buttons' },
      ...['safetensors', 'pt'].map((format) => button(
        `Save as .${format}`, `Save ${name} as .${format}`, () => this.#fire('save', { name, format }),
      ))));
    details.addEventListener('toggle', () => details.open && this.#fire('facts', name));
    row.append(details);
    return row;
  }

  #head(name, text, warnings, waits = false) {
    const insert = button(name, `Insert embedding:${name} into the prompt`, () => this.#fire('insert', name), 'name');
    insert.disabled = waits;
    return element('li', {},
      insert,
      element('span', { className: 'quiet', textContent: text }),
      ...(warnings.length ? [element('ul', { className: 'warnings' }, ...warnings.map((warning) => element('li', { textContent: warning })))] : []),
      button('✕', `Remove ${name}`, () => this.#fire('remove', name), 'remove'));
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function facts({ vectors, width, dtype, layout, shortHash }) {
  return `${vectors} ${vectors === 1 ? 'vector' : 'vectors'} × ${width}, ${dtype}, ${layout}, ${shortHash}`;
}

customElements.define('embedding-list', EmbeddingList);
