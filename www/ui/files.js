// Files that were dropped or chosen: collected from folders, then told apart by their content.

// Larger than any embedding (the engine's own limit is the same): a checkpoint, or something that claims to be one.
const EMBEDDING_LIMIT = 32 * 1024 * 1024;
const CHECKPOINT_NAMES = /"(?:model\.diffusion_model|first_stage_model|cond_stage_model|conditioner|down_blocks)\./;

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

// What to load as a model (a File, or the Files of a diffusers folder, or null), and what to add as embeddings.
export async function sortFiles(files) {
  const inUnet = files.find((file) => /\/unet\/[^/]*$/.test(file.webkitRelativePath ?? ''));
  const folder = inUnet?.webkitRelativePath.split('/unet/')[0];
  const inFolder = folder === undefined ? [] : files.filter((file) => file.webkitRelativePath.startsWith(`${folder}/`));
  const rest = files.filter((file) => !inFolder.includes(file));
  const isModel = await Promise.all(rest.map(looksLikeModel));
  const models = [...(inFolder.length ? [inFolder] : []), ...rest.filter((_, i) => isModel[i])];
  return { models, embeddings: rest.filter((_, i) => !isModel[i]) };
}

async function looksLikeModel(file) {
  if (file.size > EMBEDDING_LIMIT) return true;
  if (file.size < 8) return false;
  try {
    const head = new DataView(await file.slice(0, 8).arrayBuffer());
    const length = Number(head.getBigUint64(0, true));
    return length + 8 <= file.size && CHECKPOINT_NAMES.test(await file.slice(8, 8 + length).text());
  } catch {
    return false; // It cannot be read, which whoever opens it will say.
  }
}

export function modelName(source) {
  if (!Array.isArray(source)) return source.name;
  return source[0].webkitRelativePath.split('/')[0] || 'the folder';
}
