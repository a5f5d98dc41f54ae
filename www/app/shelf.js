// Models in the browser's storage: looked up, downloaded, opened, kept, deleted.

import { modelNeeds, modelStore } from '../pkg/index.js';
import { words } from '../text/language.js';
import { readAddress } from '../ui/addresses.js';
import { bytes, sentences } from '../ui/format.js';
import { awake } from './awake.js';
import { endLoad, loadModel, loadVae, memoryNeeded, showLoad, showNote } from './model.js';
import { $, app, messages } from './state.js';

const shelf = $('shelf');

// What a browser without storage answers is no problem as long as nothing is to be stored.
export async function showShelf() {
  const models = await modelStore.list().catch(() => []);
  shelf.show(models, await modelStore.room());
  const isOwn = app.sd && app.source instanceof File && !app.demo?.has(app.source);
  $('keep-model').hidden = !isOwn || models.some(({ name, size }) => name === app.source.name && size === app.source.size);
}

async function aboutShelf(work) {
  messages.clear('shelf');
  try {
    await work();
  } catch (error) {
    messages.show('shelf', error);
  }
  await showShelf();
}

export async function lookUp({ address, kind }) {
  messages.clear('shelf');
  let found;
  try {
    found = { ...readAddress(address, location.origin), kind };
    shelf.say(words.shelf.looking(found.name));
    const needs = kind === 'model' ? await modelNeeds(found.url) : null;
    const { usage, quota } = await modelStore.room();
    const room = quota ? words.shelf.free(bytes(quota - usage)) : '';
    const download = needs && words.shelf.toDownload(bytes(needs.fileBytes));
    shelf.say(sentences(`${found.name}${download ? `: ${download}` : ''}`, needs && memoryNeeded(needs), room), found);
  } catch (error) {
    shelf.say('');
    messages.show('shelf', error);
  }
}

export async function getFound({ url, name, kind }) {
  shelf.say('');
  await (kind === 'vae' ? loadVae({ url, name }) : loadModel({ url, name }));
}

export const download = ({ url, name, kind }) => store({ url }, name, kind);

export const keepModel = () => store(app.source, app.source.name, 'model');

// Into the store, without loading.
function store(source, name, kind) {
  return aboutShelf(async () => {
    if (app.loading) throw new Error(words.shelf.busy);
    const control = new AbortController();
    app.loading = control;
    $('stop-loading').hidden = false;
    try {
      await awake(() => modelStore.add(source, { kind, signal: control.signal, onProgress: showLoad }));
      shelf.say(words.shelf.isHere(name));
    } catch (error) {
      if (!control.signal.aborted) throw error;
    } finally {
      if (app.loading === control) app.loading = null;
      endLoad();
    }
  });
}

export async function openStored({ key, name, kind }) {
  await (kind === 'vae' ? loadVae({ stored: key, name }) : loadModel({ stored: key, name }));
}

export const removeStored = ({ key }) => aboutShelf(() => modelStore.remove(key));

export async function persist() {
  if (!await modelStore.persist()) showNote(words.shelf.noPromise);
  await showShelf();
}
