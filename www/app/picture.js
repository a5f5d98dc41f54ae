// The prompts, counted while they are written, and the picture that is made of them.

import { words } from '../text/language.js';
import { addToGallery } from './gallery.js';
import { recover, showMemory } from './model.js';
import { enqueue } from './queue.js';
import { prepareCopies } from './recipes.js';
import { $, app, form, messages, progress } from './state.js';

// `?profile` in the address: under each picture, where its time went, kernel by kernel.
const profile = new URLSearchParams(location.search).has('profile') ? await import('./profile.js') : null;

let counting = 0;
let startAgain = null; // the newest picture

// Takes a picture to start from; the result gets its size.
export function sizeOfStart({ width, height }) {
  const side = (pixels) => String(Math.max(64, Math.floor(pixels / 8) * 8));
  form.fill({ width: side(width), height: side(height) });
}

export async function startFromResult() {
  await $('start').take(startAgain);
  $('start').scrollIntoView({ block: 'nearest' });
}

// Tells how long the prompt is and which embeddings it misses, a moment after the last key.
export async function countTokens() {
  const mine = ++counting;
  await new Promise((resolve) => { setTimeout(resolve, 250); });
  if (mine !== counting || !app.sd) return;
  const { prompts, promptSyntax, seed } = form;
  try {
    const readings = await Promise.all(prompts.map((prompt) => app.sd.tokens(prompt, { promptSyntax, seed })));
    if (mine !== counting) return;
    form.show(prompts, readings);
    warn(readings.flatMap(({ warnings }) => warnings));
  } catch {
    // The model was replaced or crashed meanwhile, which whoever uses it will say.
  }
}

// Missing embeddings are marked at their names.
function warn(warnings) {
  const others = warnings.filter(({ code }) => code !== 'UNKNOWN_EMBEDDING');
  form.warn([...new Map(others.map((warning) => [warning.message, warning])).values()]);
}

// Whether pictures can be made; if not, it is said why.
export function canGenerate() {
  messages.clear('picture');
  if (!app.sd) messages.show('picture', app.loading ? words.model.stillLoading : words.model.first);
  return app.sd !== null;
}

// As the form has it now, also where it waits for its turn.
export const optionsOfForm = () => ({ ...form.options, ...$('start').options });

export async function generate() {
  if (!canGenerate()) return;
  const options = optionsOfForm();
  // On a narrow screen it is made beyond the lower edge.
  if (!app.making) $('picture').querySelector('figure').scrollIntoView({ block: 'nearest' });
  await enqueue(async (signal) => {
    const result = await makePicture(options, signal);
    if (!result) return;
    $('milestones').textContent = words.picture.ready;
    for (const { png, params } of result.images) addToGallery(png, words.picture.seed(params.prompt || words.picture.noPrompt, params.seed));
  });
}

// One picture, told as it is made, or null. `told` is said before each step.
export async function makePicture(options, signal, told = '') {
  if (!canGenerate()) return null;
  progress.show(null, told + words.picture.preparing(app.sd.device === 'cpu'));
  if (!told) $('milestones').textContent = words.picture.begins;
  // A picture of one step has nothing to show before it is there.
  const preview = (options.steps > 1 || options.hires !== undefined) && $('picture').wantsPreviews;
  const picture = app.sd.generate(options, { signal, preview, profile: profile !== null && app.sd.device === 'webgpu' });
  app.made = picture.then(() => {}, () => {});
  try {
    for await (const event of picture) showEvent(event, told);
    return await picture;
  } catch (error) {
    if (signal.aborted) $('milestones').textContent = words.picture.stopped;
    else {
      messages.show('picture', error);
      await recover(error);
    }
    return null;
  } finally {
    $('picture').endPreview();
    progress.hide();
    document.title = 'Wordbrush';
    showMemory();
  }
}

function showEvent(event, told) {
  if (event.type === 'prepare') {
    progress.show(event.done / event.total, told + words.picture[event.what](event.done, event.total));
  } else if (event.type === 'tokens') {
    if (!told) warn(event.warnings);
  } else if (event.type === 'step') {
    // Decoding counts as one more step.
    const fraction = event.step / (event.steps + 1);
    const left = event.etaSeconds === null ? '' : words.model.left(event.etaSeconds);
    const larger = event.pass === 2 ? words.picture.secondPass : '';
    progress.show(fraction, told + words.picture.step(event.step, event.steps) + larger + left);
    if (event.preview) $('picture').preview(event.preview);
    document.title = `[${Math.floor(100 * fraction)}%] Wordbrush`;
    const quarter = (step) => Math.floor((4 * step) / event.steps);
    if (!told && quarter(event.step) > quarter(event.step - 1)) $('milestones').textContent = words.picture.step(event.step, event.steps);
  } else if (event.type === 'decode') {
    progress.show(null, told + words.picture.decoding(event.picture + 1, event.pictures));
  } else if (event.type === 'done') {
    $('picture').show(event.result);
    startAgain = event.result.png;
    form.lastSeed = event.result.params.seed;
    $('start-again').hidden = false;
    prepareCopies(event.result.png);
    if (event.result.profile) profile.show(event.result.profile);
  }
}
