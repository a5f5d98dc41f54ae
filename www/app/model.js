// The model: loading it and its VAE, saying what is loaded, and coming back after a crash.

import { StableDiffusion, defaults } from '../pkg/index.js';
import { modelName } from '../ui/files.js';
import { bytes, duration, sentences } from '../ui/format.js';
import { addEmbedding, showEmbeddings } from './embeddings.js';
import { countTokens } from './picture.js';
import { $, app, form, kept, loadProgress, messages } from './state.js';

let recovered = -Infinity; // when a crash was last answered

export async function loadModel(chosen) {
  app.loading?.abort();
  const control = new AbortController();
  app.loading = control;
  const name = modelName(chosen);
  messages.clear('model');
  $('model-status').textContent = `Loading ${name}…`;
  try {
    const next = await StableDiffusion.load(chosen, { onProgress: showLoad, signal: control.signal });
    const [old, pictureOfOld] = [app.sd, app.made];
    if (chosen !== app.source) app.vae = null;
    offerTaesd(false);
    [app.sd, app.source] = [next, chosen];
    pictureOfOld.then(() => old?.dispose());
    leaveExample();
    for (const file of kept.keys()) await addEmbedding(file);
  } catch (error) {
    if (control.signal.aborted) return; // a newer choice took its place
    messages.show('model', error);
  }
  app.loading = null;
  loadProgress.hide();
  document.title = 'Wordbrush';
  for (const file of [app.vae, app.taesd]) if (app.sd && file) await loadVae(file);
  showModel();
  showEmbeddings();
  countTokens();
}

// What the page was opened with is meant for the built-in model; whoever brings another starts from its size and settings.
function leaveExample() {
  if (app.example && !app.demo.has(app.source) && form.prompts[0] === app.example.prompt) form.fill(defaults);
  app.example = null;
}

export function showLoad({ loaded, total, bytesPerSecond, etaSeconds }) {
  const known = total > 0;
  const rate = bytesPerSecond ? `, ${bytes(bytesPerSecond)}/s` : '';
  const left = etaSeconds === null ? '' : `, about ${duration(etaSeconds)} left`;
  loadProgress.show(known ? loaded / total : null, known ? `${bytes(loaded)} of ${bytes(total)}${rate}${left}` : 'Reading the header…');
  if (known) document.title = `[${Math.floor((100 * loaded) / total)}%] Wordbrush`;
}

function showModel() {
  $('model').classList.toggle('filled', app.sd !== null);
  if (!app.sd) {
    $('model-status').textContent = 'No model yet.';
    $('memory').textContent = '';
    return;
  }
  const where = app.sd.device === 'cpu' ? 'on the CPU' : 'on the GPU';
  $('model-status').textContent = `${modelName(app.source)} is loaded (${bytes(app.sd.bytes)}, ${app.sd.adapter.storage} ${where})${app.vae ? `, with the VAE ${app.vae.name}` : ''}${app.taesd ? `, beside it ${app.taesd.name}` : ''}.`;
  showMemory();
}

export async function loadVae(file) {
  messages.clear('vae');
  if (!app.sd) return messages.show('vae', 'Load a model first, then its VAE.');
  try {
    const kind = await app.sd.loadVae(file, { onProgress: showLoad });
    app[kind] = file;
    if (kind === 'taesd') offerTaesd(true);
  } catch (error) {
    if (error.code === 'DISPOSED') return;
    messages.show('vae', error);
    recover(error);
  } finally {
    loadProgress.hide();
    document.title = 'Wordbrush';
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
  else if (app.sd?.device === 'cpu') $('memory').textContent = `Memory: ${bytes(memory.wasmBytes)}.`;
  else $('memory').textContent = `GPU memory: ${bytes(memory.gpuBytes)} in use, ${bytes(memory.gpuPeakBytes)} at most.`;
}

// A crashed engine or a lost GPU is answered by loading the model again, once; prompts and settings are the page's and stay.
export async function recover(error) {
  if (!['INTERNAL', 'DEVICE_LOST'].includes(error.code)) return;
  app.sd?.dispose();
  app.sd = null;
  showModel();
  showEmbeddings();
  if (app.source === null || performance.now() - recovered < 30_000) return;
  recovered = performance.now();
  await loadModel(app.source);
  if (!app.sd) return;
  const message = sentences(error.message, 'The model was loaded again; your prompt and settings are kept');
  messages.show('picture', { code: error.code, message });
}
