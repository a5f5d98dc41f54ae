// WebGPU for Node.js: Dawn, which is Chrome's own, from the package `webgpu`.

const MISSING = 'WebGPU for Node.js is in a package of its own: npm install webgpu';
export const NO_ADAPTER = 'Dawn found no GPU: it needs a driver for Vulkan, Metal or DirectX 12. The variable VK_DRIVER_FILES names a Vulkan driver.';

// {gpu, globals}, or {missing} with a sentence where the package is not installed.
export async function openGpu() {
  try {
    const { create, globals } = await import('webgpu');
    return { gpu: create([]), globals };
  } catch (error) {
    return { missing: error.code === 'ERR_MODULE_NOT_FOUND' ? `${MISSING}.` : `The package webgpu does not work here: ${error.message}` };
  }
}
