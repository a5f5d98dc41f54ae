// Stands before pkg/worker.js, as text: the worker's GPU is counted, and fails when the test says so. What it does to the
// device is what a browser does: a buffer that finds no memory exists but is invalid, and an error event tells of it.

import { readFileSync } from 'node:fs';

const WORKER = new URL('../../../pkg/worker.js', import.meta.url);

// `plan`: {refuse: the number of the buffer without memory, from 1, limits: what the adapter is said to have, info: what it is said to be,
// noAdapter: there is none, as after crashes}. Give the result to lib/server.js as /pkg/worker.js.
export function faultyWorker(plan = {}) {
  return Buffer.from(`(${faulty})(${JSON.stringify(plan)});\n${readFileSync(WORKER, 'utf8')}`);
}

function faulty(plan) {
  let refuseIn = plan.refuse ?? 0;
  const live = new Map(); // buffer → bytes
  let buffers = 0;
  const requested = [];

  const create = GPUDevice.prototype.createBuffer;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    buffers += 1;
    refuseIn -= 1;
    if (refuseIn === 0) {
      this.pushErrorScope('validation');
      const invalid = create.call(this, { ...descriptor, size: 2 ** 50 });
      this.popErrorScope().catch(() => {});
      const error = new GPUOutOfMemoryError('refused by the test');
      queueMicrotask(() => this.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error, cancelable: true })));
      return invalid;
    }
    const buffer = create.call(this, descriptor);
    live.set(buffer, descriptor.size);
    return buffer;
  };
  const destroy = GPUBuffer.prototype.destroy;
  GPUBuffer.prototype.destroy = function () {
    live.delete(this);
    return destroy.call(this);
  };

  for (const [name, most] of Object.entries(plan.limits ?? {})) {
    const { get } = Object.getOwnPropertyDescriptor(GPUSupportedLimits.prototype, name);
    Object.defineProperty(GPUSupportedLimits.prototype, name, { get() { return Math.min(most, get.call(this)); } });
  }
  for (const [name, value] of Object.entries(plan.info ?? {})) {
    Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });
  }
  if (plan.noAdapter) GPU.prototype.requestAdapter = async () => null;
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = function (descriptor) {
    requested.push({ ...descriptor?.requiredLimits });
    return request.call(this, descriptor);
  };

  // Those that are compiled when they are first used, and those that are in the background.
  const pipelines = { createComputePipeline: 0, createComputePipelineAsync: 0 };
  for (const name of Object.keys(pipelines)) {
    const create = GPUDevice.prototype[name];
    GPUDevice.prototype[name] = function (descriptor) {
      pipelines[name] += 1;
      return create.call(this, descriptor);
    };
  }

  let shuffling = 0; // kernels whose threads read each other's registers
  const compile = GPUDevice.prototype.createShaderModule;
  GPUDevice.prototype.createShaderModule = function (descriptor) {
    if (descriptor.code.includes('subgroupShuffle')) shuffling += 1;
    return compile.call(this, descriptor);
  };

  const channel = new BroadcastChannel('faulty gpu');
  channel.onmessage = ({ data }) => {
    if ('answer' in data) return;
    if ('refuse' in data) refuseIn = data.refuse;
    const bytes = [...live.values()].reduce((sum, size) => sum + size, 0);
    channel.postMessage({ answer: { buffers, live: live.size, bytes, requested, pipelines, shuffling } });
  };
}

// Asks the worker of a page: {buffers made, live ones, their bytes, limits requested, pipelines made by each of WebGPU's functions,
// how many kernels are shuffling}.
// `refuse` counts from now on. A worker that only looks at a file for the page may answer too; the one meant has made the most buffers.
export function askGpu(page, question = {}) {
  return page.evaluate((question) => new Promise((resolve) => {
    const channel = new BroadcastChannel('faulty gpu');
    const answers = [];
    channel.onmessage = ({ data }) => {
      if (!('answer' in data)) return;
      answers.push(data.answer);
      if (answers.length > 1) return;
      setTimeout(() => {
        channel.close();
        resolve(answers.sort((a, b) => b.buffers - a.buffers)[0]);
      }, 300);
    };
    channel.postMessage(question);
  }), question);
}
