// <picture-frame>: the newest picture, what it was made from, and its download; before that, previews of it.

import { duration, fileName } from './format.js';

class PictureFrame extends HTMLElement {
  #url = null;

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
    this.#reveal(this.querySelector(this.#url ? 'img' : '.empty'));
  }

  #reveal(wanted) {
    for (const element of this.querySelectorAll('figure > :not(figcaption)')) element.hidden = element !== wanted;
  }

  show({ png, params, seconds }) {
    const old = this.#url;
    this.#url = URL.createObjectURL(png);
    const picture = this.querySelector('img');
    picture.src = this.#url;
    picture.width = params.width;
    picture.height = params.height;
    picture.alt = `Generated picture: ${params.prompt || 'no prompt'}`;
    this.#reveal(picture);
    this.querySelector('figcaption').textContent =
      `${params.width}×${params.height}, ${params.steps} ${params.steps === 1 ? 'step' : 'steps'}, CFG ${params.cfg}, ${params.sampler}, ${params.scheduler}, ` +
      `seed ${params.seed}, made in ${duration(seconds)}`;
    const link = this.querySelector('a');
    link.href = this.#url;
    link.download = fileName(`wordbrush-${params.seed}.png`);
    link.hidden = false;
    if (old) URL.revokeObjectURL(old);
  }
}
customElements.define('picture-frame', PictureFrame);
