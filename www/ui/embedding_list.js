// <embedding-list>: what prompts may name. Fires "insert", "compare", "sweep", "remove" and "facts" with the name, "save" with
// name and format.
// Names come from files: textContent and properties only.

import { words } from '../text/language.js';
import { button, element } from './dom.js';
import { number } from './format.js';

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
    document.addEventListener('language', () => {
      this.#rows.clear();
      this.#render();
    });
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
    if (found > shown) left = words.embeddings.more(found - shown, wanted !== '');
    else if (wanted) left = found ? words.embeddings.of(found, all) : words.embeddings.noneHas(all, wanted);
    this.querySelector('.left').textContent = left;
  }

  showFacts(name, { norms, vocabularyNorm, budget, nearest, warnings }) {
    const place = this.#rows.get(name)?.row.querySelector('.facts');
    if (!place) return;
    const cells = (tag, ...texts) => element('tr', {}, ...texts.map((text) => element(tag, { textContent: text })));
    const rows = norms.map((norm, i) => {
      const near = nearest[i].map(({ word, cosine }) => `${word.replace(/<\/w>$/, '')} (${number(cosine, 2)})`);
      return cells('td', String(i + 1), `${number(norm, 3)} (${number(norm / vocabularyNorm, 2)}×)`, near.join(', '));
    });
    place.replaceChildren(
      element('p', { textContent: words.embeddings.takes(Math.round(75 * budget), number(vocabularyNorm, 3)) }),
      ...warnings.map((warning) => element('p', { className: 'warnings', textContent: warning })),
      element('table', {}, element('thead', {}, cells('th', words.embeddings.vector, words.embeddings.normHead, words.embeddings.nearest)), element('tbody', {}, ...rows)),
    );
  }

  #row(info) {
    const { name } = info;
    const row = this.#head(name, facts(info), info.warnings);
    const place = element('div', { className: 'facts' }, element('p', { textContent: words.embeddings.measuring }));
    const details = element('details', {}, element('summary', { textContent: words.embeddings.details }), place, element('div', { className: 'buttons' },
      ...['safetensors', 'pt'].map((format) => button(
        words.embeddings.save(format), words.embeddings.saves(format, name), () => this.#fire('save', { name, format }),
      ))));
    details.addEventListener('toggle', () => details.open && this.#fire('facts', name));
    row.append(element('div', { className: 'buttons' },
      button(words.embeddings.compare, words.embeddings.compares(name), () => this.#fire('compare', name)),
      button(words.embeddings.sweep, words.embeddings.sweeps(name), () => this.#fire('sweep', name))), details);
    return row;
  }

  #head(name, text, warnings, waits = false) {
    const insert = button(name, words.embeddings.insert(`embedding:${name}`), () => this.#fire('insert', name), 'name');
    insert.disabled = waits;
    return element('li', {},
      insert,
      element('span', { className: 'quiet', textContent: text }),
      ...(warnings.length ? [element('ul', { className: 'warnings' }, ...warnings.map((warning) => element('li', { textContent: warning })))] : []),
      button('✕', words.embeddings.remove(name), () => this.#fire('remove', name), 'remove'));
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function facts({ vectors, width, dtype, layout, shortHash }) {
  return `${words.embeddings.facts(vectors, width, dtype)}, ${layout}, ${shortHash}`;
}

customElements.define('embedding-list', EmbeddingList);
