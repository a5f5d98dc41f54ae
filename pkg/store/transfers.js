// The files of the worker's calls: opened from wherever they are, told of while they come, and closed when the call ends.

import { keyOf } from './manifest.js';
import { keepFile, openStored, openUrl } from './open.js';

const transfers = new Map(); // call → {control, opened}: what stops those that are being opened, and the Blocks that are open

// Who waits for the network, or for another tab, would not look up.
export function stopTransfers(id) {
  const { control, opened = [] } = transfers.get(id) ?? {};
  control?.abort();
  for (const blocks of opened) blocks.close();
}

function begin(id) {
  const transfer = { control: new AbortController(), opened: [] };
  transfers.set(id, transfer);
  return { opened: transfer.opened, tell: teller(id, transfer.control.signal) };
}

// Calls `work` with the files as the engine reads them, and with a function that tells whether some of them still arrive. What it
// refuses does not stay in the store; what was stopped does, to go on from there. `how` is {kind, store, block} as for openUrl,
// and `check`, which throws once the call was stopped.
export async function withFiles(id, files, how, work) {
  const { opened, tell } = begin(id);
  const arriving = () => opened.some(({ isArriving }) => isArriving);
  let discard = false;
  try {
    const sources = [];
    for (const file of files) {
      const sends = file.url ? await openUrl(file, { ...how, tell }) : file.stored && await openStored(file.stored, { tell });
      if (sends) opened.push(sends);
      sources.push(sends || file);
      how.check();
    }
    const value = await work(sources, arriving).catch((error) => {
      discard = REFUSED.has(error.code);
      throw addressed(error, opened);
    });
    for (const blocks of opened) {
      await blocks.whenStored().catch(() => {}); // Why not was told.
      how.check();
      await (how.block ? blocks.close() : blocks.settle());
    }
    return value;
  } catch (error) {
    for (const blocks of opened) await blocks.close({ discard });
    throw error;
  } finally {
    transfers.delete(id);
  }
}

// Brings a file into the store; gives its key there.
export async function bringIn(id, file, { kind, check }) {
  const { opened, tell } = begin(id);
  try {
    const { key, blocks } = file.blob
      ? await keepFile(new File([file.blob], file.name, { lastModified: file.blob.lastModified }), { kind, tell })
      : { key: await keyOf(file.url), blocks: await openUrl(file, { kind, store: true, tell }) };
    opened.push(blocks);
    check();
    await blocks.whenStored();
    return key;
  } finally {
    transfers.delete(id);
    for (const blocks of opened) await blocks.close();
  }
}

// What makes a file useless, whoever loads it and wherever.
const REFUSED = new Set([
  'TRUNCATED', 'HTML_PAGE', 'LFS_POINTER', 'UNKNOWN_FORMAT', 'BAD_SAFETENSORS', 'WRONG_FAMILY', 'MISSING_TENSORS', 'WRONG_SHAPE',
  'WRONG_DTYPE', 'EMPTY_FILE', 'INTEGRITY',
]);

function addressed(error, opened) {
  const [{ url } = {}] = opened;
  if (!url || !REFUSED.has(error.code) || error.message.includes(url)) return error;
  const message = `${error.message.replace(/\.?$/, '.')} It came from ${url}.`;
  return Object.assign(new Error(message), { code: error.code });
}

// What happens to a transfer, as events of a call, not more often than a page can show.
function teller(id, signal) {
  let told = -Infinity;
  const report = (phase) => (loaded, total) => {
    if (loaded < total && performance.now() - told < 100) return;
    told = performance.now();
    self.postMessage({ id, event: { phase, loaded, total } });
  };
  const note = (sentence) => self.postMessage({ id, event: { note: sentence } });
  return { progress: report('download'), waiting: report('wait'), note, signal };
}
