// The gallery: every picture made here, kept for the next visit where the browser has room.

import { readRecipe, writeRecipe } from '../pkg/index.js';
import { words } from '../text/language.js';
import { saveAs } from '../ui/dom.js';
import { sentences } from '../ui/format.js';
import * as store from '../ui/gallery_store.js';
import { useRecipe } from './recipes.js';
import { $, form, messages } from './state.js';

// Newest first: {id, png, title}; one that could not be kept has no id.
const pictures = [];

const show = () => $('gallery').show(pictures);

export async function restoreGallery() {
  try {
    // A picture that was made meanwhile is in the store too.
    const known = new Set(pictures.map(({ id }) => id));
    pictures.push(...(await store.restore()).filter(({ id }) => !known.has(id)));
  } catch (error) {
    $('gallery').tell(words.gallery.unreadable(error.message));
  }
  show();
}

export async function addToGallery(png, title) {
  const picture = { id: null, png, title };
  pictures.unshift(picture);
  try {
    picture.id = await store.keep(png, title);
    $('gallery').tell('');
  } catch (error) {
    const why = error.name === 'QuotaExceededError' ? words.gallery.full : error.message;
    $('gallery').tell(words.gallery.notKept(why));
  }
  show();
}

export async function deletePicture(picture) {
  pictures.splice(pictures.indexOf(picture), 1);
  show();
  try {
    if (picture.id !== null) await store.forget(picture.id);
    $('gallery').tell(words.gallery.deleted);
  } catch (error) {
    $('gallery').tell(words.gallery.notDeleted(error.message));
  }
}

export const reuseSettings = ({ png }) => useRecipe(png, words.recipe.gallery);

export async function reuseSeed({ png }) {
  try {
    form.fill({ seed: (await readRecipe(png)).seed });
  } catch (error) {
    messages.show('recipe', error);
  }
}

// The switch stays as it is left. A browser that keeps nothing has it on.
const SWITCH = 'saved pictures carry their recipe';

export function rememberSwitch() {
  const keep = $('keep-recipes');
  try {
    keep.checked = localStorage.getItem(SWITCH) !== 'no';
    keep.addEventListener('change', () => localStorage.setItem(SWITCH, keep.checked ? 'yes' : 'no'));
  } catch {
    // Storage is switched off.
  }
}

// What leaves the page carries its recipe, or says nothing, as the switch has it.
const outgoing = (png) => ($('keep-recipes').checked ? png : writeRecipe(png));

export async function savePicture({ png, name }) {
  try {
    saveAs(await outgoing(png), name);
  } catch (error) {
    messages.show('save', error);
  }
}

export async function copyPicture({ png }) {
  try {
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': outgoing(png) })]);
    $('gallery').tell(words.page.copied);
  } catch (error) {
    $('gallery').tell(sentences(words.page.cannotCopy(error.message)));
  }
}
