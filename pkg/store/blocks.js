// A file as blocks that are there, or on their way: from the store, from the network into the store, or, where nothing can be
// stored, from the network alone. The engine reads it while it comes.

import { Changed, failure } from './download.js';
import { StorageFull } from './folder.js';
import { isComplete, lengthOf, missing, sha256, startOf, stored } from './manifest.js';

// Blocks in memory: of a file that is stored the newest; of one that is not, its header and what was not asked for yet.
const NEWEST = 3;
const HEAD = 2;
const AHEAD = 2;
// A connection that nobody wants anything from is given up.
const IDLE = 20_000;

export class Blocks {
  #manifest;
  #source; // where missing blocks come from: {from(offset), stop()}
  #place; // the file in the store, or null
  #storing;
  #tell; // {progress(loaded, total), note(sentence)}
  #memory = new Map();
  #verified = new Set();
  #wanted = 0;
  #arrived;
  #waiting = [];
  #failure = null;
  #closed = false;
  #pumping = null;
  #notStored = null; // why not

  // `stream` is a transfer that has begun already: {first: a block, pieces: the bytes from its start on}.
  constructor({ manifest, source, place, tell, stream = null }) {
    this.#manifest = manifest;
    this.#source = source;
    this.#place = place;
    this.#storing = place?.isWriting ?? false;
    this.#tell = tell;
    this.#arrived = stored(manifest);
    if (stream) this.#pump(stream);
  }

  get name() { return this.#manifest.name; }
  get size() { return this.#manifest.size; }
  get url() { return this.#manifest.url; }
  // In the store as a whole, or still on its way there.
  get isStored() { return this.#place !== null && this.#notStored === null; }
  get isArriving() { return this.#pumping !== null && this.#arrived < this.size; }

  async read(offset, length) {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const i = Math.floor((offset + at) / this.#manifest.block);
      const block = await this.#get(i);
      const from = offset + at - startOf(this.#manifest, i);
      const part = block.subarray(from, from + length - at);
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  // Resolves when all of it is in the store, rejects where that is not possible.
  async whenStored() {
    while (this.#pumping && this.#storing) await this.#change();
    if (this.#failure) throw this.#failure;
    if (this.#notStored) throw this.#notStored;
  }

  // The engine has what it wants: others may delete the file from the store. A part that can never be whole is deleted here.
  async settle() {
    this.#memory.clear();
    if (!this.#notStored) return this.#place?.unlock();
    const place = this.#place;
    this.#place = null;
    await place?.discard();
  }

  // With `discard` nothing of it stays in the store.
  async close({ discard = false } = {}) {
    this.#closed = true;
    this.#failure ??= failure('ABORTED', 'Stopped.');
    this.#source?.stop();
    this.#wake();
    await this.#pumping;
    const place = this.#place;
    this.#place = null;
    if (discard || this.#notStored) await place?.discard();
    else place?.close();
  }

  async #get(i) {
    this.#wanted = i;
    this.#wake();
    for (;;) {
      const there = this.#memory.get(i) ?? await this.#fromStore(i);
      if (there) return there;
      if (this.#failure) throw this.#failure;
      if (!this.#pumping) this.#pump();
      // It may have come while the store was looked into.
      if (!this.#memory.has(i) && !(this.#place && this.#manifest.blocks[i])) await this.#change();
    }
  }

  // A block of the store, once it is seen to be what was stored.
  async #fromStore(i) {
    const hash = this.#manifest.blocks[i];
    if (!this.#place || hash === null) return null;
    const bytes = await this.#place.read(startOf(this.#manifest, i), lengthOf(this.#manifest, i)).catch(() => new Uint8Array());
    if (bytes.length === lengthOf(this.#manifest, i) && (this.#verified.has(i) || await sha256(bytes) === hash)) {
      this.#verified.add(i);
      this.#remember(i, bytes);
      return bytes;
    }
    await this.#damaged(i);
    return null;
  }

  async #damaged(i) {
    const { name, url, blocks } = this.#manifest;
    const what = `Block ${i + 1} of ${blocks.length} of ${name} in this browser’s storage is damaged or gone`;
    if (!url) throw failure('READ', `${what} (its SHA-256 is not what was stored). Delete it there, and choose the file again.`);
    blocks[i] = null;
    this.#arrived = stored(this.#manifest);
    this.#tell.note(`${what}: it is fetched again.`);
    try {
      if (!this.#place.isWriting) await this.#place.toWriting();
      await this.#place.save(this.#manifest);
      this.#storing = true;
    } catch {
      // The rest of the file can still be read, or is fetched as well.
      this.#storing = false;
    }
  }

  #remember(i, bytes) {
    this.#memory.set(i, bytes);
    const old = [...this.#memory.keys()].filter((key) => key !== i);
    const unneeded = this.#storing || !this.#pumping ? old.slice(0, Math.max(0, old.length + 1 - NEWEST))
      : old.filter((key) => key >= HEAD && key < this.#wanted);
    for (const key of unneeded) this.#memory.delete(key);
  }

  #pump(stream = null) {
    this.#pumping = this.#fetchAll(stream).catch((error) => {
      if (!this.#closed) this.#fail(error);
    }).finally(() => {
      this.#pumping = null;
      this.#wake();
    });
  }

  #fail(error) {
    if (!(error instanceof Changed)) {
      this.#failure = error;
      return;
    }
    // What came so far and what would come are not one file.
    this.#notStored = this.#failure = failure('READ', `${error.message}: the file on the server was changed while it was loaded. Load it again, from the start.`);
  }

  async #fetchAll(stream) {
    if (stream) await this.#fetch(stream.first, stream.pieces);
    for (let i; (i = await this.#next()) !== null;) await this.#fetch(i, this.#source.from(startOf(this.#manifest, i)));
    if (this.#storing && isComplete(this.#manifest)) await this.#place.toReading().catch(() => {});
  }

  // Blocks from the `first` on, as long as the next one is the one that is missing.
  async #fetch(first, pieces) {
    let i = first;
    let block = new Uint8Array(lengthOf(this.#manifest, i));
    let filled = 0;
    for await (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        const part = piece.subarray(at, at + block.length - filled);
        block.set(part, filled);
        filled += part.length;
        at += part.length;
        this.#arrived = Math.min(this.size, this.#arrived + part.length);
        this.#tell.progress(this.#arrived, this.size);
        if (filled < block.length) continue;
        await this.#take(i, block);
        if (await this.#next() !== i + 1) return;
        i += 1;
        block = new Uint8Array(lengthOf(this.#manifest, i));
        filled = 0;
      }
    }
  }

  async #take(i, bytes) {
    if (this.#storing) await this.#keep(i, bytes);
    this.#remember(i, bytes);
    this.#wake();
  }

  async #keep(i, bytes) {
    try {
      const hashing = sha256(bytes);
      this.#place.write(startOf(this.#manifest, i), bytes);
      this.#manifest.blocks[i] = await hashing;
      this.#verified.add(i);
      await this.#place.save(this.#manifest);
    } catch (error) {
      this.#manifest.blocks[i] = null;
      this.#storing = false;
      this.#notStored = await whyNotStored(error, this.#manifest);
      this.#tell.note(this.#notStored.message);
    }
  }

  // The block to fetch now; null when there is none left. What is not stored comes only as far as it is wanted.
  async #next() {
    for (;;) {
      if (this.#closed) return null;
      if (this.#storing) return missing(this.#manifest);
      for (let i = this.#wanted; i <= this.#wanted + AHEAD && i < this.#manifest.blocks.length; i += 1) {
        if (!this.#memory.has(i) && (!this.#place || this.#manifest.blocks[i] === null)) return i;
      }
      if (await this.#change(IDLE) === 'idle') return null;
    }
  }

  // The next time that anything is different.
  #change(limit) {
    return new Promise((resolve) => {
      const timer = limit && setTimeout(resolve, limit, 'idle');
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake() {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

export async function whyNotStored(error, { name, size: needed }) {
  if (error instanceof StorageFull) {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate().catch(() => ({}));
    return failure('STORAGE_FULL', `${name} (${size(needed)}) is not kept: this browser’s storage has no room for it, ${size(usage)} of ${size(quota)} are in use.`);
  }
  return failure('NO_STORAGE', `${name} is not kept in this browser’s storage: ${error.message}.`);
}

const size = (bytes) => (bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`);
