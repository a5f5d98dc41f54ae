// onnxruntime-web on its WebGPU execution provider: inputs and outputs are buffers on the GPU, bound once, and where the graph allows
// it the commands are captured.

import * as ort from '../node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs';
import { readBuffer } from '../lib/counters.js';
import { fromHalves } from '../lib/numbers.js';

export async function load({ files, size, dtype, inputs }) {
  const names = Object.keys(files).filter((name) => name.startsWith(`weights-${dtype}-`));
  const model = new Uint8Array(await files[`${size}-${dtype}.onnx`].arrayBuffer());
  const open = (enableGraphCapture) => ort.InferenceSession.create(model, {
    executionProviders: ['webgpu'],
    externalData: names.map((name) => ({ path: name, data: files[name] })),
    preferredOutputLocation: 'gpu-buffer',
    graphOptimizationLevel: 'all',
    enableGraphCapture,
  });
  // Refused where an operator runs on the CPU.
  let captured = true;
  const session = await open(true).catch((error) => {
    console.log(`onnxruntime-web captures no graph here: ${error.message}`);
    captured = false;
    return open(false);
  });
  const device = await ort.env.webgpu.device;
  const [dataType, half] = dtype === 'f16' ? ['float16', '.f16'] : ['float32', ''];
  const bound = (dims, bytes) => {
    const width = dtype === 'f16' ? 2 : 4;
    const length = dims.reduce((a, b) => a * b, width);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: Math.ceil(length / 16) * 16, usage });
    if (bytes) device.queue.writeBuffer(buffer, 0, padded(bytes));
    return { buffer, tensor: ort.Tensor.fromGpuBuffer(buffer, { dataType, dims }) };
  };
  const feeds = {};
  for (const name of ['latents', 'timestep', 'context']) {
    feeds[name] = bound(inputs.shape(name), await inputs.bytes(name + half)).tensor;
  }
  const eps = bound([2, 4, size, size]);
  return {
    storage: dtype,
    note: captured ? 'graph captured' : 'graph not captured',
    step: async () => {
      await session.run(feeds, { eps: eps.tensor });
      await device.queue.onSubmittedWorkDone();
    },
    guided: async () => {
      const bytes = await readBuffer({ device, buffer: eps.buffer });
      const values = dtype === 'f16' ? fromHalves(new Uint16Array(bytes)) : new Float32Array(bytes);
      return guidance(values, 4 * size * size);
    },
  };
}

// Writes are of whole words.
function padded(bytes) {
  const words = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  words.set(new Uint8Array(bytes));
  return words;
}

// (2, 4, h, w), the positive first → with guidance of 8.
export function guidance(eps, length) {
  return Float32Array.from({ length }, (_, i) => eps[length + i] + 8 * (eps[i] - eps[length + i]));
}
