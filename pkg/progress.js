import { Rate } from './store/rate.js';

// Progress as the page is told of it: each phase has a speed of its own. A note says something by the way and leaves the rest as
// it was. `files` are those that are loaded.
export function withRate(onProgress, [{ name, stored }]) {
  let rate = null;
  const file = name ?? stored;
  let last = { phase: 'open', loaded: 0, total: 0, bytesPerSecond: null, etaSeconds: null, file, fromCache: false };
  return (event) => {
    if (event.note) return onProgress?.({ ...last, note: event.note });
    // What it needs is known while the rest still comes.
    if (event.needs) return onProgress?.({ ...last, ...event, bytesPerSecond: null, etaSeconds: null });
    if (event.phase !== last.phase || !rate) rate = new Rate();
    last = { ...last, ...event, ...rate.at(event.loaded, event.total) };
    onProgress?.(last);
  };
}
