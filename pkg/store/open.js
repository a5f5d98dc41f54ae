// Opening a model from an address or from the store, whatever of it is there already.

import { Blocks, whyNotStored } from './blocks.js';
import { Changed, Download, FileBytes, failure } from './download.js';
import { Place, StorageFull, folder, lock, readManifest } from './folder.js';
import { create, isComplete, keyOf, lengthOf, missing, sha256, startOf, stored } from './manifest.js';

// Whether these are the first bytes of a safetensors file: only such files are kept.
const LONGEST_HEADER = 100_000_000n;
const BRACE = 0x7b;

// How often a tab that waits for another looks how far it is.
const LOOK = 500;

// `tell` is {progress(loaded, total), waiting(loaded, total), note(sentence), signal}, the signal that it is to be stopped. Without `store` nothing is looked for in the store
// nor kept there; `block` is the size of what is fetched at once then.
export async function openUrl({ url, name }, { kind, store, tell, block }) {
  if (!store) return openUnstored({ url, name, kind, tell, block });
  let directory;
  let key;
  try {
    directory = await folder();
    key = await keyOf(url);
  } catch (error) {
    tell.note((await whyNotStored(error, { name })).message);
    return openUnstored({ url, name, kind, tell });
  }
  for (;;) {
    const whole = await openWhole(directory, key, tell);
    if (whole) return whole;
    const release = await lock(key, { ifAvailable: true }) ?? await waitFor(directory, key, tell);
    const manifest = await readManifest(directory, key);
    if (manifest && isComplete(manifest)) release();
    else return openPart({ directory, key, url, name, kind, manifest, release, tell });
  }
}

export async function openStored(key, { tell }) {
  const directory = await folder();
  const manifest = await readManifest(directory, key);
  if (!manifest) throw failure('READ', 'This model is not in this browser’s storage any more: the browser or another tab has deleted it. Open it from where it came.');
  if (manifest.url) return openUrl(manifest, { kind: manifest.kind, store: true, tell });
  const whole = await openWhole(directory, key, tell);
  if (whole) return whole;
  throw failure('READ', `${manifest.name} is in this browser’s storage only in part: delete it there, and choose the file again.`);
}

// Copies a file into the store.
export async function keepFile(file, { kind, tell }) {
  const directory = await folder();
  const key = await keyOf(`file ${file.name} ${file.size} ${file.lastModified}`);
  const release = await lock(key, { signal: tell.signal });
  const source = new FileBytes(file);
  const before = await readManifest(directory, key);
  const manifest = before ?? create({ name: file.name, size: file.size, kind });
  const place = await Place.writing(directory, key, release);
  const first = missing(manifest);
  const stream = first === null ? null : { first, pieces: source.from(startOf(manifest, first)) };
  return { key, blocks: new Blocks({ manifest, source, place, tell, stream }) };
}

async function openWhole(directory, key, tell) {
  if (!isWhole(await readManifest(directory, key))) return null;
  const release = await lock(key, { mode: 'shared', signal: tell.signal });
  const manifest = await readManifest(directory, key);
  try {
    if (isWhole(manifest)) {
      const place = await Place.reading(directory, key, release);
      return new Blocks({ manifest, source: manifest.url && new Download(manifest.url, marksOf(manifest, tell)), place, tell });
    }
  } catch {
    // The bytes are gone: the manifest alone is worth nothing.
    await directory.removeEntry(`${key}.json`).catch(() => {});
  }
  release();
  return null;
}

const isWhole = (manifest) => manifest !== null && isComplete(manifest);

const tries = ({ note, signal }) => ({ signal, onTry: (why, wait) => note(`${why[0].toUpperCase()}${why.slice(1)}: trying again in ${Math.ceil(wait / 1000)} s.`) });

function marksOf({ size, etag, lastModified }, tell) {
  return { known: { size, etag, lastModified }, ...tries(tell) };
}

async function waitFor(directory, key, tell) {
  const look = async () => {
    const manifest = await readManifest(directory, key);
    tell.waiting(manifest ? stored(manifest) : 0, manifest?.size ?? 0);
  };
  await look();
  const looking = setInterval(look, LOOK);
  try {
    return await lock(key, { signal: tell.signal });
  } finally {
    clearInterval(looking);
  }
}

async function openUnstored({ url, name, kind, tell, block }) {
  const source = new Download(url, tries(tell));
  const pieces = await begun(source, 0);
  return new Blocks({ manifest: manifestOf(source, { name, kind, block }), source, place: null, tell, stream: { first: 0, pieces } });
}

function manifestOf({ url, size, etag, lastModified }, about) {
  return create({ url, size, etag, lastModified, ...about });
}

// Goes on with a download that was begun, or begins it; the lock is held.
async function openPart({ directory, key, url, name, kind, manifest, release, tell }) {
  let place;
  try {
    place = await Place.writing(directory, key, release);
  } catch (error) {
    release();
    tell.note((await whyNotStored(error, { name })).message);
    return openUnstored({ url, name, kind, tell });
  }
  try {
    return (manifest && await goOn(manifest, { place, tell })) ?? await begin({ url, name, kind, place, tell });
  } catch (error) {
    if (manifest && stored(manifest) > 0) place.close();
    else await place.discard();
    throw error;
  }
}

// null where the file on the server is another one by now.
async function goOn(manifest, { place, tell }) {
  const source = new Download(manifest.url, marksOf(manifest, tell));
  const first = missing(manifest);
  // A server that shows no marks may have changed the file unseen: then the block before must be the same still.
  const again = first > 0 && manifest.blocks[first - 1] !== null && !manifest.etag && !manifest.lastModified;
  try {
    const pieces = await begun(source, startOf(manifest, again ? first - 1 : first));
    const rest = again ? await behindSame(pieces, manifest, first - 1) : pieces;
    return new Blocks({ manifest, source, place, tell, stream: { first, pieces: rest } });
  } catch (error) {
    source.stop();
    if (!(error instanceof Changed)) throw error;
    tell.note(`${error.message}: the download begins anew.`);
    place.empty();
    return null;
  }
}

async function begin({ url, name, kind, place, tell }) {
  const source = new Download(url, tries(tell));
  const pieces = await begun(source, 0);
  const manifest = manifestOf(source, { name, kind });
  const full = await lacksRoom(manifest);
  if (!full && pieces.looksRight) return new Blocks({ manifest, source, place, tell, stream: { first: 0, pieces } });
  await place.discard();
  // What is no safetensors file is the engine's to refuse.
  if (full) tell.note((await whyNotStored(new StorageFull(), manifest)).message);
  return new Blocks({ manifest, source, place: null, tell, stream: { first: 0, pieces } });
}

async function lacksRoom({ size }) {
  const { usage = 0, quota } = await navigator.storage.estimate().catch(() => ({}));
  return quota !== undefined && quota - usage < size;
}

// The pieces of a transfer, of which the first has come: its server has been heard.
async function begun(source, offset) {
  const pieces = source.from(offset);
  const { value, done } = await pieces.next();
  return Object.assign(following(done ? [] : [value], pieces), { looksRight: !done && isSafetensors(value) });
}

async function* following(first, pieces) {
  try {
    yield* first;
    yield* pieces;
  } finally {
    await pieces.return();
  }
}

// The pieces behind block `i`, which must be what it was.
async function behindSame(pieces, manifest, i) {
  const block = new Uint8Array(lengthOf(manifest, i));
  for (let filled = 0; ;) {
    const { value, done } = await pieces.next();
    if (done) throw failure('READ', `${manifest.url} ended early.`);
    const part = value.subarray(0, block.length - filled);
    block.set(part, filled);
    filled += part.length;
    if (filled < block.length) continue;
    if (await sha256(block) !== manifest.blocks[i]) throw new Changed(`${manifest.url} has other bytes than before`);
    return following([value.subarray(part.length)].filter(({ length }) => length), pieces);
  }
}

function isSafetensors(bytes) {
  if (bytes.length < 9) return false;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  return length <= LONGEST_HEADER && bytes[8] === BRACE;
}
