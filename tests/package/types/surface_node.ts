// What differs in Node.js. Compiled, never run.

import { writeFile } from 'node:fs/promises';
import { StableDiffusion, WordbrushError, checkWebGPU, readRecipe, samplers } from 'wordbrush/node';
import type { GenerateOptions, Path, Recipe } from 'wordbrush/node';

export async function remake(model: Path, workflow: string): Promise<void> {
  const recipe: Recipe = await readRecipe({ path: workflow });
  await checkWebGPU();
  await using sd = await StableDiffusion.load(model, { device: 'webgpu', signal: AbortSignal.timeout(1) });
  await sd.loadVae(new URL('file:///vae.safetensors'));
  await sd.addEmbedding('cat.pt', { name: 'cat' });
  const options: GenerateOptions = { image: { width: 64, height: 64, data: new Uint8Array(64 * 64 * 4) }, sampler: samplers[0]! };
  const { png } = await sd.generate(recipe);
  const { images } = await sd.generate(options);
  await writeFile('cat.png', Buffer.from(await png.arrayBuffer()));
  if (images.length > 1) throw new WordbrushError('BAD_OPTION', 'one was enough');
}
