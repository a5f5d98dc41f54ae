// Pictures kept in the browser's IndexedDB between visits: {id, png, title}. A PNG carries its recipe itself.

import { words } from '../text/language.js';

const NAME = 'wordbrush';
const PICTURES = 'pictures';

let opening = null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(PICTURES, { keyPath: 'id', autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error(words.gallery.otherTab));
  }).catch((error) => {
    opening = null;
    throw error;
  });
  return opening;
}

// Settles when it is on the disk: a full storage is told only then.
async function inStore(mode, work) {
  const transaction = (await open()).transaction(PICTURES, mode);
  const request = work(transaction.objectStore(PICTURES));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error ?? new DOMException(words.gallery.interrupted, 'AbortError'));
  });
}

// Gives the picture's id.
export const keep = (png, title) => inStore('readwrite', (store) => store.add({ png, title }));

export const forget = (id) => inStore('readwrite', (store) => store.delete(id));

// Newest first.
export const restore = async () => (await inStore('readonly', (store) => store.getAll())).reverse();
