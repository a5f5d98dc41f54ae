// <message-list>: problems, one for each topic, until dismissed or solved. Texts may come from files: textContent only.

import { language, words } from '../text/language.js';
import { element, english } from './dom.js';
import { sentences } from './format.js';

// The page's own errors have no code, those of the engine and of the browser do.
const isOurs = (error) => typeof error !== 'object' || !('code' in error);

class MessageList extends HTMLElement {
  #messages = new Map();

  // `more` is what the page has to say to it.
  show(topic, error, more = '') {
    this.clear(topic);
    const box = element('div', { lang: language });
    if (error.code) box.dataset.code = error.code;
    const said = sentences(error.message ?? String(error), error.hint);
    const parts = isOurs(error) ? [said] : [words.page.problem(error.code), english('span', said)];
    const text = element('p', {}, ...[...parts, more && sentences(more)].filter(Boolean).flatMap((part, i) => (i ? [' ', part] : [part])));
    const close = element('button', { type: 'button', textContent: '✕' });
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
