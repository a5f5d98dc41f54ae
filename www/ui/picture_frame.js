// <picture-frame>: the newest pictures, what they were made from, and their downloads; before that, previews. The first is the
// large one. A download fires "save" with {png, name}; who does it otherwise cancels the event.

import { element } from './dom.js';
import { duration, fileName } from './format.js';

class PictureFrame extends HTMLElement {
  #urls = [];

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
    const old = this.#urls;
    this.#urls = images.map(({ png }) => URL.createObjectURL(png));
    const [{ params }] = images;
    this.#fill(this.querySelector('figure img'), this.querySelector('a'), images, 0);
    this.#reveal(this.querySelector('figure img'));
    const made = images.length > 1 ? `${images.length} pictures made` : 'made';
    this.querySelector('figcaption').textContent =
      `${params.width}×${params.height}, ${params.steps} ${params.steps === 1 ? 'step' : 'steps'}, CFG ${params.cfg}, ${params.sampler}, ${params.scheduler}, ` +
      `seed ${params.seed}, ${made} in ${duration(seconds)}`;
    this.querySelector('.others').replaceChildren(...images.slice(1).map((_, i) => {
      const picture = element('img');
      const link = element('a', { className: 'button', textContent: `Download picture ${i + 2}` });
      this.#fill(picture, link, images, i + 1);
      return element('figure', {}, picture, link);
    }));
    for (const url of old) URL.revokeObjectURL(url);
  }

  #fill(picture, link, images, i) {
    const { params } = images[i];
    const which = images.length > 1 ? ` ${i + 1} of ${images.length}` : '';
    Object.assign(picture, { src: this.#urls[i], width: params.width, height: params.height, hidden: false });
    picture.alt = `Generated picture${which}: ${params.prompt || 'no prompt'}`;
    const name = fileName(`wordbrush-${params.seed}${i > 0 ? `-${i + 1}` : ''}.png`);
    const save = () => this.dispatchEvent(new CustomEvent('save', { detail: { png: images[i].png, name }, cancelable: true }));
    Object.assign(link, { href: this.#urls[i], download: name, hidden: false, onclick: save });
  }
}
customElements.define('picture-frame', PictureFrame);
