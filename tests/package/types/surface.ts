// Every export, used as a user would. Compiled, never run.

import {
  StableDiffusion, WordbrushError, checkWebGPU, defaults, modelNeeds, modelStore, promptSyntaxes, readRecipe, recipeText, samplers,
  schedulers, writeRecipe,
} from 'wordbrush';
import type {
  AdapterInfo, CraftSpec, Decoder, Device, EmbeddingCall, EmbeddingFacts, EmbeddingFormat, EmbeddingInfo, ErrorCode, GenerateControl,
  GenerateEvent, GenerateOptions, Generation, GPUPowerPreference, Hires, LoadOptions, LoadProgress, MaskedContent, MemoryInfo,
  ModelNeeds, ModelSource, ModelStore, NearWord, NeedsOptions, Params, Picture, PictureSource, PromptSyntax, Recipe, RecipeForm, Result, Sampler, Scheduler, StoredModel, StoreOptions, TokenInfo,
  Upscaler, VaeOptions, VaeTiling, Warning,
} from 'wordbrush';

export async function sources(file: File, files: FileList, folder: FileSystemDirectoryHandle, handle: FileSystemFileHandle) {
  const all: ModelSource[] = [file, new Blob(), [...files], files, folder, handle, 'model.safetensors', new URL('https://a.b/c'), { url: 'c' }, { stored: 'key' }];
  const preference: GPUPowerPreference = 'high-performance';
  const device: Device = 'webgpu';
  const onProgress = ({ phase, loaded, total, bytesPerSecond, etaSeconds }: LoadProgress) => {
    const numbers: (number | null)[] = [loaded, total, bytesPerSecond, etaSeconds];
    return phase === 'ready' ? numbers : [];
  };
  const options: LoadOptions = { onProgress, signal: AbortSignal.timeout(1), device, dtype: 'f16', powerPreference: preference, store: false, tune: false };
  const vae: VaeOptions = { onProgress, signal: AbortSignal.timeout(1) };
  for (const source of all) {
    await using sd: StableDiffusion = await StableDiffusion.load(source, options);
    const decoder: Decoder = await sd.loadVae(file, vae);
    const adapter: AdapterInfo = sd.adapter;
    const memory: MemoryInfo = await sd.memory();
    const told: (string | number | boolean)[] = [decoder, adapter.name, adapter.f16, sd.device, sd.textWidth, sd.bytes, memory.gpuBytes];
    console.log(told);
  }
}

export async function embeddings(sd: StableDiffusion, file: File) {
  const added: EmbeddingInfo[] = await sd.addEmbedding(file, { name: 'cat' });
  const facts: EmbeddingFacts = await sd.embeddingFacts('cat');
  const near: NearWord | undefined = facts.nearest[0]?.[0];
  const crafts: CraftSpec[] = [
    { name: 'a', kind: 'text', text: 'a cat' }, { name: 'b', kind: 'mix', terms: [{ name: 'cat', factor: 0.5 }] },
    { name: 'c', kind: 'concat', names: ['cat', 'a'] }, { name: 'd', kind: 'scale', of: 'cat', factor: 2 },
    { name: 'e', kind: 'rows', of: 'cat', rows: [0] },
  ];
  for (const spec of crafts) added.push(await sd.craftEmbedding(spec));
  const format: EmbeddingFormat = 'pt';
  const blob: Blob = await sd.exportEmbedding('cat', format);
  const tokens: TokenInfo = await sd.tokens('embedding:cat', { promptSyntax: 'comfy', seed: 5n });
  const chosen: string | undefined = tokens.chosen;
  const warnings: Warning[] = tokens.warnings;
  const calls: EmbeddingCall[] = tokens.calls.filter(({ name, nearest }) => name ?? nearest);
  const removed: boolean = await sd.removeEmbedding('cat');
  return { near, blob, warnings, calls, removed, listed: sd.embeddings };
}

export async function pictures(sd: StableDiffusion, image: ImageBitmap, canvas: HTMLCanvasElement): Promise<Picture[]> {
  const [sampler, scheduler, promptSyntax]: [Sampler, Scheduler, PromptSyntax] = ['euler', 'karras', 'a1111'];
  const [maskedContent, vaeTiling]: [MaskedContent, VaeTiling] = ['fill', 'auto'];
  const mask: PictureSource = canvas;
  const upscaler: Upscaler = 'latent';
  const hires: Hires = { scale: 2, upscaler, steps: 10, denoise: 0.7, prompt: 'a', negativePrompt: 'b', seed: 5n, sampler, scheduler, cfg: 5 };
  const options: GenerateOptions = {
    prompt: 'a cat', negativePrompt: 'a dog', steps: 20, cfg: 7, seed: 5n, width: 512, height: 512, sampler, scheduler, promptSyntax,
    clipSkip: 2, batchSize: 2, image, mask, maskBlur: 4, maskedContent, maskedPadding: 32, denoise: 0.5, hires, decoder: 'vae', vaeTiling,
  };
  const control: GenerateControl = { signal: new AbortController().signal, preview: 'taesd' };
  const generation: Generation = sd.generate(options, control);
  if (options.steps === 0) generation.abort(new Error('no steps'));
  for await (const event of generation) seen(event);
  const result: Result = await generation;
  const params: Params = result.params;
  const bitmap: ImageBitmap = await result.image();
  const infotext: string = await result.infotext();
  console.log(infotext.length);
  bitmap.close();
  console.log(params.seed.length, result.seconds, result.warnings, defaults.steps, samplers.includes(sampler), schedulers, promptSyntaxes);
  await generation.catch(() => null).finally(() => sd.dispose());
  return result.images;
}

function seen(event: GenerateEvent): ImageData | string | number | undefined {
  switch (event.type) {
    case 'prepare': return event.what === 'measure' ? event.done : event.total;
    case 'tokens': return event.seed + event.positive.windows + event.negative.tokens;
    case 'step': return event.preview ?? event.sigma + event.msPerStep + (event.etaSeconds ?? 0) + event.pass;
    case 'decode': return event.picture / event.pictures;
    case 'done': return event.result.seconds;
  }
}

export async function recipes(sd: StableDiffusion, png: Blob): Promise<string> {
  const recipe: Recipe = await readRecipe(png);
  const form: RecipeForm = 'workflow';
  await sd.generate({ ...recipe, steps: 5 });
  const bare: Blob = await writeRecipe(png);
  await writeRecipe(bare, { ...recipe, steps: 6 });
  return recipeText(recipe, form);
}

export async function storage(file: File): Promise<number> {
  const store: ModelStore = modelStore;
  const options: StoreOptions = { kind: 'vae', signal: AbortSignal.timeout(1), onProgress: ({ note }) => console.log(note) };
  const key: string = await store.add(file, options);
  const kept: StoredModel | undefined = (await store.list()).find((model) => model.key === key && model.complete);
  const needed: NeedsOptions = { width: 768, batchSize: 2, dtype: 'f16' };
  const needs: ModelNeeds = await modelNeeds({ stored: key }, needed);
  const { quota } = await store.room();
  if (await store.persist()) await store.remove(key);
  return quota - needs.gpuPeakBytes - (kept?.size ?? 0);
}

export async function errors(): Promise<ErrorCode | undefined> {
  try {
    const { description, f16, software } = await checkWebGPU();
    console.log(description, f16, software);
  } catch (error) {
    if (error instanceof WordbrushError) return error.hint ? error.code : undefined;
  }
  // @ts-expect-error a model comes from load
  return new StableDiffusion();
}
