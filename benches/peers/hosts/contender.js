// One contender in one host, page or process: loads, steps, and tells what it asked of WebGPU. Both hosts serve this file's `commands`.

import { countWebGPU } from '../lib/counters.js';
import { Tensors } from '../lib/numbers.js';

const counted = countWebGPU();
let contender;

export const commands = {
  // Ready is when the first step is done: loaded, and everything compiled.
  async load({ name, files, size, dtype, wasm }) {
    const inputs = await Tensors.open(files[`step-${size}.safetensors`]);
    const { load } = await import(`../contenders/${name}.js`);
    const started = performance.now();
    contender = await load({ files, size, dtype, inputs, counted, wasm });
    const loaded = performance.now();
    await contender.step();
    const ready = performance.now();
    const guided = Array.from(await contender.guided());
    counted.take();
    const { storage, note } = contender;
    return { storage, note, guided, loadSeconds: (loaded - started) / 1000, readySeconds: (ready - started) / 1000 };
  },

  async step() {
    const started = performance.now();
    await contender.step();
    const seconds = (performance.now() - started) / 1000;
    return { seconds, ...counted.take(), peak: counted.memory.peak, bytes: counted.memory.bytes };
  },
};
