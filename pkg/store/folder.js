// The store in the browser's own file system (OPFS): for each file its bytes (KEY.bin) and its manifest (KEY.json). A file
// without a whole manifest is a part of one. Who writes a file holds its lock alone, who reads it shares the lock.

import { isComplete, parse, stored } from './manifest.js';
import { failure } from './download.js';

const FOLDER = 'wordbrush-models';
// A worker that was ended a moment ago may still hold its file.
const GRACE = 3000;

export class StorageFull extends Error {}

export async function folder() {
  if (!navigator.storage?.getDirectory || !navigator.locks || !globalThis.crypto?.subtle) {
    throw failure('NO_STORAGE', 'this browser offers no storage to this page');
  }
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

// Resolves with a function that gives the lock back; with null where `ifAvailable` finds it taken.
export function lock(key, options = {}) {
  return new Promise((resolve, reject) => {
    navigator.locks.request(`wordbrush-model ${key}`, options, (held) => {
      if (!held) return resolve(null);
      return new Promise((release) => { resolve(release); });
    }).catch(reject);
  });
}

// null where there is none that can be read.
export async function readManifest(directory, key) {
  try {
    return parse(await (await (await directory.getFileHandle(`${key}.json`)).getFile()).text());
  } catch {
    return null;
  }
}

// All that is stored, whole or in part, the newest first. What belongs to nothing is taken away.
export async function list() {
  const directory = await folder();
  const models = [];
  for await (const [file, handle] of directory.entries()) {
    const key = file.replace(/\.(bin|json)$/, '');
    const manifest = await readManifest(directory, key);
    if (!manifest) await clear(directory, key);
    if (!manifest || !file.endsWith('.json')) continue;
    const { name, kind, url, size } = manifest;
    const { lastModified } = await handle.getFile();
    models.push({ key, name, kind, url, size, stored: stored(manifest), complete: isComplete(manifest), lastModified });
  }
  return models.sort((a, b) => b.lastModified - a.lastModified);
}

async function clear(directory, key) {
  const release = await lock(key, { ifAvailable: true });
  if (!release) return;
  if (!await readManifest(directory, key)) await removeFiles(directory, key);
  release();
}

export async function remove(key) {
  if (!/^[0-9a-f]{32}$/.test(key)) throw failure('BAD_OPTION', `${key} is not the key of a stored model.`);
  const directory = await folder();
  const release = await lock(key, { signal: AbortSignal.timeout(GRACE) }).catch(() => {
    throw failure('BUSY', 'This model is being downloaded or loaded, perhaps in another tab: stop that first.');
  });
  try {
    await removeFiles(directory, key);
  } finally {
    release();
  }
}

async function removeFiles(directory, key) {
  for (const file of [`${key}.json`, `${key}.bin`]) {
    await patiently(() => directory.removeEntry(file)).catch((error) => {
      if (error.name !== 'NotFoundError') throw error;
    });
  }
}

async function patiently(work) {
  for (const began = performance.now(); ;) {
    try {
      return await work();
    } catch (error) {
      if (error.name !== 'NoModificationAllowedError' || performance.now() - began > GRACE) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }
}

// One file of the store, open. Whoever opens it gives it the lock that it holds.
export class Place {
  #directory;
  #key;
  #release;
  #handle = null; // while it is written
  #file = null; // while it is only read
  #turning = Promise.resolve(); // settles when the one has become the other

  constructor(directory, key, release) {
    this.#directory = directory;
    this.#key = key;
    this.#release = release;
  }

  static async reading(directory, key, release) {
    const place = new Place(directory, key, release);
    place.#file = await (await directory.getFileHandle(`${key}.bin`)).getFile();
    return place;
  }

  static async writing(directory, key, release) {
    const place = new Place(directory, key, release);
    await place.#openHandle();
    return place;
  }

  async #openHandle() {
    const entry = await this.#directory.getFileHandle(`${this.#key}.bin`, { create: true });
    this.#handle = await patiently(() => entry.createSyncAccessHandle());
    this.#file = null;
  }

  get isWriting() { return this.#handle !== null; }

  async read(at, length) {
    await this.#turning;
    if (!this.#handle) return new Uint8Array(await this.#file.slice(at, at + length).arrayBuffer());
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, this.#handle.read(bytes, { at }));
  }

  // Where there is no more room some browsers throw; Chromium says that it wrote another number of bytes.
  write(at, bytes) {
    let written;
    try {
      written = this.#handle.write(bytes, { at });
      this.#handle.flush();
    } catch (error) {
      if (error.name === 'QuotaExceededError') throw new StorageFull();
      throw error;
    }
    if (written !== bytes.length) throw new StorageFull();
  }

  empty() {
    this.#handle.truncate(0);
  }

  // The old manifest stays until the new one is whole.
  async save(manifest) {
    let writer;
    try {
      writer = await (await this.#directory.getFileHandle(`${this.#key}.json`, { create: true })).createWritable();
      await writer.write(JSON.stringify(manifest));
      await writer.close();
    } catch (error) {
      await writer?.abort().catch(() => {});
      if (error.name === 'QuotaExceededError') throw new StorageFull();
      throw error;
    }
  }

  // From now on it is only read, by others too.
  toReading() {
    this.#turning = this.#toReading();
    return this.#turning;
  }

  async #toReading() {
    this.#handle.close();
    this.#handle = null;
    this.#file = await (await this.#directory.getFileHandle(`${this.#key}.bin`)).getFile();
    this.#release();
    this.#release = await lock(this.#key, { mode: 'shared' });
  }

  async toWriting() {
    this.#release();
    this.#release = await lock(this.#key);
    await this.#openHandle();
  }

  // Others may delete it now; until they do it can be read.
  unlock() {
    this.#release();
    this.#release = () => {};
  }

  close() {
    this.#handle?.close();
    this.#handle = null;
    this.unlock();
  }

  async discard() {
    this.#handle?.close();
    this.#handle = null;
    await removeFiles(this.#directory, this.#key).catch(() => {}); // The store's next list takes it away.
    this.unlock();
  }
}
