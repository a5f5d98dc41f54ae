// Whether this browser has WebGPU, and if not, why.

import { WordbrushError } from './errors.js';

export async function checkWebGPU() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (!adapter) {
    throw new WordbrushError('NO_GPU', `Pictures are computed on the GPU through WebGPU, but ${whyNoGpu()}.`);
  }
  const { vendor, architecture, description, isFallbackAdapter } = adapter.info ?? {};
  return {
    description: description || [vendor, architecture].filter(Boolean).join(' ') || 'unknown GPU',
    f16: adapter.features.has('shader-f16'),
    software: Boolean(isFallbackAdapter) || architecture === 'swiftshader',
  };
}

function whyNoGpu() {
  if (navigator.gpu) return 'this browser offers no GPU adapter';
  return globalThis.isSecureContext ? 'this browser does not have it' : 'it exists only on https: and localhost pages';
}
