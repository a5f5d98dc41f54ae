// What the parts of the page share: the model in use, what is under way, and the elements that tell about it.

export const $ = (id) => document.getElementById(id);

export const [messages, form, list, maker, progress, loadProgress] =
  ['messages', 'form', 'embedding-list', 'maker', 'progress', 'load-progress'].map($);

export const app = {
  sd: null, // the model in use
  source: null, // where it came from, to load it again after a crash
  vae: null, // the File of a separate VAE
  taesd: null, // the File of a TAESD
  loading: null, // the AbortController of the load under way
  making: null, // the AbortController of the picture under way
  made: Promise.resolve(), // settles with the picture under way
  demo: null, // the built-in model and its examples, where the page comes with them
  example: null, // the example that the form shows since the page was opened
  recipe: null, // {recipe, from, refused}: the one that filled the form
};

// Embedding File → {path, folder and preview (see ui/store.js), names: Set of those it gave, or null while it waits for a model, other: whether it belongs to
// another model than this one, key in the store}.
export const kept = new Map();
