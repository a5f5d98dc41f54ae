// Files that were dropped or chosen: collected from folders, then told apart by their content.

import { words } from '../text/language.js';

// Larger than any embedding (the engine's own limit is the same): a checkpoint, or something that claims to be one.
const EMBEDDING_LIMIT = 32 * 1024 * 1024;
const CHECKPOINT_NAMES = /"(?:model\.diffusion_model|cond_stage_model|conditioner|down_blocks)\./;
const VAE_NAMES = /"(?:first_stage_model\.)?(?:decoder|encoder)\.conv_in\./;
const TAESD_NAMES = /"(?:(?:taesd_)?decoder\.(?:layers\.)?)?\d+\.conv\.0\./;
const HEADER_LIMIT = 64 * 1024 * 1024;
const EMBEDDING_NAME = /\.(safetensors|pt|bin)$/i;
const PICTURE_NAME = /(\.preview)?\.(png|jpe?g|webp)$/i;
const PREVIEW_SIDE = 256;
const RECIPE_TEXT = /^\s*\{|(?:^|\n)\s*Steps: \d/;
const TEXT_LIMIT = 4 * 1024 * 1024;

// All files of a drop, those inside folders with their path in `webkitRelativePath`.
export async function droppedFiles(dataTransfer) {
  const items = [...dataTransfer.items].filter((item) => item.kind === 'file');
  // Entries and files must be taken before the first await; the browser empties the drop then.
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const files = await Promise.all(taken.map(({ entry, file }) => (entry?.isDirectory ? filesOfEntry(entry) : [file])));
  return files.flat().filter(Boolean);
}

async function filesOfEntry(entry) {
  if (entry.name.startsWith('.')) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    return [Object.defineProperty(file, 'webkitRelativePath', { value: entry.fullPath.replace(/^\//, '') })];
  }
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    // A reader gives at most a hundred entries at a time.
    const entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (entries.length === 0) return files;
    for (const inner of entries) files.push(...await filesOfEntry(inner));
  }
}

// By content: models (a File, or the Files of a diffusers folder), VAEs, pictures, texts with recipes; the rest is embeddings.
export async function sortFiles(files) {
  const inUnet = files.find((file) => /\/unet\/[^/]*$/.test(file.webkitRelativePath ?? ''));
  const folder = inUnet?.webkitRelativePath.split('/unet/')[0];
  const inFolder = folder === undefined ? [] : files.filter((file) => file.webkitRelativePath.startsWith(`${folder}/`));
  const rest = files.filter((file) => !inFolder.includes(file));
  const sorted = { models: inFolder.length ? [inFolder] : [], vaes: [], pictures: [], recipes: [], embeddings: [] };
  const kinds = await Promise.all(rest.map(kindOf));
  rest.forEach((file, i) => sorted[kinds[i]].push(file));
  return sorted;
}

export function looksLikeRecipe(text) {
  return RECIPE_TEXT.test(text);
}

async function kindOf(file) {
  try {
    const head = new DataView(await file.slice(0, 16).arrayBuffer());
    if (head.byteLength < 8) return 'embeddings';
    const is = (at, code) => head.byteLength >= at + 4 && head.getUint32(at) === code;
    if (is(0, 0x89504e47) || head.getUint32(0) >>> 8 === 0xffd8ff || (is(0, 0x52494646) && is(8, 0x57454250))) return 'pictures';
    const length = Number(head.getBigUint64(0, true));
    if (length + 8 <= file.size && length <= HEADER_LIMIT) {
      const names = await file.slice(8, 8 + length).text();
      if (CHECKPOINT_NAMES.test(names)) return 'models';
      if (VAE_NAMES.test(names) || TAESD_NAMES.test(names)) return 'vaes';
    } else if (file.size <= TEXT_LIMIT && looksLikeRecipe(await file.text())) return 'recipes';
  } catch {
    // It cannot be read, which whoever opens it will say.
  }
  return file.size > EMBEDDING_LIMIT ? 'models' : 'embeddings';
}

// Folders hold other files too.
export const mayHoldEmbedding = ({ name }) => EMBEDDING_NAME.test(name) || PICTURE_NAME.test(name);

// Pictures that show what an embedding beside them does, as A1111 keeps them: name.png or name.preview.png beside name.pt. Gives
// them by the embeddings' files, and the other files.
export async function takePreviews(files) {
  const pathOf = (file) => file.webkitRelativePath || file.name;
  const owners = new Map(files.filter(({ name }) => EMBEDDING_NAME.test(name)).map((file) => [pathOf(file).replace(EMBEDDING_NAME, ''), file]));
  const previews = new Map();
  const rest = [];
  for (const file of files) {
    const owner = PICTURE_NAME.test(file.name) ? owners.get(pathOf(file).replace(PICTURE_NAME, '')) : undefined;
    if (!owner || await saysItHoldsEmbedding(file).catch(() => false)) rest.push(file);
    else if (!previews.has(owner) || /\.preview\./i.test(file.name)) previews.set(owner, file);
  }
  return { previews, rest };
}

// A picture, small enough to be kept for each of thousands; null for what is none.
export async function thumbnail(file) {
  if (!PICTURE_NAME.test(file.name)) return null;
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, PREVIEW_SIDE / Math.max(picture.width, picture.height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(picture.width * scale)), Math.max(1, Math.round(picture.height * scale)));
    canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    return await canvas.convertToBlob({ type: 'image/webp', quality: 0.8 });
  } catch {
    return null;
  }
}

// Whether a picture says in its metadata that it holds an embedding; one that hides it in its pixels needs the engine.
export async function saysItHoldsEmbedding(file) {
  if (file.size > EMBEDDING_LIMIT) return false;
  return new TextDecoder('latin1').decode(await file.arrayBuffer()).includes('sd-ti-embedding');
}

export function modelName(source) {
  if (!Array.isArray(source)) return source.name;
  return source[0].webkitRelativePath.split('/')[0] || words.model.theFolder;
}
