// <model-shelf>: models in the browser's storage, and where to get one. Fires "look" with {address, kind}, "get" and "add" with what
// was found, "open" and "remove" with a stored model, "persist". Names come from files and addresses: textContent only.

import { words } from '../text/language.js';
import { KNOWN } from './addresses.js';
import { button, element } from './dom.js';
import { bytes } from './format.js';

class ModelShelf extends HTMLElement {
  #found = null;

  connectedCallback() {
    const form = this.querySelector('form');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#fire('look', { address: form.address.value, kind: form.kind.value });
    });
    form.addEventListener('input', () => this.say(''));
    this.#showKnown();
    document.addEventListener('language', () => this.#showKnown());
    for (const name of ['get', 'add']) this.querySelector(`.${name}`).addEventListener('click', () => this.#fire(name, this.#found));
    this.querySelector('.persist').addEventListener('click', () => this.#fire('persist'));
  }

  #showKnown() {
    this.querySelector('.known').replaceChildren(...KNOWN.map(({ title, kind, url }) => button(title(), `${title()}: ${url}`, () => this.take(url, kind))));
  }

  // Looks an address up as if it stood in the field.
  take(address, kind = /vae/i.test(address.split('/').pop()) ? 'vae' : 'model') {
    const form = this.querySelector('form');
    this.querySelector('details').open = true;
    [form.address.value, form.kind.value] = [address, kind];
    this.#fire('look', { address, kind });
    form.scrollIntoView({ block: 'nearest' });
  }

  // A sentence about what was asked for, and, once it is known, {url, name, kind} to be had.
  say(sentence, found = null) {
    this.#found = found;
    this.querySelector('.found').textContent = sentence;
    this.querySelector('.offer').hidden = !found;
  }

  // `models` as modelStore.list() gives them, `room` as modelStore.room() does.
  show(models, { usage, quota, persisted }) {
    this.querySelector('.stored').hidden = models.length === 0;
    this.querySelector('ul').replaceChildren(...models.map((model) => this.#row(model)));
    const sure = persisted ? words.shelf.keptForGood : words.shelf.mayGo;
    this.querySelector('.room').textContent = quota ? `${words.shelf.inUse(bytes(usage), bytes(quota))} ${sure}` : '';
    this.querySelector('.persist').hidden = persisted;
  }

  #row(model) {
    const { name, kind, size, stored, complete, url } = model;
    const what = [kind === 'vae' ? 'VAE' : '', complete ? bytes(size) : words.shelf.part(bytes(stored), bytes(size))].filter(Boolean).join(', ');
    const open = complete || url;
    return element('li', {},
      element('span', { className: 'stored-name', textContent: name, title: url ?? '' }),
      element('span', { className: 'quiet', textContent: what }),
      element('span', { className: 'buttons' },
        ...(open ? [button(complete ? words.shelf.open : words.shelf.goOn, (complete ? words.shelf.opens : words.shelf.goesOn)(name), () => this.#fire('open', model))] : []),
        this.#remover(model)));
  }

  // It takes long to download again, so one click does not delete it.
  #remover(model) {
    const remove = button(words.shelf.delete, words.shelf.deletes(model.name), () => {
      if (remove.classList.contains('sure')) return this.#fire('remove', model);
      remove.classList.add('sure');
      remove.textContent = words.shelf.sure;
      remove.setAttribute('aria-label', words.shelf.deletesSurely(model.name));
    });
    remove.addEventListener('blur', () => {
      remove.classList.remove('sure');
      remove.textContent = words.shelf.delete;
      remove.setAttribute('aria-label', words.shelf.deletes(model.name));
    });
    return remove;
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
customElements.define('model-shelf', ModelShelf);
