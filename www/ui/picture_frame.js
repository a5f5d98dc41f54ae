// <picture-frame>: the newest picture, what it was made from, and its download.

import { duration, fileName } from './format.js';

class PictureFrame extends HTMLElement {
  #url = null;

  show({ png, params, seconds }) {
    const old = this.#url;
    this.#url = URL.createObjectURL(png);
    const picture = this.querySelector('img');
    picture.src = this.#url;
    picture.width = params.width;
    picture.height = params.height;
    picture.alt = `Generated picture: ${params.prompt || 'no prompt'}`;
    picture.hidden = false;
    this.querySelector('.empty').hidden = true;
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
