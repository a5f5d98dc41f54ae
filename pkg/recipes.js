// Recipes: read from pictures and texts, written as other programs write them, and as options.

import { EngineWorker } from './engine_worker.js';
import { WordbrushError } from './errors.js';
import { CALL_OPTIONS, known } from './options.js';
import { platform } from './platform.js';
import { bytesOf } from './sources.js';

const PICTURE_LIMIT = 256 * 1024 * 1024;

export async function readRecipe(source, options = {}) {
  const { signal } = known(options, CALL_OPTIONS);
  if (typeof source === 'string') return recipeCall('readRecipe', { bytes: new TextEncoder().encode(source), name: 'The text' }, signal);
  if (!(source instanceof Blob)) throw new WordbrushError('BAD_OPTION', 'readRecipe needs a File, a Blob or a text.');
  const name = source.name ?? 'The picture';
  if (source.size > PICTURE_LIMIT) throw new WordbrushError('TOO_LARGE', `${name} has more than 256 MiB: no recipe is looked for in it.`);
  return recipeCall('readRecipe', { bytes: await bytesOf(source, name), name }, signal);
}

export async function recipeText(recipe, form = 'a1111', options = {}) {
  return recipeCall('recipeText', { recipe, form: String(form) }, known(options, CALL_OPTIONS).signal);
}

export async function writeRecipe(png, recipe, options = {}) {
  const { signal } = known(options, CALL_OPTIONS);
  if (!(png instanceof Blob)) throw new WordbrushError('BAD_OPTION', 'writeRecipe needs a PNG as a Blob.');
  const bytes = await bytesOf(png, png.name ?? 'The picture');
  return new Blob([await recipeCall('writeRecipe', { bytes, recipe }, signal)], { type: 'image/png' });
}

// Recipes have a worker of their own, so that they need no model and wait for none; it ends when it is not used for a while.
let recipeWorker = null;
let recipeRest;

async function recipeCall(type, payload, signal) {
  signal?.throwIfAborted();
  clearTimeout(recipeRest);
  const worker = recipeWorker ??= new EngineWorker();
  try {
    return await worker.call(type, payload, { signal });
  } finally {
    if (worker.idle) {
      clearTimeout(recipeRest);
      if (worker.ended) recipeWorker = recipeWorker === worker ? null : recipeWorker;
      else recipeRest = platform.later(() => endRecipeWorker(worker), 10_000);
    }
  }
}

function endRecipeWorker(worker) {
  worker.stop(new WordbrushError('DISPOSED', 'The worker for recipes has ended.'));
  if (recipeWorker === worker) recipeWorker = null;
}

// A recipe's options. Its template, not what was made of it, gives the same again. With A1111's conventions the seed is the
// picture's own, so that it needs no batch around it.
export function optionsOf(recipe) {
  const { batchPosition, model, modelHash, vae, embeddings, template, negativeTemplate, extra, notes, ...options } = recipe;
  if (options.promptSyntax === 'a1111') return { ...options, batchSize: 1 };
  return { ...options, prompt: template ?? options.prompt, negativePrompt: negativeTemplate ?? options.negativePrompt };
}
