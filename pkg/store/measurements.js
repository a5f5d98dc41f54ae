// What the engine measured on a GPU, kept from one visit to the next in the browser's own file system (OPFS): a text for each device,
// which only the engine understands. It can be made again at any time, so whatever goes wrong here is no matter.

import { keyOf } from './manifest.js';

const FOLDER = 'wordbrush-tuning';

async function place(device, options) {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle(FOLDER, options);
  return folder.getFileHandle(`${await keyOf(device)}.json`, options);
}

// undefined where there is none.
export async function readMeasurements(device) {
  try {
    return await (await (await place(device)).getFile()).text();
  } catch {
    return undefined;
  }
}

export async function keepMeasurements(device, text) {
  let writer;
  try {
    writer = await (await place(device, { create: true })).createWritable();
    await writer.write(text);
    await writer.close();
  } catch {
    await writer?.abort().catch(() => {});
  }
}
