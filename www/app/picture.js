// The prompts, counted while they are written, and the picture that is made of them.

import { duration } from '../ui/format.js';
import { recover, showMemory } from './model.js';
import { prepareCopies } from './recipes.js';
import { $, app, form, messages, progress } from './state.js';

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
  try {
    const [positive, negative] = await Promise.all(form.prompts.map((prompt) => app.sd.tokens(prompt, { promptSyntax: form.promptSyntax })));
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

export async function generate() {
  messages.clear('picture');
  if (!app.sd) {
    messages.show('picture', app.loading ? 'The model is still loading.' : 'Drop or choose a model first.');
    return;
  }
  app.making = new AbortController();
  form.running = true;
  progress.show(null, `Reading the prompt, preparing the ${app.sd.device === 'cpu' ? 'CPU' : 'GPU'}…`);
  $('milestones').textContent = 'Making a picture.';
  const options = { ...form.options, ...$('start').options };
  const picture = app.sd.generate(options, { signal: app.making.signal, preview: $('picture').wantsPreviews });
  app.made = picture.then(() => {}, () => {});
  try {
    for await (const event of picture) showEvent(event);
    $('milestones').textContent = 'The picture is ready.';
  } catch (error) {
    if (app.making.signal.aborted) $('milestones').textContent = 'Stopped.';
    else {
      messages.show('picture', error);
      recover(error);
    }
  } finally {
    app.making = null;
    form.running = false;
    $('picture').endPreview();
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
    const larger = event.pass === 2 ? ' of the second pass' : '';
    progress.show(fraction, `Step ${event.step} of ${event.steps}${larger}${left}`);
    if (event.preview) $('picture').preview(event.preview);
    document.title = `[${Math.floor(100 * fraction)}%] Wordbrush`;
    const quarter = (step) => Math.floor((4 * step) / event.steps);
    if (quarter(event.step) > quarter(event.step - 1)) $('milestones').textContent = `Step ${event.step} of ${event.steps}`;
  } else if (event.type === 'decode') {
    const which = event.pictures > 1 ? `picture ${event.picture + 1} of ${event.pictures}` : 'the result';
    progress.show(null, `Turning ${which} into pixels…`);
  } else if (event.type === 'done') {
    $('picture').show(event.result);
    startAgain = event.result.png;
    $('start-again').hidden = false;
    prepareCopies(event.result.png);
  }
}
