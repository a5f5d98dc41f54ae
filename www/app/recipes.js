// Recipes: read from pictures and texts into the form, and copied from a picture that was made.

import { readRecipe, recipeText } from '../pkg/index.js';
import { words } from '../text/language.js';
import { saysItHoldsEmbedding } from '../ui/files.js';
import { usualSettings } from '../ui/prompt_form.js';
import { missingEmbeddings } from '../ui/recipe_panel.js';
import { addEmbedding, addEmbeddings, showEmbeddings } from './embeddings.js';
import { recover } from './model.js';
import { countTokens } from './picture.js';
import { $, app, form, messages } from './state.js';

// `hint` is what may help where there is no recipe.
export async function useRecipe(given, from, hint) {
  messages.clear('recipe');
  try {
    const read = await readRecipe(given);
    // A second pass has fields of its own; a denoise without one is that of a picture to start from.
    const told = Object.entries(read.hires ?? {}).filter(([, value]) => value !== undefined);
    const second = Object.fromEntries(told.map(([name, value]) => [`hires${name[0].toUpperCase()}${name.slice(1)}`, value]));
    if (read.denoise === undefined) $('start').forget();
    else $('start').fill(read);
    const refused = form.fill({ ...usualSettings, ...second, ...read, rng: read.rng ?? usualSettings.rng, ...templatesOf(read) });
    app.recipe = { recipe: read, from, refused };
    showRecipe();
  } catch (error) {
    messages.show('recipe', error, error.hint ? '' : hint);
  }
}

// What goes into the fields: with its seed a template chooses again what it chose, and a brace that was meant as a brace
// stays one. A1111's picture of a batch has a seed of its own. A1111's prompts are not worked out here; a template beside one is an extension's, in a grammar of its own.
function templatesOf({ promptSyntax, prompt, template, negativePrompt, negativeTemplate }) {
  if (promptSyntax === 'a1111') return { prompt, negativePrompt, batchSize: 1 };
  return { prompt: template ?? prompt, negativePrompt: negativeTemplate ?? negativePrompt };
}

export function showRecipe() {
  if (!app.recipe) return;
  const missing = app.sd ? missingEmbeddings(app.recipe.recipe, app.sd.embeddings) : app.recipe.recipe.embeddings.map(({ name }) => words.recipe.uses(name));
  $('recipe').show(app.recipe.from, [...app.recipe.refused, ...missing], app.recipe.recipe.notes);
}

// A picture may hold an embedding, a recipe, or neither; only the engine sees an embedding that is hidden in the pixels.
export async function takePicture(file) {
  const holds = await saysItHoldsEmbedding(file).catch(() => false);
  if (holds) return addEmbeddings([file]);
  if (app.sd && file.size < 32 * 1024 * 1024) {
    const error = await addEmbedding(file, { quiet: true });
    showEmbeddings();
    if (!error) return countTokens();
    recover(error);
  }
  const hint = app.sd ? undefined : words.recipe.hidden;
  return useRecipe(file, file.name, hint);
}

let copies = {};

export async function prepareCopies(png) {
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

export async function copyRecipe(name) {
  try {
    await navigator.clipboard.writeText(copies[name]);
    $('copied').textContent = words.page.copied;
  } catch (error) {
    messages.show('copy', words.page.cannotCopy(error.message));
  }
}
