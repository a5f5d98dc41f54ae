// <embedding-list>: what prompts may name. Fires "insert", "compare", "sweep", "remove" and "facts" with the name, "save" with
// name and format.
// Names come from files: textContent and properties only.

import { button, element } from './dom.js';

// Collections have thousands of files, and a browser slows down with the rows: more are counted, not shown.
const MOST_ROWS = 200;
// A list that is read at a glance needs no search field.
const AT_A_GLANCE = 8;

class EmbeddingList extends HTMLElement {
  #embeddings = [];
  #waiting = [];
  #rows = new Map(); // name → {info, row} of those that are shown; rows stay, so that what is open stays
  #search;

  connectedCallback() {
    this.#search = this.querySelector('input[type="search"]');
    this.#search.addEventListener('input', () => this.#render());
    this.#search.addEventListener('keydown', (event) => {
      // Here Escape empties the field, and stops no picture.
      if (event.key === 'Escape' && this.#search.value) event.stopPropagation();
    });
  }

  // `waiting` are files, {name, why}, that will be read when there is a model, or another one.
  show(embeddings, waiting) {
    [this.#embeddings, this.#waiting] = [embeddings, waiting];
    this.#render();
  }

  #render() {
    const wanted = this.#search.value.trim();
    const folded = wanted.toLowerCase();
    const matches = (name) => name.toLowerCase().includes(folded);
    const embeddings = this.#embeddings.filter(({ name }) => matches(name));
    const waiting = this.#waiting.filter(({ name }) => matches(name));
    const before = this.#rows;
    this.#rows = new Map(embeddings.slice(0, MOST_ROWS).map((info) => {
      const old = before.get(info.name);
      return [info.name, old?.info === info ? old : { info, row: this.#row(info) }];
    }));
    const rows = [...this.#rows.values()].map(({ row }) => row);
    const waits = waiting.slice(0, MOST_ROWS - rows.length).map(({ name, why }) => this.#head(name, why, [], true));
    this.querySelector('ul').replaceChildren(...rows, ...waits);

    const [all, found, shown] = [this.#embeddings.length + this.#waiting.length, embeddings.length + waiting.length, rows.length + waits.length];
    this.querySelector('.search').hidden = all <= AT_A_GLANCE && !wanted;
    let left = '';
    if (found > shown) left = `${found - shown} more: type ${wanted ? 'more of a name' : 'to filter'}.`;
    else if (wanted) left = found ? `${found} of ${all}.` : `None of the ${all} names has “${wanted}” in it.`;
    this.querySelector('.left').textContent = left;
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
        `Save as .${format}`, `Save as .${format}: ${name}`, () => this.#fire('save', { name, format }),
      ))));
    details.addEventListener('toggle', () => details.open && this.#fire('facts', name));
    row.append(element('div', { className: 'buttons' },
      button('Compare', `Compare with and without ${name}`, () => this.#fire('compare', name)),
      button('Strengths', `Try strengths of ${name}`, () => this.#fire('sweep', name))), details);
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
