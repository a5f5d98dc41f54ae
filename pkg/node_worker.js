// worker.js in a thread of Node.js: gives it what a browser's worker has.

import { openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parentPort } from 'node:worker_threads';
import { NO_ADAPTER, openGpu } from './node_gpu.js';

let hint = NO_ADAPTER;

globalThis.self = globalThis;
globalThis.Window = class {}; // wgpu looks for navigator.gpu only where there is a window
globalThis.postMessage = (data, transfer = []) => {
  if (data.error?.code === 'NO_GPU') data.error.hint = hint;
  parentPort.postMessage(data, transfer);
};
globalThis.addEventListener = (type, listener) => {
  if (type === 'error') process.on('uncaughtException', (error) => listener({ message: error.message, preventDefault() {} }));
  else process.on('unhandledRejection', (reason) => listener({ reason, preventDefault() {} }));
};

// Node's fetch reads no files, so the engine is given its bytes; worker.js then finds it ready.
const { default: init } = await import('./wordbrush.js');
await init({ module_or_path: await readFile(new URL('./wordbrush_bg.wasm', import.meta.url)) });
await import('./worker.js');

// One after the other: opening files must not change the messages' order.
let delivered = Promise.resolve();
parentPort.on('message', (data) => {
  delivered = delivered.then(() => deliver(data)).catch(({ message }) => {
    self.postMessage({ id: data.id, error: { code: 'READ', message } });
  });
});

async function deliver(data) {
  if (data.type === 'open') await findGpu();
  if (data.files) data.files = await Promise.all(data.files.map(open));
  self.onmessage({ data });
}

// Recipes need none, so it is looked for when a model is opened.
async function findGpu() {
  const { gpu, globals, missing } = await openGpu();
  if (missing) hint = missing;
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
}

async function open({ path, ...file }) {
  return path === undefined ? file : { ...file, blob: await openAsBlob(path) };
}
