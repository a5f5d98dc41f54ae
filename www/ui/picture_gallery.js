// <picture-gallery>: the pictures made so far, newest first; one of them can be opened. Fires "settings", "seed", "copy" and
// "delete" with the picture, "save" with {png, name}. Titles may come from files: textContent and properties only.

import { words } from '../text/language.js';
import { element } from './dom.js';
import { pictureName } from './format.js';

// A browser slows down with the pictures: older ones are shown when they are asked for.
const AT_ONCE = 48;

class PictureGallery extends HTMLElement {
  #pictures = [];
  #most = AT_ONCE;
  #opened = null;
  #tiles = new Map(); // picture → {tile, url}

  connectedCallback() {
    const act = (name, detail) => this.querySelector(`.${name}`).addEventListener('click', () => this.#fire(name, detail?.() ?? this.#opened));
    for (const name of ['settings', 'seed', 'copy']) act(name);
    act('save', () => ({ png: this.#opened.png, name: pictureName(this.#opened.title) }));
    this.querySelector('.delete').addEventListener('click', () => this.#delete());
    this.querySelector('.close').addEventListener('click', () => this.#close());
    this.querySelector('.more-pictures').addEventListener('click', () => {
      this.#most += AT_ONCE;
      this.#render();
    });
    document.addEventListener('language', () => this.#render());
    this.querySelector('.tiles').addEventListener('keydown', (event) => this.#key(event));
  }

  show(pictures) {
    this.#pictures = [...pictures];
    this.#render();
  }

  tell(text) {
    this.querySelector('.told').textContent = text;
  }

  #render() {
    const shown = this.#pictures.slice(0, this.#most);
    for (const [picture, { url }] of this.#tiles) {
      if (shown.includes(picture)) continue;
      URL.revokeObjectURL(url);
      this.#tiles.delete(picture);
    }
    this.querySelector('.tiles').replaceChildren(...shown.map((picture) => this.#tile(picture)));
    this.querySelector('.none').hidden = shown.length > 0;
    const left = this.#pictures.length - shown.length;
    const more = this.querySelector('.more-pictures');
    more.hidden = left === 0;
    more.textContent = words.gallery.older(left);
    if (this.#opened && !this.#pictures.includes(this.#opened)) this.#close();
  }

  #tile(picture) {
    if (!this.#tiles.has(picture)) {
      const url = URL.createObjectURL(picture.png);
      const tile = element('button', { type: 'button', title: picture.title, ariaPressed: 'false' }, element('img', { src: url, alt: '', loading: 'lazy' }));
      tile.setAttribute('aria-label', picture.title);
      tile.addEventListener('click', () => this.#open(picture));
      this.#tiles.set(picture, { tile: element('li', {}, tile), url });
    }
    return this.#tiles.get(picture).tile;
  }

  #buttonOf(picture) {
    return this.#tiles.get(picture)?.tile.querySelector('button');
  }

  #open(picture) {
    this.#press(picture);
    const image = this.querySelector('.opened img');
    Object.assign(image, { src: this.#tiles.get(picture).url, alt: picture.title });
    this.querySelector('.opened .title').textContent = picture.title;
    this.querySelector('.opened').hidden = false;
  }

  #close() {
    const tile = this.#opened && this.#buttonOf(this.#opened);
    this.#press(null);
    this.querySelector('.opened').hidden = true;
    this.querySelector('.opened img').removeAttribute('src');
    (tile ?? this.querySelector('.none')).focus();
  }

  #press(picture) {
    for (const [one, pressed] of [[this.#opened, 'false'], [picture, 'true']]) {
      if (one) this.#buttonOf(one)?.setAttribute('aria-pressed', pressed);
    }
    this.#opened = picture;
  }

  // The next one is opened, so that the keyboard stays where it was.
  #delete() {
    const picture = this.#opened;
    const at = this.#pictures.indexOf(picture);
    const next = this.#pictures[at + 1] ?? this.#pictures[at - 1];
    if (next && this.#tiles.has(next)) this.#open(next);
    this.#fire('delete', picture);
  }

  #key(event) {
    const buttons = [...this.querySelectorAll('.tiles button')];
    const at = buttons.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || !buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
    if (this.#opened) buttons[to].click();
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
customElements.define('picture-gallery', PictureGallery);
