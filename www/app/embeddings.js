// The embeddings: added, removed, made of others, and kept in the browser between visits.

import { words } from '../text/language.js';
import { thumbnail } from '../ui/files.js';
import { sentences } from '../ui/format.js';
import * as store from '../ui/store.js';
import { recover } from './model.js';
import { countTokens } from './picture.js';
import { showRecipe } from './recipes.js';
import { $, app, form, kept, list, maker, messages } from './state.js';

const folderOf = (file) => file.webkitRelativePath?.split('/').slice(0, -1).join('/') ?? '';
const pathOf = (file) => file.webkitRelativePath?.split('/').slice(1).join('/') || file.name;

// What is added and removed waits for what was asked for before: afterwards list, engine and store agree.
let turn = Promise.resolve();
const inTurn = (work) => (turn = turn.then(work, work));

export const addEmbedding = (file, options) => inTurn(() => add(file, options));

async function add(file, { quiet = false, preview = null } = {}) {
  const topic = `embedding ${file.name}`;
  messages.clear(topic);
  const entry = kept.get(file) ?? { path: pathOf(file), folder: folderOf(file), names: null, key: null, preview };
  kept.set(file, entry);
  if (!app.sd) return null;
  const wanted = entry.names;
  try {
    const names = new Set((await app.sd.addEmbedding(file, { name: entry.path })).map(({ name }) => name));
    for (const name of names) {
      if (wanted && !wanted.has(name)) await app.sd.removeEmbedding(name) && names.delete(name);
    }
    entry.other = false;
    await keep(file, Object.assign(entry, { names }));
    // A new one has taken the place of the one of its name; of what was kept before the latest is the last to be added.
    if (!wanted) for (const name of names) await leave(name, entry);
  } catch (error) {
    if (error.code === 'DISPOSED') return null; // the model was replaced meanwhile; the new one takes the file from `kept`
    if (error.code === 'WRONG_WIDTH' && !quiet) {
      // It belongs to another model, and waits for it; who has just brought it is told why.
      if (entry.other === undefined && entry.names === null) messages.show(topic, error);
      entry.other = true;
      await keep(file, entry);
      return null;
    }
    await refused(file, entry, error);
    if (quiet) return error;
    messages.show(topic, error);
    recover(error);
  }
  return null;
}

// What the engine has no time or no memory for is no fault of a file that was good before. A crash may be: then the file is
// left out for this visit, but not forgotten.
async function refused(file, entry, { code }) {
  if (entry.names && ['DEVICE_LOST', 'GPU_OUT_OF_MEMORY', 'GPU_VALIDATION', 'BUSY'].includes(code)) return;
  kept.delete(file);
  if (code !== 'INTERNAL') await forget(entry);
}

// `previews` are the pictures beside them, by their files.
export async function addEmbeddings(files, previews = new Map()) {
  for (const [i, file] of files.entries()) {
    await addEmbedding(file, { preview: await thumbnail(previews.get(file) ?? file) });
    // Thousands take a while, and what is there can be used meanwhile.
    if (i % 100 === 99) showEmbeddings();
  }
  showEmbeddings();
  countTokens();
}

export async function removeEmbedding(name) {
  await inTurn(async () => {
    if (app.sd) await app.sd.removeEmbedding(name).catch((error) => messages.show('embeddings', error));
    await leave(name);
    for (const [file, entry] of kept) {
      if (entry.names || entry.path !== name) continue;
      kept.delete(file);
      await forget(entry);
    }
  });
  showEmbeddings();
  countTokens();
}

// No file but `except` gives an embedding of this name any longer; one that gives no other goes.
async function leave(name, except = null) {
  for (const [file, entry] of kept) {
    if (entry === except || !entry.names?.delete(name)) continue;
    if (entry.names.size === 0) kept.delete(file);
    if (entry.names.size === 0) await forget(entry);
    else if (entry.key) await stored(() => store.keep(entry, file));
  }
}

export function showEmbeddings() {
  const unused = [...kept.values()].filter(({ other }) => !app.sd || other);
  const waiting = unused.map(({ path, folder, other }) => ({ name: path, folder, why: app.sd && other ? words.embeddings.otherWidth : words.embeddings.waits }));
  const embeddings = app.sd?.embeddings ?? [];
  list.show(embeddings, waiting, besideNames());
  for (const chooser of [maker, $('series')]) chooser.names = embeddings.map(({ name }) => name);
  form.embeddings = { here: embeddings, elsewhere: waiting.filter(() => app.sd).map(({ name }) => name) };
  $('embeddings').classList.toggle('filled', waiting.length + embeddings.length > 0);
  $('forget').hidden = kept.size === 0;
  showStore();
  showRecipe();
}

// Embedding's name → {folder, preview}: what its file came with.
function besideNames() {
  return new Map([...kept.values()].flatMap(({ names, folder, preview }) => [...names ?? []].map((name) => [name, { folder, preview }])));
}

export async function makeEmbedding(spec) {
  messages.clear('make');
  if (!app.sd) return messages.show('make', words.maker.modelFirst);
  try {
    const { name } = await app.sd.craftEmbedding(spec);
    const file = new File([await app.sd.exportEmbedding(name, 'safetensors')], `${name.split('/').pop()}.safetensors`);
    const entry = { path: `${name}.safetensors`, folder: '', names: new Set([name]), key: null, preview: null };
    await inTurn(async () => {
      kept.set(file, entry);
      await keep(file, entry);
      await leave(name, entry);
    });
  } catch (error) {
    messages.show('make', error);
    recover(error);
  }
  showEmbeddings();
  countTokens();
}

export async function aboutEmbedding(work) {
  try {
    await work();
  } catch (error) {
    messages.show('embeddings', error);
    recover(error);
  }
}

let storeWorks = true;
let storeTrouble = ''; // why embeddings are not kept, as a sentence

// Without storage everything else works; that is said once. A full one still gives what it has, and forgets.
async function stored(work) {
  if (!storeWorks) return null;
  try {
    return await work();
  } catch (error) {
    const full = error.name === 'QuotaExceededError';
    storeWorks = full;
    storeTrouble = sentences(words.embeddings.notKept(full ? words.embeddings.full : error.message));
    showStore();
    return null;
  }
}

function showStore() {
  const inStore = storeWorks ? [...kept.values()].filter(({ key }) => key).length : 0;
  $('store-status').textContent = sentences(inStore && words.embeddings.kept(inStore), storeTrouble);
}

// What is forgotten makes room. The same file may have been added again under the same key: then it stays.
async function forget({ key }) {
  if (!key || [...kept.values()].some((entry) => entry.key === key)) return;
  await stored(() => store.forget(key));
  if (storeWorks) storeTrouble = '';
}

async function keep(file, entry) {
  entry.key ??= await stored(() => store.keep(entry, file));
}

export async function restoreEmbeddings() {
  for (const { key, name, names, folder, preview, file } of await stored(store.restore) ?? []) {
    if ([...kept.values()].some((entry) => entry.key === key)) continue;
    kept.set(file, { path: name, folder, names, key, preview });
    if (app.sd) await addEmbedding(file);
  }
  showEmbeddings();
}

export async function forgetEmbeddings() {
  await inTurn(async () => {
    const entries = [...kept.values()];
    kept.clear();
    for (const { name } of app.sd?.embeddings ?? []) await app.sd.removeEmbedding(name).catch(() => {});
    for (const entry of entries) await forget(entry);
  });
  showEmbeddings();
  countTokens();
}
