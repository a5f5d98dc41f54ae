// <embedding-list>: what prompts may name. Fires "insert" with name and field, "compare", "sweep", "remove" and "facts" with the name,
// "save" with name and format. `callOf` makes of a name what is dragged into a prompt.
// Names come from files: textContent and properties only.

import { words } from '../text/language.js';
import { button, element, english } from './dom.js';
import { number } from './format.js';

// Collections have thousands of files, and a browser slows down with the rows: more are counted, not shown.
const MOST_ROWS = 200;
// A list that is read at a glance needs no search field.
const AT_A_GLANCE = 8;

class EmbeddingList extends HTMLElement {
  #embeddings = [];
  #waiting = [];
  #beside = new Map(); // name → {folder, preview}
  #closed = new Set(); // folders whose embeddings are not shown
  #rows = new Map(); // name → {info, preview, url, row} of those that are shown; rows stay, so that what is open stays
  #search;

  callOf = (name) => `embedding:${name}`;

  connectedCallback() {
    document.addEventListener('language', () => {
      for (const shown of this.#rows.values()) shown.info = null; // It is made anew.
      this.#render();
    });
    this.#search = this.querySelector('input[type="search"]');
    this.#search.addEventListener('input', () => this.#render());
    this.#search.addEventListener('keydown', (event) => {
      // Here Escape empties the field, and stops no picture.
      if (event.key === 'Escape' && this.#search.value) event.stopPropagation();
    });
  }

  // `waiting` are files, {name, folder, why}, that will be read when there is a model, or another one; `beside` tells folders and
  // preview pictures by the embeddings' names.
  show(embeddings, waiting, beside) {
    [this.#embeddings, this.#waiting, this.#beside] = [embeddings, waiting, beside];
    this.#render();
  }

  #render() {
    const wanted = this.#search.value.trim();
    const folded = wanted.toLowerCase();
    const matches = (name) => name.toLowerCase().includes(folded);
    const embeddings = this.#embeddings.filter(({ name }) => matches(name));
    const waiting = this.#waiting.filter(({ name }) => matches(name));
    const shown = this.#fillRows(embeddings, waiting, wanted !== '');

    const [all, found] = [this.#embeddings.length + this.#waiting.length, embeddings.length + waiting.length];
    this.querySelector('.search').hidden = all <= AT_A_GLANCE && !wanted;
    let left = '';
    if (found > shown) left = words.embeddings.more(found - shown, wanted !== '');
    else if (wanted) left = found ? words.embeddings.of(found, all) : words.embeddings.noneHas(all, wanted);
    this.querySelector('.left').textContent = left;
  }

  // Gives how many there are in the list, closed folders with all they have: what is searched for is shown, whatever is closed.
  #fillRows(embeddings, waiting, searching) {
    const before = this.#rows;
    this.#rows = new Map();
    const folders = new Map();
    const put = (folder, row) => folders.set(folder, [...folders.get(folder) ?? [], row]);
    for (const info of embeddings.slice(0, MOST_ROWS)) {
      const { folder = '', preview = null } = this.#beside.get(info.name) ?? {};
      const old = before.get(info.name);
      const kept = old?.info === info && old.preview === preview ? old : this.#row(info, preview);
      this.#rows.set(info.name, kept);
      put(folder, kept.row);
    }
    for (const { name, folder, why } of waiting.slice(0, MOST_ROWS - this.#rows.size)) put(folder, this.#head(name, why, [], true));
    for (const [name, { url }] of before) if (url && this.#rows.get(name)?.url !== url) URL.revokeObjectURL(url);
    const isOpen = (folder) => searching || !this.#closed.has(folder);
    const sorted = [...folders].sort(([a], [b]) => a.localeCompare(b));
    this.querySelector('ul').replaceChildren(...sorted.flatMap(([folder, rows]) => (
      folder === '' ? rows : [this.#folder(folder, rows.length, isOpen(folder)), ...(isOpen(folder) ? rows : [])]
    )));
    return sorted.reduce((sum, [, rows]) => sum + rows.length, 0);
  }

  #folder(folder, count, open) {
    const toggle = element('button', { type: 'button', ariaExpanded: String(open) }, folder, ' ', element('span', { className: 'quiet', textContent: String(count) }));
    toggle.addEventListener('click', () => {
      if (open) this.#closed.add(folder);
      else this.#closed.delete(folder);
      this.#render();
      [...this.querySelectorAll('.folder button')].find((it) => it.firstChild.data === folder)?.focus();
    });
    return element('li', { className: 'folder' }, toggle);
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
      ...warnings.map((warning) => english('p', warning, 'warnings')),
      element('table', {}, element('thead', {}, cells('th', words.embeddings.vector, words.embeddings.normHead, words.embeddings.nearest)), element('tbody', {}, ...rows)),
    );
  }

  // {info, preview, url of the preview, row}
  #row(info, preview) {
    const { name } = info;
    const row = this.#head(name, facts(info), info.warnings);
    const place = element('div', { className: 'facts' }, element('p', { textContent: words.embeddings.measuring }));
    const details = element('details', {}, element('summary', { textContent: words.embeddings.details }), place, element('div', { className: 'buttons' },
      ...['safetensors', 'pt'].map((format) => button(
        words.embeddings.save(format), words.embeddings.saves(format, name), () => this.#fire('save', { name, format }),
      ))));
    details.addEventListener('toggle', () => details.open && this.#fire('facts', name));
    const url = preview && URL.createObjectURL(preview);
    if (url) row.prepend(element('img', { src: url, alt: words.embeddings.preview(name), loading: 'lazy', draggable: false }));
    row.classList.toggle('shown', url !== null);
    row.append(element('div', { className: 'buttons' },
      button(words.embeddings.toNegative, words.embeddings.insertNegative(this.callOf(name)), () => this.#fire('insert', { name, field: 'negativePrompt' })),
      button(words.embeddings.compare, words.embeddings.compares(name), () => this.#fire('compare', name)),
      button(words.embeddings.sweep, words.embeddings.sweeps(name), () => this.#fire('sweep', name))), details);
    return { info, preview, url, row };
  }

  #head(name, text, warnings, waits = false) {
    const insert = button(name, words.embeddings.insert(this.callOf(name)), () => this.#fire('insert', { name, field: 'prompt' }), 'name');
    Object.assign(insert, { disabled: waits, draggable: !waits });
    insert.addEventListener('dragstart', ({ dataTransfer }) => dataTransfer.setData('text/plain', this.callOf(name)));
    return element('li', {},
      insert,
      element('span', { className: 'quiet', textContent: text }),
      ...(warnings.length ? [element('ul', { className: 'warnings' }, ...warnings.map((warning) => english('li', warning)))] : []),
      button('✕', words.embeddings.remove(name), () => this.#fire('remove', name), 'remove'));
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function facts({ vectors, width, norm, dtype, layout, shortHash }) {
  return [words.embeddings.facts(vectors, width, dtype), words.embeddings.norm(number(norm, 2)), layout, shortHash].join(', ');
}

customElements.define('embedding-list', EmbeddingList);
