// What browsers and Node.js do each in their own way; node.js puts its own in these places.

export const platform = {
  // Bundlers look for exactly this expression.
  startWorker: () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'wordbrush' }),
  later: (work, milliseconds) => setTimeout(work, milliseconds),
};
