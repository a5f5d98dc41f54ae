// Embedding files kept in the browser's own storage (OPFS) between visits.
// Each is one file: a line of JSON {name, names, folder, size}, the embedding's `size` bytes, then those of its preview picture.
// Its key is the hash of name and bytes.

import { words } from '../text/language.js';

const FOLDER = 'wordbrush-embeddings';
const HEADER_LIMIT = 64 * 1024;

async function folder() {
  if (!navigator.storage?.getDirectory) throw new Error(words.embeddings.noStorage);
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

// `names` are those of the file's embeddings that are wanted, or null for all; `preview` is a small picture, or null.
export async function keep({ path: name, names, folder: group, preview }, file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const identity = await new Blob([name, '\0', bytes]).arrayBuffer();
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', identity));
  const key = [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const header = `${JSON.stringify({ name, names: names && [...names], folder: group, size: bytes.length })}\n`;
  const handle = await (await folder()).getFileHandle(key, { create: true });
  let writer;
  try {
    writer = await handle.createWritable();
    await writer.write(new Blob([header, bytes, ...(preview ? [preview] : [])]));
    await writer.close();
  } catch (error) {
    await writer?.abort().catch(() => {});
    if ((await handle.getFile()).size === 0) await forget(key); // what was there before is still there
    throw error;
  }
  return key;
}

export async function forget(key) {
  await (await folder()).removeEntry(key).catch((error) => {
    if (error.name !== 'NotFoundError') throw error;
  });
}

// [{key, name, names, folder, preview, file}], oldest first. What cannot be read is taken away: nothing but keep() writes there.
export async function restore() {
  const files = [];
  for await (const [key, handle] of (await folder()).entries()) {
    const stored = await handle.getFile();
    try {
      const head = await stored.slice(0, HEADER_LIMIT).text();
      const line = head.slice(0, head.indexOf('\n'));
      const { name, names, folder: group = '', size = Infinity } = JSON.parse(line);
      const start = new TextEncoder().encode(line).length + 1;
      // Read now: a file of this storage that is written again can no longer be read through the old handle.
      const file = new File([await stored.slice(start, start + size).arrayBuffer()], name.split('/').pop());
      const preview = stored.size > start + size ? new Blob([await stored.slice(start + size).arrayBuffer()], { type: 'image/webp' }) : null;
      files.push({ key, name, names: names && new Set(names), folder: group, preview, file, when: stored.lastModified });
    } catch {
      await forget(key);
    }
  }
  return files.sort((a, b) => a.when - b.when);
}
