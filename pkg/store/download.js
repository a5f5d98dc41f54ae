// A file's bytes from an address: in order, from any place on, through cut connections and servers that are busy.
//
// A `range` request to another origin needs no permission of its server, any other header does: so `If-Range` goes to our own
// origin only, and elsewhere the answer's own marks are compared. Redirects are followed anew each time: a hub's links lead to
// addresses that expire.

import { TRIES, PATIENCE, pause, passes, retryAfter } from './retry.js';

// A connection that is silent for so long is given up.
const SILENCE = 30_000;

// The file is another one than it was.
export class Changed extends Error {}

// It may be tried again.
class Passing extends Error {
  constructor(message, asked = null) {
    super(message);
    this.asked = asked;
  }
}

export const failure = (code, message) => Object.assign(new Error(message), { code });

const usual = {
  fetch: (...request) => fetch(...request),
  sleep: (ms, signal) => new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener('abort', resolve);
  }),
  silence: SILENCE,
  isOnline: () => globalThis.navigator?.onLine !== false,
  origin: globalThis.location?.origin,
};

export class Download {
  size = null;
  etag = null;
  lastModified = null;
  #surroundings;
  #tried = () => {};
  #control = new AbortController();

  // `known` are the marks of a download that was begun before: {size, etag, lastModified}. `onTry` hears the reason whenever it
  // is tried again.
  constructor(url, { known = {}, onTry, signal, ...surroundings } = {}) {
    this.url = url;
    this.#surroundings = { ...usual, ...surroundings };
    if (onTry) this.#tried = onTry;
    Object.assign(this, known);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', () => this.stop());
  }

  // Ends the transfer that is under way.
  stop() {
    this.#control.abort();
  }

  // The bytes from `offset` to the end, in pieces as they come. `size` is known before the first.
  async* from(offset) {
    for (let failures = 0; ;) {
      try {
        for await (const piece of this.#once(offset)) {
          failures = 0;
          offset += piece.length;
          yield piece;
        }
        return;
      } catch (error) {
        if (!(error instanceof Passing) || this.#control.signal.aborted) throw error;
        failures += 1;
        if (failures >= TRIES) throw this.#givenUp(offset, failures, error);
        if (!this.#surroundings.isOnline()) throw failure('READ', `${this.url} cannot be fetched: this browser is offline.${this.#kept(offset)}`);
        const wait = pause(failures, error.asked);
        this.#tried(error.message, wait);
        await this.#surroundings.sleep(wait, this.#control.signal);
        this.#control.signal.throwIfAborted();
      }
    }
  }

  #givenUp(offset, failures, { message }) {
    // A browser does not tell a script why there was no answer.
    const why = this.size === null && message.startsWith('there was no answer')
      ? ' Either the address is wrong, or there is no connection, or its server does not allow this page to read it (CORS).' : '';
    const where = offset > 0 ? ` beyond byte ${offset} of ${this.size}` : '';
    return failure('READ', `${this.url} cannot be fetched${where}: ${message}, ${failures} times in a row.${why}${this.#kept(offset)}`);
  }

  #kept(offset) {
    return offset > 0 ? ' What has arrived is kept: load it again to go on from there.' : '';
  }

  // One connection.
  async* #once(offset) {
    const response = await this.#answer(offset);
    const skip = response.status === 200 ? offset : 0;
    let at = offset - skip; // where the answer's next byte lies
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await this.#heard(reader.read(), 'the connection broke off');
        if (done) break;
        if (at + value.length > this.size) {
          throw failure('READ', `${this.url} is longer than its server says: expected ${this.size} bytes, more came. Is it the file itself?`);
        }
        // A server without ranges sends once more what is there already.
        const fresh = at < offset ? value.subarray(Math.min(value.length, offset - at)) : value;
        at += value.length;
        if (fresh.length) {
          yield fresh;
          offset = Math.max(offset, at);
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
    if (at < this.size) throw new Passing('the connection ended early');
  }

  async #answer(offset) {
    const headers = { Range: `bytes=${offset}-` };
    const mark = this.etag?.startsWith('W/') ? null : this.etag ?? this.lastModified;
    if (offset > 0 && mark && new URL(this.url).origin === this.#surroundings.origin) headers['If-Range'] = mark;
    const asking = this.#surroundings.fetch(this.url, {
      headers, signal: this.#control.signal, cache: 'no-store', referrerPolicy: 'no-referrer',
    });
    const response = await this.#heard(asking, 'there was no answer');
    const { status } = response;
    if (status !== 200 && status !== 206) {
      response.body?.cancel().catch(() => {});
      this.#refuse(response, offset);
    }
    if (/^text\/html/i.test(response.headers.get('Content-Type') ?? '')) {
      response.body?.cancel().catch(() => {});
      throw failure('HTML_PAGE', `${this.url} leads to a web page${this.#where(response)}; expected the file itself. Hugging Face’s link to the file has /resolve/ in it, where that to its page has /blob/.`);
    }
    this.#compare(response, offset);
    return response;
  }

  #refuse(response, offset) {
    const { status } = response;
    const answered = `the server answered ${status}${response.statusText ? ` ${response.statusText}` : ''}${this.#where(response)}`;
    if (passes(status)) {
      const asked = retryAfter(response.headers.get('Retry-After'));
      if (asked !== null && asked > PATIENCE) {
        throw failure('READ', `${this.url} cannot be fetched now: ${answered} and asks to wait ${Math.ceil(asked / 60_000)} minutes. Try again then.`);
      }
      throw new Passing(answered, asked);
    }
    if (status === 416 && offset > 0) throw new Changed(`${this.url} is shorter than it was`);
    if (status === 416) throw this.#empty();
    const why = {
      401: ' It wants a login, which this page does not have: download the file in the browser and choose it from disk.',
      403: ' It is not for everybody (a licence to accept, a login): download the file in the browser and choose it from disk.',
      404: ' There is no such file: is the address whole, and spelt rightly?',
      410: ' The file is gone.',
    }[status] ?? '';
    throw failure('READ', `${this.url} cannot be fetched: ${answered}; expected the file.${why}`);
  }

  #empty() {
    return failure('EMPTY_FILE', `${this.url} is empty: it has 0 bytes, expected the file.`);
  }

  // Where a redirect ended.
  #where(response) {
    return response.redirected && response.url ? ` (at ${new URL(response.url).host})` : '';
  }

  // Takes the answer's marks, or finds that they are not those of before.
  #compare(response, offset) {
    const { headers, status } = response;
    const length = headers.get('Content-Length');
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('Content-Range') ?? '');
    if (status === 206 && range && Number(range[1]) !== offset) {
      throw failure('READ', `${this.url} was asked for the bytes from ${offset} on, and its server sent those from ${range[1]} on.`);
    }
    const rest = status === 206 ? offset : 0;
    const told = range && range[2] !== '*' ? Number(range[2]) : null;
    const size = told ?? (length === null ? null : rest + Number(length));
    if (size === null || !Number.isSafeInteger(size)) {
      throw failure('READ', `The server of ${this.url} does not say how large the file is: it must answer range requests and show Content-Range, or say Content-Length. Download the file and choose it from disk.`);
    }
    if (size === 0) throw this.#empty();
    const [etag, lastModified] = [headers.get('ETag'), headers.get('Last-Modified')];
    const differs = (old, now) => old !== null && now !== null && old !== now;
    if (differs(this.size, size)) throw new Changed(`${this.url} has ${size} bytes now, before it had ${this.size}`);
    if (differs(this.etag, etag)) throw new Changed(`${this.url} has another ETag than before`);
    if (this.etag === null && differs(this.lastModified, lastModified)) throw new Changed(`${this.url} was changed ${lastModified}`);
    Object.assign(this, { size, etag: etag ?? this.etag, lastModified: lastModified ?? this.lastModified });
  }

  // Waits for a promise of the network, but not forever.
  async #heard(promise, what) {
    const { silence: limit } = this.#surroundings;
    let timer;
    const silence = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Passing(`the server was silent for ${limit / 1000} seconds`)), limit);
    });
    try {
      return await Promise.race([promise, silence]);
    } catch (error) {
      if (error instanceof Passing || this.#control.signal.aborted) throw error;
      throw new Passing(`${what} (${error.message})`);
    } finally {
      clearTimeout(timer);
    }
  }
}

// The same of a File: what is dropped can be kept as well.
export class FileBytes {
  etag = null;
  lastModified = null;
  url = null;
  #stopped = false;

  constructor(file) {
    this.file = file;
    this.size = file.size;
  }

  stop() {
    this.#stopped = true;
  }

  async* from(offset) {
    for (const piece = 4 * 1024 * 1024; offset < this.size && !this.#stopped; offset += piece) {
      const bytes = await this.file.slice(offset, offset + piece).arrayBuffer().catch(() => {
        throw failure('READ', `${this.file.name} cannot be read: was it changed, moved or removed? Choose it again.`);
      });
      yield new Uint8Array(bytes);
    }
  }
}
