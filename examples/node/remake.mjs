// Makes the picture of a workflow again: node remake.mjs MODEL WORKFLOW OUT [EMBEDDINGS…]
//
// WORKFLOW is a ComfyUI workflow or API JSON, or a picture (PNG, JPEG, WebP) that carries a recipe of ComfyUI or AUTOMATIC1111.

import { writeFile } from 'node:fs/promises';
import { StableDiffusion, readRecipe } from 'wordbrush/node';

const [model, workflow, out, ...embeddings] = process.argv.slice(2);
if (!out) {
  console.error('Usage: node remake.mjs MODEL WORKFLOW OUT [EMBEDDINGS…]');
  process.exit(2);
}

try {
  const recipe = await readRecipe({ path: workflow });
  for (const note of recipe.notes) console.error(`Note: ${note}`);

  const sd = await StableDiffusion.load(model);
  console.error(`${model} on ${sd.adapter.name} (${sd.device})`);
  for (const file of embeddings) await sd.addEmbedding(file);

  const making = sd.generate(recipe);
  for await (const event of making) {
    if (event.type === 'step') console.error(`Step ${event.step} of ${event.steps}`);
  }
  const { png, params, warnings } = await making;
  for (const { message } of warnings) console.error(`Warning: ${message}`);
  await writeFile(out, Buffer.from(await png.arrayBuffer()));
  console.error(`${out}: ${params.width}×${params.height}, seed ${params.seed}`);
  await sd.dispose();
} catch (error) {
  console.error(`${error.message} ${error.hint ?? ''}`);
  process.exitCode = 1;
}
