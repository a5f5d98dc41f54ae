// <embedding-list>: what prompts may name. Fires "insert" and "remove" with the name.
// Names come from files: textContent and properties only.

class EmbeddingList extends HTMLElement {
  // `waiting` are files that will be read when there is a model.
  show(embeddings, waiting) {
    const rows = [
      ...embeddings.map((embedding) => this.#row(embedding.name, facts(embedding), embedding.warnings)),
      ...waiting.map((name) => this.#row(name, 'waits for a model', [], true)),
    ];
    this.querySelector('ul').replaceChildren(...rows);
  }

  #row(name, text, warnings, waits = false) {
    const row = document.createElement('li');
    const insert = this.#button('name', name, `Insert embedding:${name} into the prompt`, 'insert', name);
    insert.disabled = waits;
    const details = document.createElement('span');
    details.className = 'quiet';
    details.textContent = text;
    const notes = document.createElement('ul');
    notes.className = 'warnings';
    notes.append(...warnings.map((warning) => {
      const note = document.createElement('li');
      note.textContent = warning;
      return note;
    }));
    row.append(insert, details, ...(warnings.length ? [notes] : []), this.#button('remove', '✕', `Remove ${name}`, 'remove', name));
    return row;
  }

  #button(className, text, label, event, name) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = className;
    button.textContent = text;
    button.title = label;
    button.setAttribute('aria-label', label);
    button.addEventListener('click', () => this.dispatchEvent(new CustomEvent(event, { detail: name })));
    return button;
  }
}

function facts({ vectors, width, dtype, layout, shortHash }) {
  return `${vectors} ${vectors === 1 ? 'vector' : 'vectors'} × ${width}, ${dtype}, ${layout}, ${shortHash}`;
}

customElements.define('embedding-list', EmbeddingList);
