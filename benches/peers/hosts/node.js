// A contender in a process of its own with Dawn, Chrome's WebGPU (npm `webgpu`), on whatever Vulkan driver VK_DRIVER_FILES names.
// Run by itself it is that process.

import { fork } from 'node:child_process';
import { openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe } from './adapter.js';

const HERE = fileURLToPath(import.meta.url);

export async function openNode() {
  const adapter = await call(fork(HERE), { command: 'adapter' }, { last: true });
  return {
    adapter,
    open: async () => {
      const child = fork(HERE);
      return {
        load: (options) => call(child, { command: 'load', options }),
        step: () => call(child, { command: 'step' }),
        peak: () => call(child, { command: 'peak' }),
        close: () => child.kill(),
      };
    },
    close: () => {},
  };
}

function call(child, message, { last = false } = {}) {
  return new Promise((resolve, reject) => {
    const ended = (code) => reject(new Error(`the process ended (${code})`));
    child.once('exit', ended);
    child.once('message', ({ result, error }) => {
      child.off('exit', ended);
      if (last) child.kill();
      if (error) reject(new Error(error));
      else resolve(result);
    });
    child.send(message);
  });
}

async function serve() {
  const { create, globals } = await import('webgpu');
  const gpu = create([]);
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'Node.js', hardwareConcurrency: 1 }, configurable: true });
  globalThis.self = globalThis;
  globalThis.Window = class {}; // wgpu looks for navigator.gpu only where there is a window
  takeSharedMemory();
  const { commands } = await import('./contender.js');
  const { peakRate } = await import('../lib/peak.js');
  const handlers = {
    adapter: () => describe(gpu),
    peak: () => peakRate(gpu),
    step: () => commands.step(),
    load: async ({ folder, files, ...options }) => {
      const blobs = await Promise.all(Object.entries(files).map(async ([name, path]) => [name, await openAsBlob(join(folder, path))]));
      const wasm = await readFile(new URL('../../../pkg/wordbrush_bg.wasm', import.meta.url));
      return commands.load({ ...options, files: Object.fromEntries(blobs), wasm });
    },
  };
  process.on('disconnect', () => process.exit());
  process.on('message', async ({ command, options }) => {
    try {
      process.send({ result: await handlers[command](options) });
    } catch (error) {
      process.send({ error: error.stack ?? String(error) });
    }
  });
}

// onnxruntime-web's memory is shared, and this Dawn, unlike browsers, writes from no such memory: it gets a copy.
function takeSharedMemory() {
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...range) {
    const shared = (data.buffer ?? data) instanceof SharedArrayBuffer;
    return writeBuffer.call(this, buffer, offset, shared ? data.slice() : data, ...range);
  };
}

if (process.argv[1] === HERE) await serve();
