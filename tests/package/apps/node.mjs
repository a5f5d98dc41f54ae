// What node.test.js runs in Node.js with the packed package: node node.mjs DEVICE MODEL EMBEDDING OUT

import { writeFile } from 'node:fs/promises';
import { StableDiffusion, WordbrushError, checkWebGPU, readRecipe, recipeText } from 'wordbrush/node';

const [device, model, embedding, out] = process.argv.slice(2);
const failure = (promise) => Promise.resolve(promise).then(
  () => ({ code: 'nothing failed' }),
  (error) => ({ code: error.code, message: error.message, hint: error.hint, ours: error instanceof WordbrushError, name: error.name }),
);
const options = { prompt: 'a embedding:teal-star on a white background', steps: 2, cfg: 2, width: 64, height: 64, seed: 2032 };

const phases = new Set();
const sd = await StableDiffusion.load(model, { device, onProgress: ({ phase }) => phases.add(phase) });
const [info] = await sd.addEmbedding(embedding);
const making = sd.generate(options, { preview: true });
const previews = [];
for await (const { type, preview } of making) {
  if (type === 'step' && preview) previews.push([preview.width, preview.height, preview.data.length]);
}
const { png, params, image } = await making;
await writeFile(`${out}.png`, Buffer.from(await png.arrayBuffer()));
await writeFile(`${out}.json`, await recipeText(await readRecipe({ path: `${out}.png` }), 'workflow'));

const reason = new Error('enough');
const stopped = new AbortController();
const stopping = sd.generate({ ...options, steps: 50 }, { signal: stopped.signal });
const aborted = (async () => {
  for await (const { type } of stopping) if (type === 'step') stopped.abort(reason);
})();

const pixels = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 4).fill(200) };
const told = {
  device: sd.device, adapter: sd.adapter, phases: [...phases], info, previews, params,
  aborted: await aborted.catch((error) => error === reason),
  errors: {
    option: await failure(sd.generate({ steps: 0 })),
    image: await failure(image()),
    picture: await failure(sd.generate({ ...options, image: png })),
    missing: await failure(StableDiffusion.load('there/is/none.safetensors')),
    noPicture: await failure(readRecipe({ path: embedding })),
    wrong: await failure(StableDiffusion.load(embedding, { device })),
    gpu: await failure(checkWebGPU()),
    insisted: device === 'cpu' ? await failure(StableDiffusion.load(model, { device: 'webgpu' })) : null,
  },
  // Only here, and on the CPU: the encoder's shaders take long to compile without a GPU.
  again: device === 'cpu' ? (await sd.generate({ ...options, steps: 1, image: pixels })).params.width : null,
  memory: await sd.memory(),
};
await sd.dispose();
told.errors.disposed = await failure(sd.generate(options));
console.log(JSON.stringify(told));
