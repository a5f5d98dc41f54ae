// wgpu asks a browser for no subgroups (gfx-rs/wgpu#10146): of a device that `open` asks for they are asked for here.
export async function withSubgroups(open) {
  const adapters = globalThis.GPUAdapter?.prototype;
  if (!adapters) return open();
  const { requestDevice } = adapters;
  adapters.requestDevice = function askForMore(descriptor = {}) {
    if (!this.features.has('subgroups')) return requestDevice.call(this, descriptor);
    return requestDevice.call(this, { ...descriptor, requiredFeatures: [...descriptor.requiredFeatures ?? [], 'subgroups'] })
      // They are not worth a device.
      .catch(() => requestDevice.call(this, descriptor));
  };
  try {
    return await open();
  } finally {
    adapters.requestDevice = requestDevice;
  }
}
