// What browsers and Node.js do each in their own way; node.js puts its own in these places.

export const platform = {
  // A page may have its own copy of worker.js. Bundlers look for exactly the last expression.
  startWorker: (script) => (script
    ? new Worker(script, { type: 'module', name: 'wordbrush' })
    : new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'wordbrush' })),
  later: (work, milliseconds) => setTimeout(work, milliseconds),
};
