// What is known of a file in the store: where it came from, and the SHA-256 of every block that is there.

export const VERSION = 1;
export const BLOCK = 8 * 1024 * 1024;
const MOST_BLOCKS = 1_000_000;

// `url`, `etag` and `lastModified` are null where there are none: a file that was dropped comes from nowhere.
export function create({ name, size, kind = 'model', url = null, etag = null, lastModified = null, block = BLOCK }) {
  return { version: VERSION, name, kind, url, size, etag, lastModified, block, blocks: Array(Math.ceil(size / block)).fill(null) };
}

// null for what is damaged, or was written by another version: its file counts as not there.
export function parse(text) {
  let manifest;
  try {
    manifest = JSON.parse(text);
  } catch {
    return null;
  }
  const isText = (value) => value === null || typeof value === 'string';
  const isCount = (value) => Number.isSafeInteger(value) && value > 0;
  if (typeof manifest !== 'object' || manifest?.version !== VERSION) return null;
  const { name, kind, url, size, etag, lastModified, block, blocks } = manifest;
  if (typeof name !== 'string' || !['model', 'vae'].includes(kind) || ![url, etag, lastModified].every(isText)) return null;
  if (!isCount(size) || !isCount(block) || !Array.isArray(blocks)) return null;
  if (blocks.length !== Math.ceil(size / block) || blocks.length > MOST_BLOCKS) return null;
  if (!blocks.every((hash) => hash === null || /^[0-9a-f]{64}$/.test(hash))) return null;
  return { version: VERSION, name, kind, url, size, etag, lastModified, block, blocks };
}

export const startOf = (manifest, i) => i * manifest.block;
export const lengthOf = (manifest, i) => Math.min(manifest.block, manifest.size - i * manifest.block);

// The first block from `from` on that is not there, or null.
export function missing(manifest, from = 0) {
  const i = manifest.blocks.indexOf(null, from);
  return i === -1 ? null : i;
}

export const isComplete = (manifest) => missing(manifest) === null;

// Bytes that are there.
export function stored(manifest) {
  return manifest.blocks.reduce((sum, hash, i) => sum + (hash === null ? 0 : lengthOf(manifest, i)), 0);
}

export async function sha256(bytes) {
  return hex(await crypto.subtle.digest('SHA-256', bytes));
}

// The name under which a file is kept: the same for the same address, whatever page asks.
export async function keyOf(text) {
  return (await sha256(new TextEncoder().encode(text))).slice(0, 32);
}

function hex(buffer) {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
