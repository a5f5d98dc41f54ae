// The page: what is loaded, what is being made, and who is told about it.

import { StableDiffusion, checkWebGPU, defaults, readRecipe, recipeText } from './pkg/index.js';
import { DEMO_EMBEDDING, Demo, keepForOffline } from './demo.js';
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

// The scripts that are started by URL are the engine's worker and the service worker; the page's policy refuses every other.
const SCRIPTS = ['./pkg/worker.js', './sw.js'].map((path) => new URL(path, import.meta.url).href);
globalThis.trustedTypes?.createPolicy('default', { createScriptURL: (url) => (SCRIPTS.includes(url) ? url : null) });

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
let demo = null; // the built-in model and its examples, where the page comes with them
let recipe = null; // {recipe, from, refused}: the one that filled the form
const kept = new Map(); // embedding File → {names: Set of those it gave, or null while it waits for a model; other: why it does not fit this one; key in the store}

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
    entry.other = null;
    await keep(file, entry);
  } catch (error) {
    if (error.code === 'DISPOSED') return null; // the model was replaced meanwhile; the new one takes the file from `kept`
    if (error.code === 'WRONG_WIDTH' && !quiet) {
      // It belongs to another model, and waits for it; who has just brought it is told why.
      if (entry.other === undefined && entry.names === null) messages.show(topic, error);
      entry.other = 'belongs to a model of another text width';
      await keep(file, entry);
      return null;
    }
    kept.delete(file);
    if (entry.key && error.code !== 'INTERNAL') await forget(entry.key);
    if (quiet) return error;
    messages.show(topic, error);
    recover(error);
  }
  return null;
}

async function addEmbeddings(files) {
  for (const [i, file] of files.entries()) {
    await addEmbedding(file);
    // Thousands take a while, and what is there can be used meanwhile.
    if (i % 100 === 99) showEmbeddings();
  }
  showEmbeddings();
  countTokens();
}

async function removeEmbedding(name) {
  if (sd) await sd.removeEmbedding(name).catch((error) => messages.show('embeddings', error));
  for (const [file, entry] of kept) {
    const had = entry.names ? entry.names.delete(name) : entry.path === name;
    if (!had) continue;
    if (!entry.names?.size) kept.delete(file);
    if (!entry.key) continue;
    if (kept.has(file)) entry.key = await stored(() => store.keep(entry.path, file, entry.names));
    else await forget(entry.key);
  }
  showEmbeddings();
  countTokens();
}

function showEmbeddings() {
  const unused = [...kept.values()].filter(({ other }) => !sd || other);
  const waiting = unused.map(({ path, other }) => ({ name: path, why: sd ? other : 'waits for a model' }));
  const embeddings = sd?.embeddings ?? [];
  list.show(embeddings, waiting);
  maker.names = embeddings.map(({ name }) => name);
  $('embeddings').classList.toggle('filled', waiting.length + embeddings.length > 0);
  $('forget').hidden = kept.size === 0;
  showStore();
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
let storeTrouble = ''; // why embeddings are not kept, as a sentence

// Without storage everything else works; that is said once. A full one still gives what it has, and forgets.
async function stored(work) {
  if (!storeWorks) return null;
  try {
    return await work();
  } catch (error) {
    const full = error.name === 'QuotaExceededError';
    storeWorks = full;
    storeTrouble = sentences(`New embeddings are not kept for the next visit: ${full ? 'the browser’s storage is full' : error.message}`);
    showStore();
    return null;
  }
}

function showStore() {
  const inStore = storeWorks ? [...kept.values()].filter(({ key }) => key).length : 0;
  $('store-status').textContent = sentences(inStore && `${inStore} kept in this browser for the next visit`, storeTrouble);
}

// What is forgotten makes room.
async function forget(key) {
  await stored(() => store.forget(key));
  if (storeWorks) storeTrouble = '';
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
  for (const { key } of entries) if (key) await forget(key);
  showEmbeddings();
  countTokens();
}

// ---- the built-in model

async function aboutDemo(work) {
  messages.clear('demo');
  try {
    return await work();
  } catch (error) {
    messages.show('demo', error);
    return null;
  } finally {
    if (!loading) loadProgress.hide();
  }
}

const loadDemo = () => aboutDemo(async () => {
  const file = await demo.modelFile(showLoad);
  if (sd && source === file) return;
  await loadModel(file);
  form.fill(demo.settings);
});

const addDemoEmbedding = (name) => aboutDemo(async () => {
  const file = await demo.embeddingFile(name);
  if (!sd?.embeddings.some((embedding) => embedding.name === name)) await addEmbeddings([file]);
});

async function playExample({ embeddings, ...settings }) {
  if (making || loading) return;
  await loadDemo();
  if (!sd) return;
  for (const name of embeddings) await addDemoEmbedding(name);
  form.fill({ ...defaults, ...demo.settings, ...settings });
  await generate();
}

async function openDemo() {
  demo = await Demo.open();
  if (demo) $('demo').show(demo);
  await keepForOffline(demo).catch(() => {}); // Without it the page needs the network, as any page does.
}

// ---- recipes

// `hint` is what may help where there is no recipe.
async function useRecipe(given, from, hint) {
  messages.clear('recipe');
  try {
    const read = await readRecipe(given);
    const refused = form.fill({ ...read, ...templatesOf(read) });
    recipe = { recipe: read, from, refused };
    showRecipe();
  } catch (error) {
    messages.show('recipe', { code: error.code, message: error.message, hint: error.hint ?? hint });
  }
}

// What goes into the fields: with its seed a template chooses again what it chose, and a brace that was meant as a brace
// stays one. A1111's prompts are not worked out here; a template beside one is an extension's, in a grammar of its own.
function templatesOf({ promptSyntax, prompt, template, negativePrompt, negativeTemplate }) {
  if (promptSyntax === 'a1111') return { prompt, negativePrompt };
  return { prompt: template ?? prompt, negativePrompt: negativeTemplate ?? negativePrompt };
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
  const hint = sd ? undefined : 'If it hides an embedding in its pixels, load a model first and drop it again';
  return useRecipe(file, file.name, hint);
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
$('demo').addEventListener('load', loadDemo);
$('demo').addEventListener('example', ({ detail }) => playExample(detail));
$('demo').addEventListener('embedding', ({ detail: name }) => addDemoEmbedding(name));
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
// The browser itself writes the name where it is dropped into a prompt.
const isText = (target) => target.closest?.('textarea, input');
document.addEventListener('dragover', (event) => {
  if (event.dataTransfer.types.includes(DEMO_EMBEDDING) && !isText(event.target)) event.preventDefault();
});
document.addEventListener('drop', (event) => {
  const name = event.dataTransfer.getData(DEMO_EMBEDDING);
  if (!name) return;
  if (!isText(event.target)) event.preventDefault();
  addDemoEmbedding(name);
});
list.addEventListener('remove', ({ detail: name }) => removeEmbedding(name));
form.addEventListener('generate', generate);
form.addEventListener('stop', () => making?.abort());
form.addEventListener('prompts', countTokens);

restoreEmbeddings();
openDemo();
try {
  const { description, software } = await checkWebGPU();
  $('gpu').textContent = software ? `GPU: ${description}, which is a CPU in disguise: correct, but very slow.` : `GPU: ${description}`;
} catch (error) {
  // Not the end: small models run all the same.
  messages.show('gpu', { ...error, message: error.message, hint: sentences(error.hint, 'Meanwhile small models run on the CPU, slowly') });
  $('gpu').textContent = 'GPU: none; small models run on the CPU, slowly.';
}
