// What a model or an embedding may be given as, and the files of it as the worker takes them.

import { WordbrushError } from './errors.js';

// The files of a model as the worker takes them: {name, blob}, {name, url} or {stored: key}.
export async function filesOf(source) {
  if (typeof source === 'string' || source instanceof URL) return [fileOfUrl(source)];
  if (source instanceof Blob) return [{ name: source.name ?? 'model.safetensors', blob: source }];
  if (source?.kind === 'directory') return filesOfFolder(source);
  if (source?.kind === 'file') return filesOf(await source.getFile());
  if (source?.url) return [{ ...fileOfUrl(source.url), sha256: hashOf(source.sha256) }];
  if (typeof source?.stored === 'string') return [{ stored: source.stored }];
  const files = isList(source) ? [...source] : [];
  if (files.length > 0 && files.every((file) => file instanceof Blob)) {
    return files.map((file) => ({ name: pathInFolder(file), blob: file }));
  }
  throw new WordbrushError('BAD_OPTION', 'A model is a File, a list of Files (a folder), a folder handle, a URL, or the key of a stored one.');
}

function isList(source) {
  return typeof source === 'object' && source !== null && Symbol.iterator in source;
}

function fileOfUrl(url) {
  let absolute;
  try {
    absolute = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new WordbrushError('BAD_OPTION', `${url} is not a URL.`);
  }
  if (!/^https?:$/.test(absolute.protocol)) throw new WordbrushError('BAD_OPTION', `${absolute.href} is no address that can be fetched: it must begin with https: or http:.`);
  const last = absolute.pathname.split('/').pop();
  let name;
  try {
    name = decodeURIComponent(last);
  } catch {
    name = last;
  }
  absolute.hash = '';
  return { name: name || 'model.safetensors', url: absolute.href };
}

function hashOf(sha256) {
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) throw new WordbrushError('BAD_OPTION', `sha256 is ${sha256}; it must be 64 hex digits.`);
  return sha256?.toLowerCase();
}

export function unverified(files) {
  if (files.some(({ sha256 }) => sha256)) throw new WordbrushError('BAD_OPTION', 'A file is compared with its sha256 when a model is loaded of it: leave it out here.');
  return files;
}

// "folder/unet/model.safetensors" → "unet/model.safetensors"
export function pathInFolder(file, otherwise = 'model.safetensors') {
  return file?.webkitRelativePath?.split('/').slice(1).join('/') || file?.name || otherwise;
}

export async function bytesOf(file, name) {
  return new Uint8Array(await file.arrayBuffer().catch(() => {
    throw new WordbrushError('READ', `${name} cannot be read: it was changed or removed after it was chosen.`);
  }));
}

async function filesOfFolder(folder, path = '', depth = 0) {
  const files = [];
  for await (const entry of folder.values()) {
    const name = path + entry.name;
    if (entry.kind === 'file') files.push({ name, blob: await entry.getFile() });
    else if (depth < 2 && !entry.name.startsWith('.')) files.push(...await filesOfFolder(entry, `${name}/`, depth + 1));
  }
  return files;
}
