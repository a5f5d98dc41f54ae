// <start-picture>: a picture to start from, and a mask painted over it. `options` is what of it a generation needs.

import { words } from '../text/language.js';

class StartPicture extends HTMLElement {
  #picture = null; // the picture's bitmap
  #mask = null; // a canvas of its size: white where it is painted anew
  #painted = false;
  #last = null; // where the brush was

  connectedCallback() {
    const find = (name) => this.querySelector(`[name="${name}"]`);
    this.canvas = this.querySelector('canvas');
    this.querySelector('.choose').addEventListener('click', () => find('start-file').click());
    this.querySelector('.choose-mask').addEventListener('click', () => find('mask-file').click());
    find('start-file').addEventListener('change', ({ target }) => this.#chosen(target, (file) => this.take(file)));
    find('mask-file').addEventListener('change', ({ target }) => this.#chosen(target, (file) => this.#takeMask(file)));
    this.querySelector('.clear-mask').addEventListener('click', () => this.#clearMask());
    this.querySelector('.remove').addEventListener('click', () => this.forget());
    this.canvas.addEventListener('pointerdown', (event) => this.#paint(event, true));
    this.canvas.addEventListener('pointermove', (event) => this.#paint(event, false));
    for (const type of ['pointerup', 'pointercancel']) this.canvas.addEventListener(type, () => { this.#last = null; });
  }

  async #chosen(input, taken) {
    const [file] = input.files;
    input.value = ''; // The same file may be chosen again.
    if (!file) return;
    try {
      await taken(file);
    } catch {
      const message = words.start.unreadable(file.name);
      this.dispatchEvent(new CustomEvent('refused', { detail: { message } }));
    }
  }

  // Starts from a picture; the mask of another is gone.
  async take(source) {
    const picture = await createImageBitmap(source);
    this.#picture = picture; // The old one stays open: what waits for its turn may start from it.
    this.#mask = new OffscreenCanvas(picture.width, picture.height);
    Object.assign(this.canvas, { width: picture.width, height: picture.height });
    this.#clearMask();
    this.#show(true);
    this.dispatchEvent(new CustomEvent('taken', { detail: { width: picture.width, height: picture.height } }));
  }

  forget() {
    this.#picture = null;
    this.#show(false);
  }

  // The mask as it is now, whatever is painted later.
  get options() {
    if (!this.#picture) return {};
    const value = (name) => this.querySelector(`[name="${name}"]`).value;
    const start = { image: this.#picture, denoise: Number(value('denoise') || NaN) };
    if (!this.#painted) return start;
    const mask = new OffscreenCanvas(this.#mask.width, this.#mask.height);
    mask.getContext('2d').drawImage(this.#mask, 0, 0);
    const maskBlur = value('maskBlur') === '' ? undefined : Number(value('maskBlur'));
    const maskedPadding = value('maskedPadding') === '' ? undefined : Number(value('maskedPadding'));
    return { ...start, mask, maskBlur, maskedContent: value('maskedContent'), maskedPadding };
  }

  // Sets the fields; what a recipe does not say is as usual.
  fill({ denoise, maskBlur = '', maskedContent = 'original', maskedPadding = '' }) {
    for (const [name, value] of Object.entries({ denoise, maskBlur, maskedContent, maskedPadding })) this.querySelector(`[name="${name}"]`).value = value;
  }

  #show(there) {
    for (const part of this.querySelectorAll('.with-picture')) part.hidden = !there;
    this.querySelector('.none').hidden = there;
  }

  #clearMask() {
    const context = this.#mask.getContext('2d');
    context.fillStyle = 'black';
    context.fillRect(0, 0, this.#mask.width, this.#mask.height);
    this.#painted = false;
    this.#draw();
  }

  async #takeMask(file) {
    const mask = await createImageBitmap(file);
    this.#mask.getContext('2d').drawImage(mask, 0, 0, this.#mask.width, this.#mask.height);
    mask.close();
    this.#painted = true;
    this.#draw();
  }

  // Dabs along the way of the pointer, in the picture's own pixels.
  #paint(event, begins) {
    if (begins) this.canvas.setPointerCapture(event.pointerId);
    else if (!this.#last) return;
    const shown = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / shown.width;
    const at = [(event.clientX - shown.left) * scale, (event.clientY - shown.top) * scale];
    const context = this.#mask.getContext('2d');
    Object.assign(context, { strokeStyle: 'white', lineCap: 'round', lineWidth: this.#brush });
    context.beginPath();
    context.moveTo(...(this.#last ?? at));
    context.lineTo(...at);
    context.stroke();
    this.#last = at;
    this.#painted = true;
    this.#draw();
  }

  // Percent of the picture's shorter side.
  get #brush() {
    return (Number(this.querySelector('[name="brush"]').value) / 100) * Math.min(this.canvas.width, this.canvas.height);
  }

  // What is painted anew is tinted.
  #draw() {
    const context = this.canvas.getContext('2d');
    context.globalCompositeOperation = 'source-over';
    context.drawImage(this.#picture, 0, 0);
    if (!this.#painted) return;
    const tint = new OffscreenCanvas(this.#mask.width, this.#mask.height);
    const colour = tint.getContext('2d');
    colour.drawImage(this.#mask, 0, 0);
    colour.globalCompositeOperation = 'multiply';
    colour.fillStyle = '#5546cf';
    colour.fillRect(0, 0, tint.width, tint.height);
    context.globalCompositeOperation = 'screen';
    context.drawImage(tint, 0, 0);
  }
}
customElements.define('start-picture', StartPicture);
