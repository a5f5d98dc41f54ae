// The page: who calls what.

import { checkWebGPU } from './pkg/index.js';
import {
  aboutEmbedding, addEmbeddings, forgetEmbeddings, makeEmbedding, removeEmbedding, restoreEmbeddings, showEmbeddings,
} from './app/embeddings.js';
import { addDemoEmbedding, exampleWaits, generateExample, loadDemo, openDemo, playExample, showDemo } from './app/examples.js';
import {
  copyPicture, deletePicture, rememberSwitch, restoreGallery, reuseSeed, reuseSettings, savePicture,
} from './app/gallery.js';
import { loadModel, loadVae, showModel } from './app/model.js';
import { offerInstall } from './app/offline.js';
import { countTokens, generate, sizeOfStart, startFromResult } from './app/picture.js';
import { emptyQueue } from './app/queue.js';
import { copyRecipe, takePicture, useRecipe } from './app/recipes.js';
import { download, getFound, keepModel, lookUp, openStored, persist, removeStored } from './app/shelf.js';
import { compare, grid, sweep } from './app/series.js';
import { $, app, form, list, maker, messages } from './app/state.js';
import { callOf } from './text/prompt_edit.js';
import { language, speak, words } from './text/language.js';
import { looksLikeAddress } from './ui/addresses.js';
import { DEMO_EMBEDDING } from './ui/demo_panel.js';
import { saveAs } from './ui/dom.js';
import { looksLikeRecipe, mayHoldEmbedding, modelName, sortFiles, takePreviews } from './ui/files.js';
import { fileName } from './ui/format.js';
import { takeDrops } from './ui/window_drop.js';
import './ui/embedding_list.js';
import './ui/embedding_maker.js';
import './ui/file_zone.js';
import './ui/message_list.js';
import './ui/model_shelf.js';
import './ui/picture_frame.js';
import './ui/picture_gallery.js';
import './ui/picture_series.js';
import './ui/progress_line.js';
import './ui/prompt_form.js';
import './ui/start_picture.js';

let showGpu = () => {};

// The scripts that are started by URL are the engine's worker and the service worker; the page's policy refuses every other.
const SCRIPTS = ['./pkg/worker.js', './sw.js'].map((path) => new URL(path, import.meta.url).href);
globalThis.trustedTypes?.createPolicy('default', { createScriptURL: (url) => (SCRIPTS.includes(url) ? url : null) });

async function takeFiles(files) {
  const { previews, rest } = await takePreviews(files);
  const { models, vaes, pictures, recipes, embeddings } = await sortFiles(rest);
  if (models.length > 1) messages.show('models', words.model.oneAtATime(modelName(models[0])));
  else messages.clear('models');
  await Promise.all([models.length ? loadModel(models[0]) : null, addEmbeddings(embeddings.filter((file) => !file.webkitRelativePath || mayHoldEmbedding(file)), previews)]);
  if (vaes.length) await loadVae(vaes.at(-1));
  for (const file of pictures) await takePicture(file);
  if (recipes.length) await useRecipe(recipes.at(-1), recipes.at(-1).name);
}

takeDrops($('drop-hint'), async (files) => {
  try {
    await takeFiles(await files);
  } catch (error) {
    messages.show('drop', { message: words.page.cannotRead(error.message) });
  }
});
$('demo').addEventListener('load', loadDemo);
$('demo').addEventListener('example', ({ detail }) => playExample(detail));
$('demo').addEventListener('embedding', ({ detail: name }) => addDemoEmbedding(name));
$('model').addEventListener('files', ({ detail: { files, folder, input } }) => {
  if (input === 'vae-file') loadVae(files[0]);
  else loadModel(folder ? files : files[0]);
});
const SHELF = { look: lookUp, get: getFound, add: download, open: openStored, remove: removeStored, persist };
for (const [type, work] of Object.entries(SHELF)) $('shelf').addEventListener(type, ({ detail }) => work(detail));
$('keep-model').addEventListener('click', keepModel);
$('stop-loading').addEventListener('click', () => app.loading?.abort());
$('embeddings').addEventListener('files', async ({ detail: { files, folder } }) => {
  const { previews, rest } = await takePreviews(files);
  addEmbeddings(folder ? rest.filter(mayHoldEmbedding) : rest, previews);
});
list.callOf = (name) => callOf(name, form.promptSyntax);
list.addEventListener('insert', ({ detail: { name, field } }) => form.insert(list.callOf(name), field));
list.addEventListener('facts', ({ detail: name }) => aboutEmbedding(async () => list.showFacts(name, await app.sd.embeddingFacts(name))));
list.addEventListener('save', ({ detail: { name, format } }) => aboutEmbedding(async () => {
  saveAs(await app.sd.exportEmbedding(name, format), `${fileName(name)}.${format}`);
}));
list.addEventListener('compare', ({ detail: name }) => compare(name));
list.addEventListener('sweep', ({ detail: name }) => sweep(name));
$('series').addEventListener('grid', ({ detail }) => grid(detail));
$('series').addEventListener('save', ({ detail }) => savePicture(detail));
const gallery = $('gallery');
gallery.addEventListener('settings', ({ detail }) => reuseSettings(detail));
gallery.addEventListener('seed', ({ detail }) => reuseSeed(detail));
gallery.addEventListener('copy', ({ detail }) => copyPicture(detail));
gallery.addEventListener('save', ({ detail }) => savePicture(detail));
gallery.addEventListener('delete', ({ detail }) => deletePicture(detail));
maker.addEventListener('make', ({ detail: spec }) => makeEmbedding(spec));
$('forget').addEventListener('click', forgetEmbeddings);
$('recipe').addEventListener('recipe', ({ detail: text }) => useRecipe(text, words.recipe.pasted));
for (const copy of $('copies').querySelectorAll('button')) copy.addEventListener('click', () => copyRecipe(copy.dataset.form));
document.addEventListener('paste', (event) => {
  if (event.target.closest?.('input, textarea')) return;
  const { files } = event.clipboardData;
  const text = event.clipboardData.getData('text');
  if (files.length) takeFiles([...files]);
  else if (looksLikeAddress(text)) $('shelf').take(text.trim());
  else if (looksLikeRecipe(text)) useRecipe(text, words.recipe.pasted);
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
form.addEventListener('generate', () => (exampleWaits() ? generateExample() : generate()));
form.addEventListener('stop', () => app.making?.abort());
form.addEventListener('empty', emptyQueue);
form.addEventListener('prompts', countTokens);
$('start').addEventListener('taken', ({ detail }) => sizeOfStart(detail));
$('start').addEventListener('refused', ({ detail }) => messages.show('start', detail));
$('picture').addEventListener('save', (event) => {
  if ($('keep-recipes').checked) return; // The link does it.
  event.preventDefault();
  savePicture(event.detail);
});
$('start-again').addEventListener('click', startFromResult);

offerInstall($('install'));
$('language').value = language;
$('language').addEventListener('change', ({ target }) => speak(target.value));
document.addEventListener('language', () => {
  showModel();
  showEmbeddings();
  showDemo();
  showGpu();
  countTokens();
});

restoreEmbeddings();
showModel();
restoreGallery();
rememberSwitch();
openDemo();

try {
  const { description, software } = await checkWebGPU();
  showGpu = () => { $('gpu').textContent = (software ? words.page.software : words.page.gpu)(description); };
} catch (error) {
  // Not the end: small models run all the same.
  messages.show('gpu', error, words.page.meanwhile);
  showGpu = () => { $('gpu').textContent = words.page.noGpu; };
}
showGpu();
