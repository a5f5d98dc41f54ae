// tinygrad's kernels (tinygrad_unet.py), run as its own export to WebGPU runs them: all pipelines compiled at once, a compute pass and
// a bind group for every kernel, one submit, and the result read back.

import { Tensors } from '../lib/numbers.js';
import { guidance } from './onnxruntime.js';

export async function load({ files, size, dtype, inputs }) {
  const program = JSON.parse(await files[`${size}-${dtype}.json`].text());
  const device = await openDevice(dtype);
  const layouts = new Map();
  const layout = (count) => {
    const entry = (binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: binding === 0 ? 'uniform' : 'storage' } });
    if (!layouts.has(count)) layouts.set(count, device.createBindGroupLayout({ entries: Array.from({ length: count + 1 }, (_, i) => entry(i)) }));
    return layouts.get(count);
  };
  const buffers = await makeBuffers(device, program, await Tensors.open(files['sd15-random.safetensors']), inputs, dtype);
  // Its export compiles a kernel anew for every call; once is enough.
  const pipelines = new Map();
  const compile = (kernel, bindGroupLayout) => {
    const { name: entryPoint, code } = program.kernels[kernel];
    const compute = { module: device.createShaderModule({ code }), entryPoint };
    return device.createComputePipelineAsync({ layout: device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout] }), compute });
  };
  const calls = await Promise.all(program.calls.map(async ({ kernel, buffers: names, grid }) => {
    const bindGroupLayout = layout(names.length);
    if (!pipelines.has(kernel)) pipelines.set(kernel, compile(kernel, bindGroupLayout));
    return { pipeline: await pipelines.get(kernel), layout: bindGroupLayout, buffers: names.map((name) => buffers[name]), grid };
  }));
  const infinity = device.createBuffer({ size: 4, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(infinity, 0, new Float32Array([Infinity]));
  const read = device.createBuffer({ size: buffers.eps.size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  let eps;
  return {
    storage: dtype,
    step: async () => {
      const encoder = device.createCommandEncoder();
      for (const call of calls) {
        const entries = [infinity, ...call.buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
        const pass = encoder.beginComputePass();
        pass.setPipeline(call.pipeline);
        pass.setBindGroup(0, device.createBindGroup({ layout: call.layout, entries }));
        pass.dispatchWorkgroups(...call.grid);
        pass.end();
      }
      encoder.copyBufferToBuffer(buffers.eps, 0, read, 0, read.size);
      device.queue.submit([encoder.finish()]);
      await read.mapAsync(GPUMapMode.READ);
      eps = new Float32Array(read.getMappedRange().slice(0));
      read.unmap();
    },
    guided: async () => guidance(eps, 4 * size * size),
  };
}

async function openDevice(dtype) {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  const { maxBufferSize, maxStorageBufferBindingSize, maxComputeInvocationsPerWorkgroup } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: dtype === 'f16' ? ['shader-f16'] : [],
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxComputeInvocationsPerWorkgroup },
  });
  device.onuncapturederror = ({ error }) => { throw new Error(`tinygrad's kernels: ${error.message}`); };
  return device;
}

async function makeBuffers(device, program, checkpoint, inputs, dtype) {
  const buffers = {};
  const weights = new Set(program.weights);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  for (const [name, { bytes, dtype: kind }] of Object.entries(program.buffers)) {
    let data;
    if (weights.has(name)) data = dtype === 'f16' ? await checkpoint.bytes(name) : (await checkpoint.floats(name)).buffer;
    else if (inputs.header[name] && name !== 'eps') data = await inputs.bytes(kind === 'half' ? `${name}.f16` : name);
    const buffer = device.createBuffer({ size: Math.ceil(bytes / 4) * 4, usage, mappedAtCreation: Boolean(data) });
    if (data) {
      new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(data));
      buffer.unmap();
    }
    buffers[name] = buffer;
  }
  return buffers;
}
