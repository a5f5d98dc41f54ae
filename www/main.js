// The page: what is loaded, what is being made, and who is told about it.

import { StableDiffusion, checkWebGPU, readRecipe, recipeText } from '../pkg/index.js';
import { saveAs } from './ui/dom.js';
import { looksLikeRecipe, modelName, saysItHoldsEmbedding, sortFiles } from './ui/files.js';
import { bytes, duration, fileName, sentences } from './ui/format.js';
import { missingEmbeddings } from './ui/recipe_panel.js';
import * as store from './ui/store.js';
import { takeDrops } from './ui/window_drop.js';
import './ui/embedding_list.js';
import './ui/embedding_maker.js';
import './ui/file_zone.js';
import './ui/message_list.js';
import './ui/picture_frame.js';
import './ui/progress_line.js';
import './ui/prompt_form.js';

// The one script that is started by URL is the engine's worker; the page's policy refuses every other.
const WORKER = new URL('../pkg/worker.js', import.meta.url).href;
globalThis.trustedTypes?.createPolicy('default', { createScriptURL: (url) => (url === WORKER ? url : null) });

const $ = (id) => document.getElementById(id);
const [messages, form, list, maker, progress, loadProgress] =
  ['messages', 'form', 'embedding-list', 'maker', 'progress', 'load-progress'].map($);

let sd = null; // the model in use
let source = null; // where it came from, to load it again after a crash
let loading = null; // the AbortController of the load under way
let making = null; // the AbortController of the picture under way
let made = Promise.resolve(); // settles with the picture under way
let recovered = -Infinity;
let vae = null; // the File of a separate VAE
let recipe = null; // {recipe, from, refused}: the one that filled the form
const kept = new Map(); // embedding File → {names: Set of those it gave, or null while it waits for a model; key in the store}

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
    if (chosen !== source) vae = null;
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
  if (sd && vae) await loadVae(vae);
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
  const where = sd.device === 'cpu' ? 'on the CPU' : 'on the GPU';
  $('model-status').textContent = `${modelName(source)} is loaded (${bytes(sd.bytes)}, ${sd.adapter.storage} ${where})${vae ? `, with the VAE ${vae.name}` : ''}.`;
  showMemory();
}

async function loadVae(file) {
  messages.clear('vae');
  if (!sd) return messages.show('vae', 'Load a model first, then its VAE.');
  try {
    await sd.loadVae(file, { onProgress: showLoad });
    vae = file;
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

// The number is a nicety: where it cannot be had, something else has already been said.
async function showMemory() {
  const memory = await sd?.memory().catch(() => null);
  if (!memory) $('memory').textContent = '';
  else if (sd?.device === 'cpu') $('memory').textContent = `Memory: ${bytes(memory.wasmBytes)}.`;
  else $('memory').textContent = `GPU memory: ${bytes(memory.gpuBytes)} in use, ${bytes(memory.gpuPeakBytes)} at most.`;
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

const pathOf = (file) => file.webkitRelativePath?.split('/').slice(1).join('/') || file.name;

async function addEmbedding(file, { quiet = false } = {}) {
  const topic = `embedding ${file.name}`;
  messages.clear(topic);
  const entry = kept.get(file) ?? { path: pathOf(file), names: null, key: null };
  kept.set(file, entry);
  if (!sd) return null;
  const wanted = entry.names;
  try {
    const names = new Set((await sd.addEmbedding(file, { name: entry.path })).map(({ name }) => name));
    for (const name of names) {
      if (wanted && !wanted.has(name)) await sd.removeEmbedding(name) && names.delete(name);
    }
    entry.names = names;
    await keep(file, entry);
  } catch (error) {
    if (error.code === 'DISPOSED') return null; // the model was replaced meanwhile; the new one takes the file from `kept`
    kept.delete(file);
    if (entry.key && error.code !== 'INTERNAL') await stored(() => store.forget(entry.key));
    if (quiet) return error;
    messages.show(topic, error);
    recover(error);
  }
  return null;
}

async function addEmbeddings(files) {
  for (const file of files) await addEmbedding(file);
  showEmbeddings();
  countTokens();
}

async function removeEmbedding(name) {
  if (sd) await sd.removeEmbedding(name).catch((error) => messages.show('embeddings', error));
  for (const [file, entry] of kept) {
    const had = entry.names ? entry.names.delete(name) : entry.path === name;
    if (!had) continue;
    if (!entry.names?.size) kept.delete(file);
    if (entry.key) await stored(() => (kept.has(file) ? store.keep(entry.path, file, entry.names) : store.forget(entry.key)));
  }
  showEmbeddings();
  countTokens();
}

function showEmbeddings() {
  const waiting = sd ? [] : [...kept.values()].map(({ path }) => path);
  const embeddings = sd?.embeddings ?? [];
  list.show(embeddings, waiting);
  maker.names = embeddings.map(({ name }) => name);
  $('embeddings').classList.toggle('filled', waiting.length + embeddings.length > 0);
  const inStore = [...kept.values()].filter(({ key }) => key).length;
  $('forget').hidden = kept.size === 0;
  if (storeWorks) $('store-status').textContent = inStore ? `${inStore} kept in this browser for the next visit.` : '';
  showRecipe();
}

async function makeEmbedding(spec) {
  messages.clear('make');
  if (!sd) return messages.show('make', 'Load a model first: embeddings are made of its words.');
  try {
    const { name } = await sd.craftEmbedding(spec);
    const file = new File([await sd.exportEmbedding(name, 'safetensors')], `${name.split('/').pop()}.safetensors`);
    const entry = { path: `${name}.safetensors`, names: new Set([name]), key: null };
    kept.set(file, entry);
    await keep(file, entry);
  } catch (error) {
    messages.show('make', error);
    recover(error);
  }
  showEmbeddings();
  countTokens();
}

async function aboutEmbedding(work) {
  try {
    await work();
  } catch (error) {
    messages.show('embeddings', error);
    recover(error);
  }
}

// ---- the browser's storage

let storeWorks = true;

// Without storage everything else works; that is said once.
async function stored(work) {
  if (!storeWorks) return null;
  try {
    return await work();
  } catch (error) {
    storeWorks = false;
    const why = error.name === 'QuotaExceededError' ? 'its storage is full' : error.message;
    $('store-status').textContent = sentences(`New embeddings are not kept for the next visit: ${why}`);
    return null;
  }
}

async function keep(file, entry) {
  entry.key ??= await stored(() => store.keep(entry.path, file, entry.names));
}

async function restoreEmbeddings() {
  for (const { key, name, names, file } of await stored(store.restore) ?? []) {
    if ([...kept.values()].some((entry) => entry.key === key)) continue;
    kept.set(file, { path: name, names, key });
    if (sd) await addEmbedding(file);
  }
  showEmbeddings();
}

async function forgetEmbeddings() {
  const entries = [...kept.values()];
  kept.clear();
  for (const { name } of sd?.embeddings ?? []) await sd.removeEmbedding(name).catch(() => {});
  for (const { key } of entries) if (key) await stored(() => store.forget(key));
  showEmbeddings();
  countTokens();
}

// ---- recipes

async function useRecipe(given, from) {
  messages.clear('recipe');
  try {
    const read = await readRecipe(given);
    // With its seed the template chooses again what it chose, and a brace that was meant as a brace stays one.
    const refused = form.fill({ ...read, prompt: read.template ?? read.prompt });
    recipe = { recipe: read, from, refused };
    showRecipe();
  } catch (error) {
    messages.show('recipe', error);
  }
}

function showRecipe() {
  if (!recipe) return;
  const missing = sd ? missingEmbeddings(recipe.recipe, sd.embeddings) : recipe.recipe.embeddings.map(({ name }) => `It uses the embedding ${name}.`);
  $('recipe').show(recipe.from, [...recipe.refused, ...missing, ...recipe.recipe.notes]);
}

// A picture may hold an embedding, a recipe, or neither; only the engine sees an embedding that is hidden in the pixels.
async function takePicture(file) {
  const holds = await saysItHoldsEmbedding(file).catch(() => false);
  if (holds) return addEmbeddings([file]);
  if (sd && file.size < 32 * 1024 * 1024) {
    const error = await addEmbedding(file, { quiet: true });
    showEmbeddings();
    if (!error) return countTokens();
    recover(error);
  }
  return useRecipe(file, file.name);
}

let copies = {};

async function prepareCopies(png) {
  $('copies').hidden = true;
  $('copied').textContent = '';
  try {
    const read = await readRecipe(png);
    const [a1111, workflow] = await Promise.all(['a1111', 'workflow'].map((name) => recipeText(read, name)));
    copies = { a1111, workflow };
    $('copies').hidden = false;
  } catch {
    // A picture without a recipe is still a picture.
  }
}

async function copyRecipe(name) {
  try {
    await navigator.clipboard.writeText(copies[name]);
    $('copied').textContent = 'Copied.';
  } catch (error) {
    messages.show('copy', `The browser does not let this page copy: ${error.message}`);
  }
}

// ---- prompts

let counting = 0;

// Tells how long the prompt is and which embeddings it misses, a moment after the last key.
async function countTokens() {
  const mine = ++counting;
  await new Promise((resolve) => { setTimeout(resolve, 250); });
  if (mine !== counting || !sd) return;
  try {
    const [positive, negative] = await Promise.all(form.prompts.map((prompt) => sd.tokens(prompt, { promptSyntax: form.promptSyntax })));
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
  progress.show(null, `Reading the prompt, preparing the ${sd.device === 'cpu' ? 'CPU' : 'GPU'}…`);
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
    prepareCopies(event.result.png);
  }
}

// ---- who calls what

async function takeFiles(files) {
  const { models, vaes, pictures, recipes, embeddings } = await sortFiles(files);
  if (models.length > 1) messages.show('models', `One model at a time: ${modelName(models[0])} was taken.`);
  else messages.clear('models');
  await Promise.all([models.length ? loadModel(models[0]) : null, addEmbeddings(embeddings)]);
  if (vaes.length) await loadVae(vaes.at(-1));
  for (const file of pictures) await takePicture(file);
  if (recipes.length) await useRecipe(recipes.at(-1), recipes.at(-1).name);
}

takeDrops($('drop-hint'), async (files) => {
  try {
    await takeFiles(await files);
  } catch (error) {
    messages.show('drop', { message: `What was dropped cannot be read: ${error.message}` });
  }
});
$('model').addEventListener('files', ({ detail: { files, folder, input } }) => {
  if (input === 'vae-file') loadVae(files[0]);
  else loadModel(folder ? files : files[0]);
});
$('embeddings').addEventListener('files', ({ detail: { files } }) => addEmbeddings(files));
list.addEventListener('insert', ({ detail: name }) => form.insert(form.promptSyntax === 'a1111' ? name : `embedding:${name}`));
list.addEventListener('facts', ({ detail: name }) => aboutEmbedding(async () => list.showFacts(name, await sd.embeddingFacts(name))));
list.addEventListener('save', ({ detail: { name, format } }) => aboutEmbedding(async () => {
  saveAs(await sd.exportEmbedding(name, format), `${fileName(name)}.${format}`);
}));
maker.addEventListener('make', ({ detail: spec }) => makeEmbedding(spec));
$('forget').addEventListener('click', forgetEmbeddings);
$('recipe').addEventListener('recipe', ({ detail: text }) => useRecipe(text, 'the pasted text'));
for (const copy of $('copies').querySelectorAll('button')) copy.addEventListener('click', () => copyRecipe(copy.dataset.form));
document.addEventListener('paste', (event) => {
  if (event.target.closest?.('input, textarea')) return;
  const { files } = event.clipboardData;
  const text = event.clipboardData.getData('text');
  if (files.length) takeFiles([...files]);
  else if (looksLikeRecipe(text)) useRecipe(text, 'the pasted text');
});
list.addEventListener('remove', ({ detail: name }) => removeEmbedding(name));
form.addEventListener('generate', generate);
form.addEventListener('stop', () => making?.abort());
form.addEventListener('prompts', countTokens);

restoreEmbeddings();
try {
  const { description, software } = await checkWebGPU();
  $('gpu').textContent = software ? `GPU: ${description}, which is a CPU in disguise: correct, but very slow.` : `GPU: ${description}`;
} catch (error) {
  // Not the end: small models run all the same.
  messages.show('gpu', { ...error, message: error.message, hint: sentences(error.hint, 'Meanwhile small models run on the CPU, slowly') });
  $('gpu').textContent = 'GPU: none; small models run on the CPU, slowly.';
}
