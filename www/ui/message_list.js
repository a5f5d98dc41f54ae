// <message-list>: problems, one for each topic, until dismissed or solved. Texts may come from files: textContent only.

import { words } from '../text/language.js';
import { sentences } from './format.js';

class MessageList extends HTMLElement {
  #messages = new Map();

  show(topic, error) {
    this.clear(topic);
    const box = document.createElement('div');
    if (error.code) box.dataset.code = error.code;
    const text = document.createElement('p');
    text.textContent = sentences(error.message ?? String(error), error.hint);
    const close = document.createElement('button');
    close.type = 'button';
    close.textContent = '✕';
    close.setAttribute('aria-label', words.page.dismiss);
    close.addEventListener('click', () => this.clear(topic));
    box.append(text, close);
    this.append(box);
    this.#messages.set(topic, box);
  }

  clear(topic) {
    this.#messages.get(topic)?.remove();
    this.#messages.delete(topic);
  }
}
customElements.define('message-list', MessageList);
