// Wordbrush's wasm engine, as pkg/worker.js drives it: a picture of a thousand steps, of which the bench takes as many as it wants.

import { withSubgroups } from '../../../pkg/subgroups.js';
import init, { Engine } from '../../../pkg/wordbrush.js';
import { readBuffer } from '../lib/counters.js';

// The registers of a picture in the making (src/samplers/program.rs): the latents, then the denoised ones.
const DENOISED = 1;

export async function load({ files, size, dtype, inputs, counted, wasm }) {
  await init(wasm && { module_or_path: wasm });
  const parts = [{ name: 'model.safetensors', blob: files['sd15-random.safetensors'] }];
  const engine = await withSubgroups(() => Engine.open(parts, { dtype, device: 'webgpu' }));
  while (await engine.load());
  const generation = await engine.start({
    prompt: 'a photo of a cat', negativePrompt: 'text, watermark', steps: 1000, cfg: 8, seed: 1234,
    sampler: 'euler', scheduler: 'normal', width: 8 * size, height: 8 * size,
  });
  return {
    storage: engine.adapter().storage,
    step: () => generation.step(),
    // What was denoised tells ε: denoised = x − σ · ε. Valid after the first step.
    guided: async () => {
      const registers = new Float32Array(await readBuffer(counted.find('registers')));
      const [x, [sigma]] = [await inputs.floats('x'), await inputs.floats('sigma')];
      const pixels = size * size;
      const denoised = registers.subarray(DENOISED * 4 * pixels, (DENOISED + 1) * 4 * pixels);
      return x.map((value, i) => (value - denoised[4 * (i % pixels) + Math.floor(i / pixels)]) / sigma);
    },
  };
}
