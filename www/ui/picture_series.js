// <picture-series>: pictures side by side with what they differ in, and the form of a grid. Fires "grid" with
// {subject, x, y}, each axis as {type, typed}, and "save" with {png, name}.

import { AXES, axisExample, axisTitle } from '../text/grid_plan.js';
import { words } from '../text/language.js';
import { element } from './dom.js';
import { pictureName } from './format.js';

class PictureSeries extends HTMLElement {
  #names = [];
  #pictures = []; // the img elements, row by row
  #labels = [];
  #urls = [];
  #title = '';
  #sheet = null;

  connectedCallback() {
    const form = this.querySelector('form');
    for (const letter of ['x', 'y']) {
      const [type, typed] = [form.elements[`${letter}Type`], form.elements[`${letter}Values`]];
      const fill = () => [...type.options].forEach((option) => { option.text = option.value ? axisTitle(option.value) : words.series.nothing; });
      type.append(...['', ...AXES.keys()].map((name) => new Option('', name)));
      fill();
      document.addEventListener('language', fill);
      type.addEventListener('change', () => {
        typed.disabled = type.value === '';
        typed.placeholder = type.value && axisExample(type.value);
      });
    }
    this.querySelector('details').addEventListener('toggle', () => this.#fillNames());
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const { subject, xType, xValues, yType, yValues } = form.elements;
      const axis = (type, typed) => ({ type: type.value, typed: typed.value });
      this.#fire('grid', { subject: subject.value, x: axis(xType, xValues), y: axis(yType, yValues) });
    });
    this.querySelector('.save').addEventListener('click', () => {
      this.#fire('save', { png: this.#sheet, name: pictureName(this.#title) });
    });
  }

  // The embeddings that can be tried.
  set names(names) {
    this.#names = names;
    this.#fillNames();
  }

  // Only what can be seen: there may be thousands.
  #fillNames() {
    if (!this.querySelector('details').open) return;
    const { subject } = this.querySelector('form').elements;
    const { value } = subject;
    subject.replaceChildren(new Option(words.series.first, ''), ...this.#names.map((name) => new Option(name)));
    subject.value = this.#names.includes(value) ? value : '';
  }

  begin(title, columns, rows) {
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
    [this.#title, this.#sheet] = [title, null];
    this.#labels = rows.flatMap((row) => columns.map((column) => [column, row].filter(Boolean).join(', ')));
    this.#pictures = this.#labels.map(() => element('img', { alt: '' }));
    const head = (text, scope) => element('th', { textContent: text, scope });
    const named = rows.some(Boolean);
    const body = rows.map((row, j) => element('tr', {},
      ...(named ? [head(row, 'row')] : []),
      ...columns.map((_, i) => element('td', {}, this.#pictures[j * columns.length + i]))));
    this.querySelector('table').replaceChildren(
      element('caption', {}, element('span', { textContent: title })),
      element('thead', {}, element('tr', {}, ...(named ? [element('td')] : []), ...columns.map((column) => head(column, 'col')))),
      element('tbody', {}, ...body),
    );
    this.querySelector('.result').hidden = false;
    this.querySelector('.save').hidden = true;
  }

  put(i, png) {
    const url = URL.createObjectURL(png);
    this.#urls.push(url);
    Object.assign(this.#pictures[i], { src: url, alt: this.#labels[i] || this.#title });
  }

  tell(text) {
    this.querySelector('.told').textContent = text;
  }

  finish(sheet) {
    this.#sheet = sheet;
    this.querySelector('.save').hidden = false;
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
customElements.define('picture-series', PictureSeries);
