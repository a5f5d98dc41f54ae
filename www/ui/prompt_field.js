// <prompt-field>: a prompt with what the engine reads in it: names are completed while they are typed, marked once they stand
// there, and weighed by Ctrl+Up and Ctrl+Down. Completing follows ARIA's combobox: the focus stays in the prompt.

import { completions, namePlace } from '../text/completions.js';
import { words } from '../text/language.js';
import { callOf } from '../text/prompt_edit.js';
import { WEIGHT_STEP, reweigh } from '../text/prompt_weight.js';
import { element } from './dom.js';

class PromptField extends HTMLElement {
  #field;
  #list;
  #place = null; // what is being completed, while the list is open
  #active = -1;
  #reading = { text: null, calls: [] }; // the engine's newest, and of what text
  #embeddings = { here: [], elsewhere: [] };

  connectedCallback() {
    this.#field = this.querySelector('textarea');
    this.#list = this.querySelector('[role="listbox"]');
    this.#field.addEventListener('input', () => this.#complete());
    this.#field.addEventListener('keydown', (event) => this.#key(event));
    for (const type of ['blur', 'click']) this.#field.addEventListener(type, () => this.#close());
    // The focus stays where it is.
    this.#list.addEventListener('mousedown', (event) => event.preventDefault());
    this.#list.addEventListener('click', ({ target }) => {
      const option = target.closest('[role="option"]');
      if (option) this.#accept([...this.#list.children].indexOf(option));
    });
  }

  get syntax() {
    return this.closest('form').elements.promptSyntax.value;
  }

  // `here` are what prompts may name, {name, vectors}; `elsewhere` the names of those that fit another model only.
  set embeddings(embeddings) {
    this.#embeddings = embeddings;
  }

  // What the engine reads in `text`: tells its length, what stays of a dynamic prompt, and marks the names in it.
  show(text, { tokens, windows, vectors, calls, chosen }) {
    this.#reading = { text, calls };
    const room = 75 * windows;
    this.querySelector('.count').textContent = words.form.tokens(tokens, room, windows) + (vectors ? words.form.ownVectors(vectors) : '');
    this.querySelector('.chosen').textContent = chosen === undefined ? '' : words.form.chosen(chosen);
    this.#mark(calls);
  }

  // Writes in the place of a part, so that the browser's undo takes it back.
  replace(start, end, written) {
    const field = this.#field;
    field.focus();
    field.setSelectionRange(start, end);
    const done = written === '' ? document.execCommand('delete') : document.execCommand('insertText', false, written);
    if (!done) {
      field.setRangeText(written, start, end, 'end');
      field.dispatchEvent(new Event('input', { bubbles: true }));
    }
  }

  #key(event) {
    const { key } = event;
    if ((event.ctrlKey || event.metaKey) && (key === 'ArrowUp' || key === 'ArrowDown')) {
      event.preventDefault();
      this.#weigh(key === 'ArrowUp' ? 1 : -1);
    } else if (this.#place && !event.ctrlKey && !event.metaKey && !event.altKey) this.#keyInList(event);
  }

  #keyInList(event) {
    const count = this.#list.children.length;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    // With none chosen, up goes to the last one.
    const from = this.#active < 0 && event.key === 'ArrowUp' ? 0 : this.#active;
    if (event.key in moves) this.#activate((from + moves[event.key] + count) % count);
    else if ((event.key === 'Enter' || event.key === 'Tab') && !event.shiftKey && this.#active >= 0) this.#accept(this.#active);
    // Here Escape closes the list, and stops no picture.
    else if (event.key === 'Escape') this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #weigh(direction) {
    const { value, selectionStart, selectionEnd } = this.#field;
    const calls = this.#reading.text === value ? this.#reading.calls : [];
    const made = reweigh(value, [selectionStart, selectionEnd], direction * WEIGHT_STEP[this.syntax], calls);
    if (!made) return;
    this.replace(made.start, made.end, made.written);
    this.#field.setSelectionRange(...made.selection);
    this.#close();
  }

  #complete() {
    const { value, selectionStart, selectionEnd } = this.#field;
    const place = selectionStart === selectionEnd ? namePlace(value, selectionStart, this.syntax) : null;
    const found = place ? completions(this.#embeddings.here, place.typed) : [];
    if (found.length === 0) return this.#close();
    this.#place = place;
    const id = (i) => `${this.#list.id}-${i}`;
    this.#list.replaceChildren(...found.map(({ name, vectors }, i) => {
      const option = element('li', { id: id(i), title: name }, element('span', { textContent: name }), element('span', { className: 'quiet', textContent: words.embeddings.vectors(vectors) }));
      option.setAttribute('role', 'option');
      option.dataset.name = name;
      return option;
    }));
    this.#list.hidden = false;
    this.#field.setAttribute('aria-expanded', 'true');
    // A bare word may be meant as a word: Enter and Tab take a name only where one is asked for, or was chosen by an arrow.
    this.#activate(place.asked ? 0 : -1);
  }

  #activate(active) {
    this.#active = active;
    for (const [i, option] of [...this.#list.children].entries()) {
      option.setAttribute('aria-selected', String(i === active));
      if (i === active) option.scrollIntoView({ block: 'nearest' });
    }
    if (active >= 0) this.#field.setAttribute('aria-activedescendant', this.#list.children[active].id);
    else this.#field.removeAttribute('aria-activedescendant');
  }

  #accept(i) {
    const { start, end } = this.#place;
    this.replace(start, end, callOf(this.#list.children[i].dataset.name, this.syntax));
    this.#close();
  }

  #close() {
    this.#place = null;
    this.#list.hidden = true;
    this.#list.replaceChildren();
    this.#field.setAttribute('aria-expanded', 'false');
    this.#field.removeAttribute('aria-activedescendant');
  }

  #mark(calls) {
    const once = calls.filter(({ name, written }, i) => calls.findIndex((other) => (other.name ?? other.written) === (name ?? written)) === i);
    this.querySelector('.marks').replaceChildren(...once.map((call) => (call.name === null ? this.#missing(call) : this.#found(call))));
  }

  #found({ name }) {
    const info = this.#embeddings.here.find((embedding) => embedding.name === name);
    return element('li', { className: 'found', textContent: `✓ ${name}${info ? `, ${words.embeddings.vectors(info.vectors)}` : ''}` });
  }

  #missing({ written, nearest }) {
    const folded = (name) => name.toLowerCase().replace(/\.(safetensors|pt|bin)$/, '');
    const isThis = (known) => known === folded(written) || known.split('/').pop() === folded(written);
    if (this.#embeddings.elsewhere.map(folded).some(isThis)) {
      return element('li', { className: 'missing', textContent: words.form.otherWidth(written) });
    }
    const item = element('li', { className: 'missing', textContent: words.form.missing(written) });
    if (nearest) {
      const use = element('button', { type: 'button', textContent: words.form.use(nearest) });
      use.addEventListener('click', () => this.#correct(written, nearest));
      item.append(' ', use);
    }
    return item;
  }

  // Where the engine found the name, if the prompt still is what it read.
  #correct(written, nearest) {
    if (this.#reading.text !== this.#field.value) return;
    for (const call of this.#reading.calls.filter((call) => call.name === null && call.written === written).toReversed()) {
      this.replace(call.start, call.end, callOf(nearest, this.syntax));
    }
  }
}
customElements.define('prompt-field', PromptField);
