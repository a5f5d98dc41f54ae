// <recipe-panel>: takes a recipe as text (fires "recipe") and tells what of one was not understood or is missing.

import { words } from '../text/language.js';
import { element, english } from './dom.js';

class RecipePanel extends HTMLElement {
  connectedCallback() {
    const field = this.querySelector('textarea');
    this.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.dispatchEvent(new CustomEvent('recipe', { detail: field.value }));
    });
  }

  // `notes` are the page's, `remarks` the engine's.
  show(from, notes, remarks) {
    this.querySelector('.from').textContent = words.recipe.from(from);
    this.querySelector('.notes').replaceChildren(...notes.map((note) => element('li', { textContent: note })), ...remarks.map((remark) => english('li', remark)));
  }
}
customElements.define('recipe-panel', RecipePanel);

export function missingEmbeddings(recipe, embeddings) {
  const folded = (name) => name.toLowerCase().replace(/\.(safetensors|pt|bin)$/, '');
  return recipe.embeddings.flatMap(({ name, shortHash }) => {
    const named = embeddings.find((embedding) => folded(embedding.name) === folded(name));
    const same = (embedding) => shortHash && embedding.shortHash.startsWith(shortHash.slice(0, 10));
    if (named && (!shortHash || same(named))) return [];
    if (named) return [words.recipe.another(name, shortHash)];
    const other = embeddings.find(same);
    if (other) return [words.recipe.otherName(name, other.name)];
    return [words.recipe.missing(name, shortHash)];
  });
}
