// One picture in the making: awaiting it gives the result, iterating over it gives the events.

import { defaults, defined } from './options.js';
import { bitmapOf, imageDataOf } from './pictures.js';
import { readRecipe, recipeText } from './recipes.js';

export class Generation {
  #events = [];
  #newest = null; // {at, seen}: the event that holds the newest preview, and what tells the worker that it was looked at
  #settled = null;
  #wake = [];
  #own = new AbortController();
  #result;

  // `start` takes {signal, onEvent}.
  constructor(options, given, start) {
    const signal = given ? AbortSignal.any([given, this.#own.signal]) : this.#own.signal;
    const onEvent = (event, seen) => this.#push(event.preview ? this.#previewed(event, seen) : event);
    this.#result = start({ signal, onEvent }).then(({ images: made, params, warnings, seconds, profile }) => {
      const images = made.map(({ png, seeds }) => {
        const blob = new Blob([png], { type: 'image/png' });
        const infotext = async () => recipeText(await readRecipe(blob));
        return { png: blob, image: () => bitmapOf(blob), infotext, params: { ...defaults, ...options, ...params, ...defined(seeds) } };
      });
      const result = { ...images[0], images, warnings, seconds, ...defined({ profile }) };
      this.#settled = { error: null };
      this.#push({ type: 'done', result });
      return result;
    });
    // Whoever only iterates meets the error there; it must not also count as an unhandled rejection.
    this.#result.catch((error) => {
      this.#settled = { thrown: true, error };
      this.#push(null);
    });
  }

  // Of all events only the newest preview is kept.
  #previewed(event, seen) {
    if (this.#newest) {
      const { preview, ...rest } = this.#events[this.#newest.at];
      this.#events[this.#newest.at] = rest;
    }
    this.#newest = { at: this.#events.length, seen };
    return { ...event, preview: imageDataOf(event.preview) };
  }

  #take(at) {
    if (at === this.#newest?.at) this.#newest.seen();
    return this.#events[at];
  }

  #push(event) {
    if (event) this.#events.push(event);
    for (const wake of this.#wake.splice(0)) wake();
  }

  abort(reason) { this.#own.abort(reason); }
  then(fulfilled, rejected) { return this.#result.then(fulfilled, rejected); }
  catch(rejected) { return this.#result.catch(rejected); }
  finally(settled) { return this.#result.finally(settled); }

  async *[Symbol.asyncIterator]() {
    for (let next = 0; ;) {
      if (next < this.#events.length) yield this.#take(next++);
      else if (this.#settled?.thrown) throw this.#settled.error;
      else if (this.#settled) return;
      else await new Promise((resolve) => { this.#wake.push(resolve); });
    }
  }
}
