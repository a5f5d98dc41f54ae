// Counts what a program asks of WebGPU, the same way for everyone: by wrapping the prototypes before the program sees a device.

// {bytes, peak, dispatches, submits, readbacks, bindGroups, buffers}: bytes of buffers that live and the most that did, the rest
// since it was last taken. `find` gives the newest buffer of a label and the device that made it.
export function countWebGPU() {
  const sizes = new WeakMap();
  const named = new Map();
  const memory = { bytes: 0, peak: 0 };
  let counts;
  const reset = () => { counts = { dispatches: 0, submits: 0, readbacks: 0, bindGroups: 0, buffers: 0 }; };
  reset();

  const wrap = (prototype, name, before, after = () => {}) => {
    const original = prototype[name];
    prototype[name] = function (...given) {
      before.call(this, ...given);
      const result = original.apply(this, given);
      after.call(this, result, ...given);
      return result;
    };
  };
  const { prototype: device } = GPUDevice;
  wrap(device, 'createBuffer', () => { counts.buffers += 1; }, function (buffer, { size, label }) {
    sizes.set(buffer, size);
    memory.bytes += size;
    memory.peak = Math.max(memory.peak, memory.bytes);
    if (label) named.set(label, { device: this, buffer });
  });
  wrap(GPUBuffer.prototype, 'destroy', function () {
    memory.bytes -= sizes.get(this) ?? 0;
    sizes.delete(this);
  });
  wrap(device, 'createBindGroup', () => { counts.bindGroups += 1; });
  wrap(GPUBuffer.prototype, 'mapAsync', (mode) => { if (mode & GPUMapMode.READ) counts.readbacks += 1; });
  wrap(GPUQueue.prototype, 'submit', () => { counts.submits += 1; });
  for (const name of ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect']) {
    wrap(GPUComputePassEncoder.prototype, name, () => { counts.dispatches += 1; });
  }
  return {
    memory,
    find: (label) => named.get(label),
    take: () => {
      const taken = counts;
      reset();
      return taken;
    },
  };
}

// The bytes of a buffer, copied out. What it asks of the device is counted too: take the counts before.
export async function readBuffer({ device, buffer }) {
  const staging = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const bytes = staging.getMappedRange().slice(0);
  staging.destroy();
  return bytes;
}
