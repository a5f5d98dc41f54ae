// What is made, one after the other: pictures and series of them. Each is a function of an AbortSignal.

import { awake } from './awake.js';
import { app, form, messages } from './state.js';

const waiting = [];

export async function enqueue(work) {
  waiting.push(work);
  form.waiting = waiting.length;
  if (app.making) return;
  while (waiting.length > 0) {
    const next = waiting.shift();
    app.making = new AbortController();
    form.running = true;
    form.waiting = waiting.length;
    // What fails must not hold up what waits.
    await awake(() => next(app.making.signal)).catch((error) => messages.show('picture', error));
  }
  app.making = null;
  form.running = false;
}

export function emptyQueue() {
  waiting.length = 0;
  form.waiting = 0;
}
