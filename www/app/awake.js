// A phone whose screen goes dark stops the page: it stays on while something is made or loaded.

export async function awake(work) {
  const lock = navigator.wakeLock?.request('screen').catch(() => null); // Hidden pages and low batteries get none.
  try {
    return await work();
  } finally {
    lock?.then((granted) => granted?.release());
  }
}
