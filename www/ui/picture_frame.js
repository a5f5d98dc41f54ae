// <picture-frame>: the newest pictures, what they were made from, and their downloads; before that, previews. The first is the
// large one. A download fires "save" with {png, name}; who does it otherwise cancels the event.

import { words } from '../text/language.js';
import { element } from './dom.js';
import { fileName } from './format.js';

class PictureFrame extends HTMLElement {
  #urls = [];
  #shown = null; // {images, seconds}

  connectedCallback() {
    document.addEventListener('language', () => this.#shown && this.show(this.#shown));
  }

  // As `generate` takes it.
  get wantsPreviews() {
    const { value } = this.querySelector('[name="previews"]');
    return value === 'quick' ? true : value || false;
  }

  // Takes the picture's place until there is one, or until `endPreview`.
  preview(pixels) {
    const canvas = this.querySelector('canvas');
    if (!this.wantsPreviews) return this.endPreview();
    if (canvas.width !== pixels.width || canvas.height !== pixels.height) Object.assign(canvas, { width: pixels.width, height: pixels.height });
    canvas.getContext('2d').putImageData(pixels, 0, 0);
    this.#reveal(canvas);
  }

  endPreview() {
    this.#reveal(this.querySelector(this.#urls.length ? 'figure img' : '.empty'));
  }

  #reveal(wanted) {
    for (const element of this.querySelectorAll('picture-frame > figure > :not(figcaption)')) element.hidden = element !== wanted;
  }

  show({ images, seconds }) {
    this.#shown = { images, seconds };
    const old = this.#urls;
    this.#urls = images.map(({ png }) => URL.createObjectURL(png));
    const [{ params }] = images;
    this.#fill(this.querySelector('figure img'), this.querySelector('a'), images, 0);
    this.#reveal(this.querySelector('figure img'));
    this.querySelector('figcaption').textContent = words.picture.caption(params, images.length, seconds);
    this.querySelector('.others').replaceChildren(...images.slice(1).map((_, i) => {
      const picture = element('img');
      const link = element('a', { className: 'button', textContent: words.picture.downloadOther(i + 2) });
      this.#fill(picture, link, images, i + 1);
      return element('figure', {}, picture, link);
    }));
    for (const url of old) URL.revokeObjectURL(url);
  }

  #fill(picture, link, images, i) {
    const { params } = images[i];
    Object.assign(picture, { src: this.#urls[i], width: params.width, height: params.height, hidden: false });
    picture.alt = words.picture.generated(params.prompt || words.picture.noPrompt, i + 1, images.length);
    const name = fileName(`wordbrush-${params.seed}${i > 0 ? `-${i + 1}` : ''}.png`);
    const save = () => this.dispatchEvent(new CustomEvent('save', { detail: { png: images[i].png, name }, cancelable: true }));
    Object.assign(link, { href: this.#urls[i], download: name, hidden: false, onclick: save });
  }
}
customElements.define('picture-frame', PictureFrame);
