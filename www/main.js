// The page: what is loaded, what is being made, and who is told about it.

import { StableDiffusion, checkWebGPU } from '../pkg/index.js';
import { modelName, sortFiles } from './ui/files.js';
import { bytes, duration, sentences } from './ui/format.js';
import { takeDrops } from './ui/window_drop.js';
import './ui/embedding_list.js';
import './ui/file_zone.js';
import './ui/message_list.js';
import './ui/picture_frame.js';
import './ui/progress_line.js';
import './ui/prompt_form.js';

// The one script that is started by URL is the engine's worker; the page's policy refuses every other.
const WORKER = new URL('../pkg/worker.js', import.meta.url).href;
globalThis.trustedTypes?.createPolicy('default', { createScriptURL: (url) => (url === WORKER ? url : null) });

const $ = (id) => document.getElementById(id);
const [messages, form, list, progress, loadProgress] = ['messages', 'form', 'embedding-list', 'progress', 'load-progress'].map($);

let sd = null; // the model in use
let source = null; // where it came from, to load it again after a crash
let loading = null; // the AbortController of the load under way
let making = null; // the AbortController of the picture under way
let made = Promise.resolve(); // settles with the picture under way
let recovered = -Infinity;
const kept = new Map(); // embedding File → Set of the names it gave, or null while it waits for a model

// ---- the model

async function loadModel(chosen) {
  loading?.abort();
  const control = new AbortController();
  loading = control;
  const name = modelName(chosen);
  messages.clear('model');
  $('model-status').textContent = `Loading ${name}…`;
  try {
    const next = await StableDiffusion.load(chosen, { onProgress: showLoad, signal: control.signal });
    const [old, pictureOfOld] = [sd, made];
    [sd, source] = [next, chosen];
    pictureOfOld.then(() => old?.dispose());
    for (const file of kept.keys()) await addEmbedding(file);
  } catch (error) {
    if (control.signal.aborted) return; // a newer choice took its place
    messages.show('model', error);
  }
  loading = null;
  loadProgress.hide();
  document.title = 'Wordbrush';
  showModel();
  showEmbeddings();
  countTokens();
}

function showLoad({ loaded, total, bytesPerSecond, etaSeconds }) {
  const known = total > 0;
  const rate = bytesPerSecond ? `, ${bytes(bytesPerSecond)}/s` : '';
  const left = etaSeconds === null ? '' : `, about ${duration(etaSeconds)} left`;
  loadProgress.show(known ? loaded / total : null, known ? `${bytes(loaded)} of ${bytes(total)}${rate}${left}` : 'Reading the header…');
  if (known) document.title = `[${Math.floor((100 * loaded) / total)}%] Wordbrush`;
}

function showModel() {
  $('model').classList.toggle('filled', sd !== null);
  if (!sd) {
    $('model-status').textContent = 'No model yet.';
    $('memory').textContent = '';
    return;
  }
  $('model-status').textContent = `${modelName(source)} is loaded (${bytes(sd.bytes)}, ${sd.adapter.storage} on the GPU).`;
  showMemory();
}

// The number is a nicety: where it cannot be had, something else has already been said.
async function showMemory() {
  const memory = await sd?.memory().catch(() => null);
  $('memory').textContent = memory ? `GPU memory: ${bytes(memory.gpuBytes)} in use, ${bytes(memory.gpuPeakBytes)} at most.` : '';
}

// A crashed engine or a lost GPU is answered by loading the model again, once; prompts and settings are the page's and stay.
async function recover(error) {
  if (!['INTERNAL', 'DEVICE_LOST'].includes(error.code)) return;
  sd?.dispose();
  sd = null;
  showModel();
  showEmbeddings();
  if (source === null || performance.now() - recovered < 30_000) return;
  recovered = performance.now();
  await loadModel(source);
  if (!sd) return;
  const message = sentences(error.message, 'The model was loaded again; your prompt and settings are kept');
  messages.show('picture', { code: error.code, message });
}

// ---- embeddings

async function addEmbedding(file) {
  const topic = `embedding ${file.name}`;
  messages.clear(topic);
  const wanted = kept.get(file) ?? null;
  kept.set(file, wanted);
  if (!sd) return;
  try {
    const names = new Set((await sd.addEmbedding(file)).map(({ name }) => name));
    for (const name of names) {
      if (wanted && !wanted.has(name)) await sd.removeEmbedding(name) && names.delete(name);
    }
    kept.set(file, names);
  } catch (error) {
    if (error.code === 'DISPOSED') return; // the model was replaced meanwhile; the new one takes the file from `kept`
    kept.delete(file);
    messages.show(topic, error);
    recover(error);
  }
}

async function addEmbeddings(files) {
  for (const file of files) await addEmbedding(file);
  showEmbeddings();
  countTokens();
}

async function removeEmbedding(name) {
  if (sd) await sd.removeEmbedding(name).catch((error) => messages.show('embeddings', error));
  for (const [file, names] of kept) {
    names?.delete(name);
    if (names ? names.size === 0 : file.name === name) kept.delete(file);
  }
  showEmbeddings();
  countTokens();
}

function showEmbeddings() {
  const waiting = sd ? [] : [...kept.keys()].map((file) => file.name);
  const embeddings = sd?.embeddings ?? [];
  list.show(embeddings, waiting);
  $('embeddings').classList.toggle('filled', waiting.length + embeddings.length > 0);
}

// ---- prompts

let counting = 0;

// Tells how long the prompt is and which embeddings it misses, a moment after the last key.
async function countTokens() {
  const mine = ++counting;
  await new Promise((resolve) => { setTimeout(resolve, 250); });
  if (mine !== counting || !sd) return;
  try {
    const [positive, negative] = await Promise.all(form.prompts.map((prompt) => sd.tokens(prompt)));
    if (mine !== counting) return;
    showTokens(positive, [...positive.warnings, ...negative.warnings]);
  } catch {
    // The model was replaced or crashed meanwhile, which whoever uses it will say.
  }
}

function showTokens({ tokens, windows }, warnings) {
  const split = windows > 1 ? ` in ${windows} windows` : '';
  form.showTokens(`${tokens} tokens${split}`, [...new Set(warnings.map(({ message }) => message))]);
}

// ---- the picture

async function generate() {
  messages.clear('picture');
  if (!sd) {
    messages.show('picture', loading ? 'The model is still loading.' : 'Drop or choose a model first.');
    return;
  }
  making = new AbortController();
  form.running = true;
  progress.show(null, 'Reading the prompt, preparing the GPU…');
  $('milestones').textContent = 'Making a picture.';
  const picture = sd.generate(form.options, { signal: making.signal });
  made = picture.then(() => {}, () => {});
  try {
    for await (const event of picture) showEvent(event);
    $('milestones').textContent = 'The picture is ready.';
  } catch (error) {
    if (making.signal.aborted) $('milestones').textContent = 'Stopped.';
    else {
      messages.show('picture', error);
      recover(error);
    }
  } finally {
    making = null;
    form.running = false;
    progress.hide();
    document.title = 'Wordbrush';
    showMemory();
  }
}

function showEvent(event) {
  if (event.type === 'tokens') {
    showTokens(event.positive, event.warnings);
  } else if (event.type === 'step') {
    // Decoding counts as one more step.
    const fraction = event.step / (event.steps + 1);
    const left = event.etaSeconds === null ? '' : `, about ${duration(event.etaSeconds)} left`;
    progress.show(fraction, `Step ${event.step} of ${event.steps}${left}`);
    document.title = `[${Math.floor(100 * fraction)}%] Wordbrush`;
    const quarter = (step) => Math.floor((4 * step) / event.steps);
    if (quarter(event.step) > quarter(event.step - 1)) $('milestones').textContent = `Step ${event.step} of ${event.steps}`;
  } else if (event.type === 'decode') {
    progress.show(null, 'Turning the result into pixels…');
  } else if (event.type === 'done') {
    $('picture').show(event.result);
  }
}

// ---- who calls what

async function takeFiles(files) {
  const { models, embeddings } = await sortFiles(files);
  if (models.length > 1) messages.show('models', `One model at a time: ${modelName(models[0])} was taken.`);
  else messages.clear('models');
  await Promise.all([models.length ? loadModel(models[0]) : null, addEmbeddings(embeddings)]);
}

takeDrops($('drop-hint'), async (files) => {
  try {
    await takeFiles(await files);
  } catch (error) {
    messages.show('drop', { message: `What was dropped cannot be read: ${error.message}` });
  }
});
$('model').addEventListener('files', ({ detail: { files, folder } }) => loadModel(folder ? files : files[0]));
$('embeddings').addEventListener('files', ({ detail: { files } }) => addEmbeddings(files));
list.addEventListener('insert', ({ detail: name }) => form.insert(`embedding:${name}`));
list.addEventListener('remove', ({ detail: name }) => removeEmbedding(name));
form.addEventListener('generate', generate);
form.addEventListener('stop', () => making?.abort());
form.addEventListener('prompts', countTokens);

try {
  const { description, software } = await checkWebGPU();
  $('gpu').textContent = software ? `GPU: ${description}, which is a CPU in disguise: correct, but very slow.` : `GPU: ${description}`;
} catch (error) {
  messages.show('gpu', error);
  $('gpu').textContent = 'GPU: none';
}
