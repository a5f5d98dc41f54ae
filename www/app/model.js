// The model: loading it and its VAE, saying what is loaded, and coming back after a crash.

import { StableDiffusion, defaults } from '../pkg/index.js';
import { language, words } from '../text/language.js';
import { modelName } from '../ui/files.js';
import { bytes, sentences } from '../ui/format.js';
import { awake } from './awake.js';
import { addEmbedding, showEmbeddings } from './embeddings.js';
import { countTokens } from './picture.js';
import { showShelf } from './shelf.js';
import { $, app, form, kept, loadProgress, messages } from './state.js';

let recovered = -Infinity; // when a crash was last answered

const crashed = ({ code }) => ['INTERNAL', 'DEVICE_LOST'].includes(code);

// Once: what crashes again at once will go on to.
function mayTryAgain() {
  const may = performance.now() - recovered > 30_000;
  if (may) recovered = performance.now();
  return may;
}

export async function loadModel(chosen) {
  app.loading?.abort();
  const control = new AbortController();
  app.loading = control;
  const name = modelName(chosen);
  messages.clear('model');
  showNote('');
  tellLoading(() => words.model.loading(name));
  $('stop-loading').hidden = false;
  const onProgress = (progress) => {
    if (progress.needs) tellLoading(() => sentences(words.model.loading(name), memoryNeeded(progress.needs)));
    else showLoad(progress);
  };
  try {
    const next = await awake(() => StableDiffusion.load(chosen, { onProgress, signal: control.signal }));
    const [old, pictureOfOld] = [app.sd, app.made];
    if (chosen !== app.source) app.vae = null;
    offerTaesd(false);
    [app.sd, app.source] = [next, chosen];
    pictureOfOld.then(() => old?.dispose());
    leaveExample();
    for (const file of kept.keys()) await addEmbedding(file);
  } catch (error) {
    if (app.loading !== control) return; // a newer choice took its place
    if (crashed(error) && mayTryAgain()) return loadModel(chosen);
    if (!control.signal.aborted) messages.show('model', error);
  }
  app.loading = null;
  loadingTold = null;
  endLoad();
  for (const file of [app.vae, app.taesd]) if (app.sd && file) await loadVae(file);
  showModel();
  showEmbeddings();
  countTokens();
}

let loadingTold = null; // says what is being loaded, in the language that the page has by then

function tellLoading(told) {
  loadingTold = told;
  $('model-status').textContent = told();
}

// What the page was opened with is meant for the built-in model; whoever brings another starts from its size and settings.
function leaveExample() {
  if (app.example && !app.demo.has(app.source) && form.prompts[0] === app.example.prompt) form.fill(defaults);
  app.example = null;
}

export function showLoad({ phase = 'download', loaded, total, bytesPerSecond, etaSeconds, note }) {
  if (note) showNote(note, 'en');
  const known = total > 0;
  const rate = bytesPerSecond ? words.model.rate(bytesPerSecond) : '';
  const left = etaSeconds === null ? '' : words.model.left(etaSeconds);
  const amount = known ? words.model.amount(loaded, total) + rate + left : '…';
  speakQuarter(phase, known ? Math.floor((4 * loaded) / total) : 0);
  loadProgress.show(known ? loaded / total : null, words.model[phase] + amount);
  if (known) document.title = `[${Math.floor((100 * loaded) / total)}%] Wordbrush`;
}

let spoken = { phase: '', quarter: 0 };

// A screen reader hears of a long load four times, not at each change of the line.
function speakQuarter(phase, quarter) {
  if (phase === 'ready') [phase, quarter] = [spoken.phase, 4]; // What is ready is no longer counted.
  if (!['download', 'load'].includes(phase)) return;
  if (phase !== spoken.phase || quarter < spoken.quarter) spoken = { phase, quarter: 0 };
  if (quarter === spoken.quarter) return;
  spoken.quarter = quarter;
  $('load-milestones').textContent = words.model.quarter(25 * quarter, words.model[phase]);
}

export function endLoad() {
  spoken = { phase: '', quarter: 0 };
  loadProgress.hide();
  $('stop-loading').hidden = true;
  document.title = 'Wordbrush';
}

// The engine's notes are English.
export function showNote(sentence, lang = language) {
  Object.assign($('load-note'), { lang, textContent: sentence });
}

export function memoryNeeded({ gpuPeakBytes, weightBytes }) {
  return words.model.takes(bytes(gpuPeakBytes), bytes(weightBytes));
}

export function showModel() {
  showShelf();
  if (loadingTold) return tellLoading(loadingTold);
  $('model').classList.toggle('filled', app.sd !== null);
  $('demo').loaded = app.sd !== null && app.demo?.has(app.source) === true;
  if (!app.sd) {
    $('model-status').textContent = words.model.none;
    $('memory').textContent = '';
    return;
  }
  const { loaded, withVae, withTaesd } = words.model;
  const beside = (app.vae ? withVae(app.vae.name) : '') + (app.taesd ? withTaesd(app.taesd.name) : '');
  $('model-status').textContent = `${loaded(modelName(app.source), bytes(app.sd.bytes), app.sd.adapter.storage, app.sd.device === 'cpu')}${beside}.`;
  showMemory();
}

export async function loadVae(file) {
  messages.clear('vae');
  showNote('');
  if (!app.sd) return messages.show('vae', words.model.vaeFirst);
  const control = new AbortController();
  app.loading ??= control; // a model that is on its way is what Stop is for
  $('stop-loading').hidden = false;
  try {
    const kind = await app.sd.loadVae(file, { onProgress: showLoad, signal: control.signal });
    app[kind] = file;
    if (kind === 'taesd') offerTaesd(true);
  } catch (error) {
    if (error.code === 'DISPOSED' || control.signal.aborted) return;
    messages.show('vae', error);
    recover(error);
  } finally {
    if (app.loading === control) {
      app.loading = null;
      endLoad();
    }
    showModel();
  }
}

// TAESD can be chosen where there is one; it is not where the model it was loaded beside is gone.
function offerTaesd(there) {
  for (const option of document.querySelectorAll('option[value="taesd"]')) {
    option.disabled = !there;
    if (!there && option.selected) option.parentElement.selectedIndex = [...option.parentElement.options].findIndex(({ defaultSelected }) => defaultSelected);
  }
}

// The number is a nicety: where it cannot be had, something else has already been said.
export async function showMemory() {
  const memory = await app.sd?.memory().catch(() => null);
  if (!memory) $('memory').textContent = '';
  else if (app.sd?.device === 'cpu') $('memory').textContent = words.model.memory(bytes(memory.wasmBytes));
  else $('memory').textContent = words.model.gpuMemory(bytes(memory.gpuBytes), bytes(memory.gpuPeakBytes));
}

// A crashed engine or a lost GPU is answered by loading the model again, once; prompts and settings are the page's and stay.
export async function recover(error) {
  if (!crashed(error)) return;
  app.sd?.dispose();
  app.sd = null;
  showModel();
  showEmbeddings();
  if (app.source === null || !mayTryAgain()) return;
  await loadModel(app.source);
  if (!app.sd) return;
  messages.show('picture', { code: error.code, message: error.message }, words.model.again);
}
