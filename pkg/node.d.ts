/**
 * Wordbrush in Node.js (20.12 or later): the same as in the browser, with file paths as sources. WebGPU comes from the
 * package `webgpu` (Dawn), which is installed beside this one; without it small models are computed on the CPU.
 *
 * ```js
 * import { writeFile } from 'node:fs/promises';
 * import { StableDiffusion } from 'wordbrush/node';
 * const sd = await StableDiffusion.load('sd15.safetensors');
 * const { png } = await sd.generate({ prompt: 'a photo of a cat' });
 * await writeFile('cat.png', Buffer.from(await png.arrayBuffer()));
 * ```
 *
 * Node.js has no picture decoder: {@link index.Picture.image | image()} rejects there, previews are plain
 * `{width, height, data}`, and `image` and `mask` of the options must be.
 * @packageDocumentation
 */

import type {
  CallOptions, EmbeddingInfo, LoadOptions, ModelSource, Recipe, StableDiffusion as BrowserStableDiffusion, VaeOptions,
} from './index.js';

export * from './index.js';

/** A file or folder on this computer: a path, or a `file:` URL. */
export type Path = string | URL;

/** A loaded model, as in the browser, but that sources may be paths. */
export interface StableDiffusion extends BrowserStableDiffusion {
  addEmbedding(file: Path | File | Blob, options?: CallOptions & { name?: string }): Promise<EmbeddingInfo[]>;
  loadVae(source: Path | ModelSource, options?: VaeOptions): Promise<'vae' | 'taesd'>;
}

/** Loads models, as the class of that name does in the browser. */
export const StableDiffusion: {
  /**
   * Loads a model into a thread of its own. A string that begins with `http:` or `https:` is a URL, any other is the path of
   * a checkpoint or of a diffusers folder. What is measured on the GPU (`tune`) is not kept for the next program.
   */
  load(source: Path | ModelSource, options?: LoadOptions): Promise<StableDiffusion>;
};

/** As in the browser; `{ path }` reads a picture, a workflow or a text from a file. */
export function readRecipe(source: { path: string } | File | Blob | string, options?: CallOptions): Promise<Recipe>;
