// Bytes per second over about the last five seconds, and the time left once that has settled.

const WINDOW = 5000;
const SETTLES = 3000;

export class Rate {
  #now;
  #started;
  #samples = [];

  constructor(now = () => performance.now()) {
    this.#now = now;
    this.#started = now();
  }

  at(loaded, total) {
    const now = this.#now();
    // Another count begins (the download is over, the upload goes on), or the same again from the start.
    if (this.#samples.at(-1)?.loaded > loaded) this.#restart(now);
    this.#samples.push({ now, loaded });
    while (this.#samples.length > 2 && now - this.#samples[0].now > WINDOW) this.#samples.shift();
    const first = this.#samples[0];
    const bytesPerSecond = now > first.now ? ((loaded - first.loaded) * 1000) / (now - first.now) : null;
    const settled = bytesPerSecond > 0 && now - this.#started > SETTLES;
    return { bytesPerSecond, etaSeconds: settled ? (total - loaded) / bytesPerSecond : null };
  }

  #restart(now) {
    this.#samples = [];
    this.#started = now;
  }
}
