/**
 * Stable Diffusion 1.5 in a browser tab, built around Textual Inversion embeddings.
 *
 * ```js
 * import { StableDiffusion } from 'wordbrush';
 * const sd = await StableDiffusion.load(file, { onProgress: (p) => console.log(p.loaded / p.total) });
 * await sd.addEmbedding(embeddingFile);
 * const { png } = await sd.generate({ prompt: 'a photo of embedding:my-cat' });
 * ```
 *
 * The engine runs in a dedicated worker; the page stays responsive. No special HTTP headers are needed.
 * @packageDocumentation
 */

/**
 * Where a model comes from: a single-file SD 1.5 checkpoint (`.safetensors`) or a diffusers folder
 * (`unet/`, `vae/`, `text_encoder/`). Files are read in slices, never as a whole.
 *
 * - `File` or `Blob`: one checkpoint.
 * - a list of `File`s: a folder, as `<input type="file" webkitdirectory>` gives it; each path is `webkitRelativePath`.
 * - a directory or file handle: as `showDirectoryPicker()` gives it.
 * - a URL, or `{ url }`: one checkpoint on a server that allows this origin to read it. Unless {@link LoadOptions.store} says
 *   otherwise it is kept in the browser's storage while it comes, a download that was cut short is gone on with, and what is
 *   kept is opened without the network. A server that answers range requests is not needed, but spares much.
 *   `sha256`, in 64 hex digits, is what the file must be: another one is refused (`INTEGRITY`) and not kept. To know that, the whole
 *   file is read once more, from the storage, or where it is not kept from the network. Only {@link StableDiffusion.load} takes it.
 * - `{ stored }`: the key of a model in the {@link modelStore}.
 */
export type ModelSource =
  | Blob
  | Iterable<File>
  | FileSystemDirectoryHandle
  | FileSystemFileHandle
  | string
  | URL
  | { url: string; sha256?: string }
  | { stored: string };

/** How far a model has been loaded. */
export interface LoadProgress {
  /**
   * `open`: the header is read and the GPU asked for; `wait`: another tab is downloading the same file; `download`: bytes come
   * from the network, those that are there already are loaded meanwhile; `load`: tensors go to the GPU; `verify`: the file is compared
   * with the SHA-256 that was asked for; `ready`: done.
   */
  phase: 'open' | 'wait' | 'download' | 'load' | 'verify' | 'ready';
  /** Bytes so far: of the file in `wait`, `download` and `verify`, of the tensors in `load`. */
  loaded: number;
  /** Bytes in all; 0 while they are not known yet. */
  total: number;
  /** What the model is going to take, as soon as that is known: once, in `open`. */
  needs?: ModelNeeds;
  /**
   * A sentence about something that did not stop the load: the storage is full, the file on the server has changed, a
   * connection is tried again. May contain a file's name: show it as text, never as markup.
   */
  note?: string;
  /** Over about the last five seconds; `null` while unknown. */
  bytesPerSecond: number | null;
  /** Seconds left; `null` during the first three seconds. */
  etaSeconds: number | null;
  /** The name of the file, or of the first one of a folder; of a stored model its key. */
  file: string;
  /** All of it was in the store already: told as soon as that is known. */
  fromCache: boolean;
}

/**
 * Bytes that a model takes and a picture made with it, told from its header alone. The weights are exact, the activations about.
 */
export interface ModelNeeds {
  /** Read from the file. */
  fileBytes: number;
  /** Numbers in its networks. */
  parameters: number;
  /** The width that embeddings must have: 768 for SD 1.5. */
  textWidth: number;
  /** The token table, in the tab's own memory. */
  tokenBytes: number;
  /** Weights on the GPU, and the slice they come in through. */
  weightBytes: number;
  /** Activations of a step, with guidance. */
  stepBytes: number;
  /** Activations while latents become pixels. */
  decodeBytes: number;
  /** The most that is on the GPU at once: the weights, and the larger of the activations. */
  gpuPeakBytes: number;
}

/** What every call takes that has no other options. */
export interface CallOptions {
  /**
   * Aborting rejects with its reason at once. What changes the engine (an embedding that is added, made or removed) is done whole: once
   * it has begun, it is too late to abort it.
   */
  signal?: AbortSignal;
}

/** Options of {@link modelNeeds}. */
export interface NeedsOptions {
  signal?: AbortSignal;
  /** Pixels. Default: 512. */
  width?: number;
  /** Pixels. Default: 512. */
  height?: number;
  /** Pictures made at once. Default: 1. */
  batchSize?: number;
  /** As in {@link LoadOptions}. */
  dtype?: LoadOptions['dtype'];
}

/** Options of {@link StableDiffusion.loadVae}. */
export interface VaeOptions {
  /** As in {@link LoadOptions}. */
  store?: boolean;
  /** As in {@link LoadOptions}, for the bytes of the VAE. */
  onProgress?: (progress: LoadProgress) => void;
  /** Aborting stops the load; the model keeps the VAE that it had. `loadVae` rejects with `signal.reason`. */
  signal?: AbortSignal;
}

/** Options of {@link StableDiffusion.load}. */
export interface LoadOptions {
  /** Called at most about ten times a second, and at the beginning and the end. */
  onProgress?: (progress: LoadProgress) => void;
  /** Aborting stops the load at once and frees what was loaded; `load` rejects with `signal.reason`. */
  signal?: AbortSignal;
  /**
   * Where the model is computed. `auto` (the default) takes WebGPU, and where the browser gives no adapter the CPU, if the
   * model is small enough (at most 150 million parameters, which are kept in f32). `webgpu` and `cpu` insist.
   */
  device?: 'auto' | Device;
  /**
   * How numbers are stored on the GPU. `auto` (the default) takes `f16` where the adapter has shader-f16 and `packed`
   * (the same 16 bits, unpacked in the shader) elsewhere. `f32` takes twice the memory and is meant for comparisons.
   */
  dtype?: 'auto' | 'f16' | 'packed' | 'f32';
  /** Which adapter to prefer on machines with two. */
  powerPreference?: GPUPowerPreference;
  /**
   * Whether a model from a URL is looked for in the {@link modelStore}, and kept there. Where there is no room it is loaded
   * all the same, and a {@link LoadProgress.note} says so. Default: `true`.
   */
  store?: boolean;
  /**
   * Whether the fastest kernels are measured on this GPU before the first picture of a size: a few seconds each for the text
   * encoder, the UNet and the VAE, told by `prepare` events. What was found is kept in the browser for the next visit. Without it, kernels
   * are those that should suit a GPU of this vendor. Software adapters have nothing to measure. Default: `true`.
   */
  tune?: boolean;
  /**
   * Where `worker.js` lies, if not beside `index.js`: for pages that are bundled by something that does not follow workers. The other
   * files of the package are looked for beside it.
   */
  worker?: string | URL;
}

/** Where pictures are computed. `cpu` is WebAssembly on one thread: for small models, slowly. */
export type Device = 'webgpu' | 'cpu';

/** As in WebGPU's own declarations, repeated so that this file stands alone. */
export type GPUPowerPreference = 'low-power' | 'high-performance';

/** What a picture is made from. Options left out, or `undefined`, have the value in {@link defaults}. */
export interface GenerateOptions {
  /**
   * In the syntax that {@link promptSyntax} names. ComfyUI: `embedding:NAME`, `(more)`, `(weight:1.2)`, `\(` for a
   * parenthesis, `{one|another}` chosen by the seed. Default: empty.
   */
  prompt?: string;
  /** What the picture should stay away from; same syntax. Default: empty. */
  negativePrompt?: string;
  /** Denoising steps, from 1. Default: 20. */
  steps?: number;
  /**
   * How strongly the prompt is followed; at 1 the negative prompt is not computed. A latent consistency model that has
   * guidance built in is told it, and never computes the negative prompt. Default: 8.
   */
  cfg?: number;
  /**
   * How far the contrast that guidance adds is taken back, from 0 (not at all, the default) to 1: ComfyUI’s node RescaleCFG,
   * diffusers’ `guidance_rescale`. Usual: 0.7.
   */
  cfgRescale?: number;
  /**
   * Guidance counts only between two shares of the schedule’s time steps, 0 the noisiest, as ComfyUI’s nodes count them;
   * outside {@link cfg} is 1, and a step takes half as long. Default: 0.
   */
  guidanceStart?: number;
  /** Default: 1. */
  guidanceEnd?: number;
  /** Pixels, a multiple of 8. Default: 512. */
  width?: number;
  /** Pixels, a multiple of 8. Default: 512. */
  height?: number;
  /**
   * Pictures made at once, from 1 to 16. With ComfyUI’s conventions their noise is drawn together; A1111’s i-th picture,
   * counted from 0, is that of seed + i (with a variation, of its seed + i). Default: 1.
   */
  batchSize?: number;
  /**
   * 0 to 2⁶⁴−1; -1 chooses one at random. Numbers above 2⁵³ must be given as bigint or decimal string.
   * The same seed gives the same noise as in the tool of {@link promptSyntax}. Default: 1234.
   */
  seed?: number | bigint | string;
  /** Default: `euler`. */
  sampler?: Sampler;
  /** Default: `normal`. */
  scheduler?: Scheduler;
  /** The layer of the text encoder that is used, counted from the last (1). Default: 1. */
  clipSkip?: number;
  /**
   * Whose prompts these are. They differ in more than brackets: `comfy` names embeddings as `embedding:NAME` and takes
   * weights as they are; `a1111` names them by the bare word, multiplies nested weights, restores the mean, and knows
   * `[less]`, `[from:to:when]`, `[a|b]`, `AND` and `BREAK`. Noise levels and noise are that tool's too. Default: `comfy`.
   */
  promptSyntax?: PromptSyntax;
  /**
   * Moves an embedding to the next window of 75 tokens where it would be cut in two. ComfyUI cuts, with a warning, so the
   * default is `false`.
   */
  keepEmbeddingsWhole?: boolean;
  /**
   * Whose random numbers: PyTorch’s on a CPU (`cpu`) or on an NVIDIA GPU (`nv`). With ComfyUI’s conventions the first noise is
   * the CPU’s in any case. Default: `cpu`.
   */
  rng?: 'cpu' | 'nv';
  /** A second seed, towards whose noise the first is turned. */
  variationSeed?: number | bigint | string;
  /** How far: from 0 (not at all, the default) to 1 (all the way). */
  variationStrength?: number;
  /** AUTOMATIC1111’s “Eta noise seed delta”. Default: 0. */
  seedDelta?: number | bigint | string;
  /** How much of the noise of each step is fresh, from 0 to 1. Default: the sampler’s own. */
  eta?: number;
  /** Factor of the noise that the sampler adds. Default: 1. */
  sNoise?: number;
  /** Noise that Euler, Heun and DPM2 add before each step, spread over the steps. Default: 0. */
  sChurn?: number;
  /** The least noise level at which they do. Default: 0. */
  sTmin?: number;
  /** The greatest. Default: no limit. */
  sTmax?: number;
  /**
   * A picture to start from instead of noise alone. The result has its size, cut to multiples of 8, unless `width` and `height` say
   * another: then the middle of the picture, as large as has that shape, is brought to that size.
   */
  image?: PictureSource;
  /** Which part of the image is painted anew: white where it is, black or transparent where the image is kept. */
  mask?: PictureSource;
  /**
   * How far the mask is blurred: σ in pixels. The part outside the mask that is mixed with the picture keeps its pixels in
   * AUTOMATIC1111’s syntax. Default: 4 there, else 0.
   */
  maskBlur?: number;
  /**
   * What lies under the mask before the first step: the picture, the colours around (“fill”), noise or zeros in the latents
   * (AUTOMATIC1111’s “Masked content”), or gray under a mask that reaches six pixels further (ComfyUI’s “VAE Encode (for
   * Inpainting)”). All but `original` need a high `denoise`. Default: `original`.
   */
  maskedContent?: MaskedContent;
  /**
   * Only what is masked is worked on, with so many pixels around it, at `width` × `height`, and put back into the image, which keeps
   * its own size (AUTOMATIC1111’s inpaint area “Only masked”; there it is 32 at first). Only with `promptSyntax: 'a1111'`. Default:
   * the whole image.
   */
  maskedPadding?: number;
  /** How much of the way down from noise is run over the image: from just above 0 to 1, which leaves nothing of it. Default: 0.75. */
  denoise?: number;
  /** AUTOMATIC1111 runs `steps · denoise` steps over an image; with this all of them. ComfyUI always does. Default: `false`. */
  exactSteps?: boolean;
  /** A second pass at a larger size over the finished picture (“hires fix”). */
  hires?: Hires;
  /** What the UNet predicts. Default: what the checkpoint says, or the noise. */
  prediction?: 'epsilon' | 'v';
  /** Whether the noise levels end in noise alone. Default: what the checkpoint says, or not. */
  zeroTerminalSnr?: boolean;
  /**
   * What turns latents into pixels: the VAE, or a TAESD that {@link StableDiffusion.loadVae} brought in, which does nearly
   * the same for an eighteenth of the work. Default: `vae`.
   */
  decoder?: Decoder;
  /**
   * How the VAE decodes what is large: `auto` (the default) goes in strips of rows where the GPU cannot bind the whole, `true`
   * wherever that saves memory, for about a third more of the VAE's work. The picture is the same but for rounding.
   */
  vaeTiling?: VaeTiling;
}

/** A picture in whatever form a page has it; pixels without a class (`{width, height, data}`) must have the size of the result. */
export type PictureSource = ImageBitmapSource | { width: number; height: number; data: Uint8ClampedArray | Uint8Array };

/** See {@link GenerateOptions.maskedContent}. */
export type MaskedContent = 'original' | 'fill' | 'latent noise' | 'latent nothing' | 'gray';

/** A second pass: the picture is made larger, put under noise, and finished again, with the first one's settings where it has none. */
export interface Hires {
  /** Factor of width and height, more than 1. Default: 2. */
  scale?: number;
  /**
   * What is made larger and how: the latents, linearly (AUTOMATIC1111’s “Latent”) or in other ways; or the pixels, by Lanczos’
   * filter or in other ways. The names are AUTOMATIC1111’s (“Latent (bicubic antialiased)”) and those of ComfyUI’s “Upscale Latent”
   * (`latent-…`) and “Upscale Image”. Default: `latent`.
   */
  upscaler?: Upscaler;
  /** Steps of the second pass. Default: as many as the first has. */
  steps?: number;
  /** As {@link GenerateOptions.denoise}; all of the pass's steps are run. Default: 0.7. */
  denoise?: number;
  /** A prompt of its own. In AUTOMATIC1111's grammar the steps of `[from:to:step]` go on counting from the first pass. */
  prompt?: string;
  /** A negative prompt of its own. */
  negativePrompt?: string;
  /** A seed of its own. */
  seed?: number | bigint | string;
  /** A sampler of its own. */
  sampler?: Sampler;
  /** A schedule of its own. */
  scheduler?: Scheduler;
  /** A strength of guidance of its own. */
  cfg?: number;
}

/** See {@link Hires.upscaler}. */
export type Upscaler =
  'latent' | 'latent-antialiased' | 'latent-bicubic' | 'latent-bicubic-antialiased' | 'latent-nearest' | 'latent-nearest-exact' |
  'latent-area' | 'latent-bislerp' | 'lanczos' | 'nearest' | 'bilinear' | 'bicubic' | 'area';

/** See {@link GenerateOptions.vaeTiling}. */
export type VaeTiling = 'auto' | true;

/** What turns latents into pixels: the model's VAE (or the one in its place), or TAESD, a tiny stand-in. */
export type Decoder = 'vae' | 'taesd';

/** Whose grammar a prompt has: ComfyUI's or AUTOMATIC1111's. */
export type PromptSyntax = 'comfy' | 'a1111';

/**
 * The samplers, by their ComfyUI names (`plms`, which ComfyUI lacks, by A1111's). Those that end in `_gpu` take their noise from
 * where `rng` says, as ComfyUI does from the GPU it runs on; the others’ Brownian noise is a CPU’s in any case.
 */
export type Sampler =
  'euler' | 'euler_ancestral' | 'heun' | 'dpm_2' | 'dpm_2_ancestral' | 'lms' | 'dpmpp_2s_ancestral' | 'dpmpp_sde' |
  'dpmpp_sde_gpu' | 'dpmpp_2m' | 'dpmpp_2m_sde' | 'dpmpp_2m_sde_gpu' | 'dpmpp_2m_sde_heun' | 'dpmpp_2m_sde_heun_gpu' |
  'dpmpp_3m_sde' | 'dpmpp_3m_sde_gpu' | 'ddim' | 'plms' | 'uni_pc' | 'uni_pc_bh2' | 'deis' | 'ipndm' | 'lcm';
/** The noise schedules, by their ComfyUI names; the last three by those of ComfyUI's nodes. */
export type Scheduler =
  'normal' | 'karras' | 'exponential' | 'sgm_uniform' | 'simple' | 'ddim_uniform' | 'beta' | 'kl_optimal' | 'polyexponential' |
  'align_your_steps' | 'turbo';

/** All values of {@link Sampler}, for menus. */
export const samplers: readonly Sampler[];
/** All values of {@link Scheduler}, for menus. */
export const schedulers: readonly Scheduler[];
/** All values of {@link PromptSyntax}, for menus. */
export const promptSyntaxes: readonly PromptSyntax[];
/** The value of every option that is left out. */
export const defaults: Readonly<Params>;

/** {@link GenerateOptions} with every value filled in, and a concrete seed. */
export interface Params
  extends Pick<GenerateOptions, 'image' | 'mask' | 'maskBlur' | 'maskedContent' | 'maskedPadding' | 'denoise' | 'exactSteps' | 'hires' | 'prediction' | 'zeroTerminalSnr'> {
  prompt: string;
  negativePrompt: string;
  steps: number;
  cfg: number;
  cfgRescale: number;
  guidanceStart: number;
  guidanceEnd: number;
  width: number;
  height: number;
  batchSize: number;
  /** Always the number that was used, as decimal string: seeds may be larger than a JavaScript number can hold. */
  seed: string;
  sampler: Sampler;
  scheduler: Scheduler;
  clipSkip: number;
  promptSyntax: PromptSyntax;
  keepEmbeddingsWhole: boolean;
  rng: 'cpu' | 'nv';
  variationSeed: string;
  variationStrength: number;
  seedDelta: string;
  /** `undefined` is the sampler’s own. */
  eta?: number;
  sNoise: number;
  sChurn: number;
  sTmin: number;
  /** `undefined` is no limit. */
  sTmax?: number;
  decoder: Decoder;
  vaeTiling: VaeTiling;
}

/** Something that did not stop the picture but may not be what was meant, such as a missing embedding. */
export interface Warning {
  /** Stable, for programs. */
  code: string;
  /** For people. May contain file names and parts of the prompt: show it as text, never as markup. */
  message: string;
}

/** One embedding as the engine knows it. Names come from files: show them as text, never as markup. */
export interface EmbeddingInfo {
  /** What follows `embedding:` in a prompt. */
  name: string;
  /** How many tokens' places it takes in the prompt. */
  vectors: number;
  /** Must be the model's {@link StableDiffusion.textWidth}: 768 for SD 1.5. */
  width: number;
  /** The mean length of its vectors; words of SD 1.5 have about 0.4. */
  norm: number;
  /** The element type in the file. */
  dtype: string;
  /** Which program's layout the file has. */
  layout: string;
  /** The tensor's name in the file. */
  key: string;
  /** Of the whole file, in hex. */
  sha256: string;
  /** The first digits of `sha256`, as AUTOMATIC1111 writes them beside pictures. */
  shortHash: string;
  /** Sentences about oddities that were accepted, such as another embedding whose name differs only in case. */
  warnings: string[];
}

/** What an embedding's vectors are like beside the model's own words. */
export interface EmbeddingFacts {
  /** The length of each vector. */
  norms: number[];
  /** The mean length of the vocabulary's vectors, for comparison. */
  vocabularyNorm: number;
  /** The share of a window's 75 places that the embedding takes; more than 1 fits in none. */
  budget: number;
  /** For each vector the vocabulary's nearest words, best first. Words may contain anything: show them as text. */
  nearest: NearWord[][];
  /** Sentences about vectors that are unusually long, and the like. */
  warnings: string[];
}

/** A word (or part of one) of the model's vocabulary, near some vector. */
export interface NearWord {
  /** The token's number. */
  id: number;
  word: string;
  /** The cosine of the angle between the two: 1 is the same direction. */
  cosine: number;
}

/**
 * How to make an embedding without training; `name` is what the new one is called. Names of others are looked up as in
 * prompts.
 */
export type CraftSpec =
  /** The vectors of a phrase's tokens. */
  | { name: string; kind: 'text'; text: string }
  /** The weighted sum of embeddings; shorter ones count as if zeros followed. */
  | { name: string; kind: 'mix'; terms: { name: string; factor: number }[] }
  /** One after the other. */
  | { name: string; kind: 'concat'; names: string[] }
  /** Every number times `factor`. */
  | { name: string; kind: 'scale'; of: string; factor: number }
  /** Some vectors, counted from 0, in the order given. */
  | { name: string; kind: 'rows'; of: string; rows: number[] };

/** `safetensors` as kohya's trainer writes it, or `pt` as AUTOMATIC1111 does. */
export type EmbeddingFormat = 'safetensors' | 'pt';

/**
 * What a picture was made from, as it or a text tells: everything that is not told is `undefined`. All strings come from a
 * file: show them as text, never as markup.
 */
export interface Recipe {
  prompt: string;
  negativePrompt: string;
  steps?: number;
  /** By ComfyUI's name; may be one that is not in {@link samplers}. */
  sampler?: string;
  /** By ComfyUI's name; may be one that is not in {@link schedulers}. */
  scheduler?: string;
  cfg?: number;
  /** A decimal string. */
  seed?: string;
  width?: number;
  height?: number;
  clipSkip?: number;
  /** Whose random numbers. */
  rng?: 'cpu' | 'nv';
  variationSeed?: string;
  variationStrength?: number;
  seedDelta?: string;
  eta?: number;
  sNoise?: number;
  sChurn?: number;
  sTmin?: number;
  sTmax?: number;
  cfgRescale?: number;
  guidanceStart?: number;
  guidanceEnd?: number;
  /** How much of the way down from noise was run over a picture to start from, which the recipe does not hold. */
  denoise?: number;
  /** The settings of a mask, which the recipe does not hold either. */
  maskBlur?: number;
  maskedContent?: MaskedContent;
  maskedPadding?: number;
  /** A second pass at a larger size. */
  hires?: Hires;
  /**
   * How many pictures were made at once, where it was more than one. With {@link promptSyntax} `comfy` all are needed to make
   * one of them again; with `a1111` its seed is enough.
   */
  batchSize?: number;
  /** Which of them this is, counted from 0. */
  batchPosition?: number;
  /** The checkpoint's name. */
  model?: string;
  /** As AUTOMATIC1111 writes it: the first ten digits of the file's sha256. */
  modelHash?: string;
  /** The name of a separate VAE. */
  vae?: string;
  /** The embeddings that were used; `shortHash` is empty where the recipe does not tell it. */
  embeddings: { name: string; shortHash: string }[];
  /** Whose prompts these are. */
  promptSyntax?: PromptSyntax;
  /** Embeddings were never cut where a window ends. */
  keepEmbeddingsWhole?: boolean;
  /**
   * The prompt before `{a|b}` and comments were worked out, where that changed it. With {@link promptSyntax} `comfy`,
   * generating from `template ?? prompt` and the seed makes the same file again, while `prompt` itself would be worked out
   * once more: a brace that is meant as one has a template (`\{`) in any case. With `a1111` the prompt always counts.
   */
  template?: string;
  /** The same of the negative prompt. */
  negativeTemplate?: string;
  /** What an A1111 text says beyond the fields above: keys and values, kept for writing it again. */
  extra?: [string, string][];
  /** Sentences about what was not understood. */
  notes: string[];
}

/** AUTOMATIC1111's text, ComfyUI's API JSON, or ComfyUI's workflow JSON (which its page opens). */
export type RecipeForm = 'a1111' | 'comfy' | 'workflow';

/** What a prompt becomes. */
export interface TokenInfo {
  /** Windows of 77 tokens. */
  windows: number;
  /** Tokens in all, embedding vectors included. */
  tokens: number;
  /** How many of them are vectors of embeddings. */
  vectors: number;
  /** Where in the prompt embeddings are called, in order. */
  calls: EmbeddingCall[];
  /** Missing embeddings and the like. */
  warnings: Warning[];
  /** Names of the embeddings that are used. */
  used: string[];
  /** What of `{one|another}` and comments stays with the seed that was given, where that is another text than the prompt. */
  chosen?: string;
}

/** A place in a prompt that calls an embedding. Places count as a string's indices do. */
export interface EmbeddingCall {
  /** Where the call begins: `embedding:NAME`, or in AUTOMATIC1111's syntax the bare name. */
  start: number;
  /** Where it ends. */
  end: number;
  /** The same with the brackets, and their weight, that hold nothing but this call: `(embedding:NAME:1.2)`. */
  groupStart: number;
  groupEnd: number;
  /** The name as the prompt writes it. */
  written: string;
  /** The embedding's own name; `null` where there is none of that name. */
  name: string | null;
  /** For a name that is missing, the one that was probably meant. */
  nearest: string | null;
}

/** The GPU behind a loaded model, or the CPU. */
export interface AdapterInfo {
  /** As the browser or driver names it; browsers may keep it to themselves. */
  name: string;
  backend: Device;
  /** Whether shaders can compute in half precision. */
  f16: boolean;
  /** Whether it is a CPU, in disguise or not: correct, but very slow. */
  software: boolean;
  /** How numbers are stored: `f16`, `packed` or `f32`. */
  storage: string;
}

/** Memory in use, in bytes. */
export interface MemoryInfo {
  /** On the CPU the model lies here. */
  wasmBytes: number;
  gpuBytes: number;
  gpuPeakBytes: number;
}

/** One picture of a batch. */
export interface Picture {
  /** The PNG file. It carries its recipe for AUTOMATIC1111 (`parameters`) and ComfyUI (`prompt`, `workflow`). */
  png: Blob;
  /** The picture decoded, for a canvas. Each call gives a new bitmap; close it when done. */
  image(): Promise<ImageBitmap>;
  /** What it was made from as AUTOMATIC1111 writes it, which the PNG carries as `parameters`. */
  infotext(): Promise<string>;
  /** What it was made from, with the concrete seed: with A1111’s conventions its own. */
  params: Params;
}

/** Finished pictures. The fields of {@link Picture} are those of the first, which mostly is the only one. */
export interface Result extends Picture {
  /** All of them. */
  images: Picture[];
  warnings: Warning[];
  /** From the start of the engine's work to the PNG, waiting in the queue not counted. */
  seconds: number;
  /** What the kernels took, in the order in which they first ran, where {@link GenerateControl.profile} asks for it. */
  profile?: KernelTime[];
}

/** What the dispatches of one kernel took that have a result of the same shape. */
export interface KernelTime {
  /** What it was part of: `clip`, `unet step`, `vae decode`, … */
  plan: string;
  /** What it computes: `conv 3×3`, `linear`, `self-attention`, … */
  class: string;
  /** The kernel: its name in `src/kernels/`. */
  kernel: string;
  /** Of its result: items, places, channels. */
  shape: number[];
  /** How often it ran. Large work may be cut into parts, each of which counts. */
  dispatches: number;
  /** On the GPU. Browsers round each time to a tenth of a millisecond, up or down. */
  seconds: number;
  /** Multiplications and additions. */
  flops: number;
  /** Read and written, each thing counted once for each dispatch. */
  bytes: number;
}

/** How a picture is made, as far as it does not change the picture. */
export interface GenerateControl {
  /** Aborting rejects with its reason at once; the engine stops after the step it is in. */
  signal?: AbortSignal;
  /**
   * Steps bring a preview. It costs next to nothing: the first one with a model or VAE also decodes 128×256 pixels, to learn
   * the VAE's colours. `taesd` previews have the picture's full size and are decoded by the TAESD that `loadVae` brought in,
   * which is about a tenth of a step's work each. Default: `false`.
   */
  preview?: boolean | 'taesd';
  /**
   * Every kernel is timed by itself, by the GPU's timestamps: {@link Result.profile}. The picture is the same and takes a little
   * longer. GPUs only, and those that have timestamps; the others throw `BAD_OPTION`. Default: `false`.
   */
  profile?: boolean;
}

/** What happens while a picture is made. */
export type GenerateEvent =
  | {
      /**
       * The GPU is being prepared, before each stage of the first picture of a size: kernels are compiled, or measured (see
       * {@link LoadOptions.tune}).
       */
      type: 'prepare';
      what: 'kernels' | 'measure';
      /** How many of them are done. */
      done: number;
      /** How many there are. */
      total: number;
    }
  | {
      /** The prompts have been read. */
      type: 'tokens';
      positive: Omit<TokenInfo, 'warnings'>;
      negative: Omit<TokenInfo, 'warnings'>;
      warnings: Warning[];
      /** The concrete seed. */
      seed: string;
    }
  | {
      /** A denoising step is done. */
      type: 'step';
      /** 2 in the second pass that {@link GenerateOptions.hires} asks for, else 1. */
      pass: 1 | 2;
      /** 1 to `steps`. */
      step: number;
      steps: number;
      /** The noise level that the latents are at now; 0 after the last step. */
      sigma: number;
      msPerStep: number;
      /** Seconds left for the steps; `null` after the first one, which takes longer than the others. */
      etaSeconds: number | null;
      /**
       * What the picture is going to be, where {@link GenerateControl.preview} asks for it: a pixel for every 8×8 of it, or all.
       * Steps have none while an earlier preview waits for an iteration to take it, and an iteration that starts late gets
       * the newest one only.
       */
      preview?: ImageData;
    }
  | {
      /** The last step is done; the latents of a picture become pixels. Comes once for each picture. */
      type: 'decode';
      /** Counted from 0. */
      picture: number;
      /** How many there are. */
      pictures: number;
    }
  | {
      /** The last event. */
      type: 'done';
      result: Result;
    };

/**
 * One picture in the making. `await` it for the {@link Result}, or iterate over it for the events; both may be done.
 * An iteration that starts late gets all events from the beginning. Leaving a loop early does not stop the picture: use
 * `abort` or the `signal` for that.
 */
export interface Generation extends PromiseLike<Result>, AsyncIterable<GenerateEvent> {
  /** As a promise has it. */
  catch<T = never>(rejected?: ((reason: unknown) => T | PromiseLike<T>) | null): Promise<Result | T>;
  /** As a promise has it. */
  finally(settled?: (() => void) | null): Promise<Result>;
  /** As if a {@link GenerateControl.signal} of its own were aborted: it rejects with the reason at once. Does nothing to a finished one. */
  abort(reason?: unknown): void;
}

/** Everything that goes wrong is one of these, except an abort, which rejects with the signal's own reason. */
export class WordbrushError extends Error {
  constructor(code: ErrorCode, message: string, hint?: string);
  readonly name: 'WordbrushError';
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** What may help, where there is something to say. */
  readonly hint?: string;
}

/** Every {@link WordbrushError.code}; later versions may add more. */
export type ErrorCode =
  /** No GPU adapter, and the model is too large for the CPU or `device` is `webgpu`. The hint tells how to enable WebGPU. */
  | 'NO_GPU'
  /** A GPU allocation failed. */
  | 'GPU_OUT_OF_MEMORY'
  /** The GPU was lost: load the model again. */
  | 'DEVICE_LOST'
  /** The GPU refused a command: a fault of Wordbrush. */
  | 'GPU_VALIDATION'
  /** A file or URL could not be read. */
  | 'READ'
  | 'EMPTY_FILE'
  /** The file is shorter than its header promises. */
  | 'TRUNCATED'
  /** A web page was saved under the file's name. */
  | 'HTML_PAGE'
  /** A Git-LFS pointer instead of the file. */
  | 'LFS_POINTER'
  | 'UNKNOWN_FORMAT'
  | 'BAD_SAFETENSORS'
  | 'BAD_ZIP'
  | 'BAD_PICKLE'
  /** The pickle names code that is not on the list; nothing was executed. */
  | 'UNSAFE_PICKLE'
  | 'BAD_PICTURE'
  | 'TOO_LARGE'
  /** SD 2, SDXL, a LoRA, an inpainting model, … */
  | 'WRONG_FAMILY'
  | 'MISSING_TENSORS'
  | 'WRONG_SHAPE'
  | 'WRONG_DTYPE'
  | 'NOT_AN_EMBEDDING'
  /** A picture or a text carries no recipe. */
  | 'NO_RECIPE'
  /** A download is not the file whose SHA-256 was asked for. */
  | 'INTEGRITY'
  /** The browser's storage has no room. */
  | 'STORAGE_FULL'
  /** The browser gives this page no storage. */
  | 'NO_STORAGE'
  /** An embedding for a model of another text width. */
  | 'WRONG_WIDTH'
  /** NaN or infinity in a file. */
  | 'NOT_FINITE'
  | 'UNKNOWN_OPTION'
  | 'BAD_OPTION'
  /** The network produced NaN. */
  | 'NUMERIC_NAN'
  | 'BUSY'
  /** A call after {@link StableDiffusion.dispose}. */
  | 'DISPOSED'
  /** The engine crashed: this and every later call of this model reject with it. Load the model again. */
  | 'INTERNAL'
  | (string & {});

/** A loaded model. */
export class StableDiffusion {
  private constructor();

  /**
   * Loads a model into a worker of its own. Another model that is loaded already stays usable meanwhile; dispose of it
   * when the new one is there.
   * @throws {WordbrushError} `NO_GPU`, `WRONG_FAMILY`, `MISSING_TENSORS`, `TRUNCATED`, `READ`, `GPU_OUT_OF_MEMORY`, …
   */
  static load(source: ModelSource, options?: LoadOptions): Promise<StableDiffusion>;

  /** Where it is computed. */
  readonly device: Device;
  /** What computes it. */
  readonly adapter: AdapterInfo;
  /** The width that embeddings must have. */
  readonly textWidth: number;
  /** How many bytes of weights were read. */
  readonly bytes: number;
  /** The embeddings that prompts may name, in the order in which they were added. */
  readonly embeddings: EmbeddingInfo[];

  /**
   * Adds the embeddings of a Textual Inversion file (`.safetensors`, `.pt`, `.bin`, or a PNG or WebP picture that holds
   * one), at any time, also while a picture is made. The name in prompts is the file's name without its extension, after
   * its path if it comes from a folder; `name` gives another. Pickles are read without executing anything.
   * @throws {WordbrushError} `NOT_AN_EMBEDDING`, `WRONG_WIDTH`, `UNSAFE_PICKLE`, `TRUNCATED`, …; what was there before stays.
   */
  addEmbedding(file: File | Blob, options?: CallOptions & { name?: string }): Promise<EmbeddingInfo[]>;

  /**
   * Measures an embedding against the vocabulary.
   * @throws {WordbrushError} `BAD_OPTION` when there is none of that name.
   */
  embeddingFacts(name: string, options?: CallOptions): Promise<EmbeddingFacts>;

  /**
   * Makes an embedding from words or from others and adds it.
   * @throws {WordbrushError} `UNKNOWN_OPTION`, `BAD_OPTION`, …
   */
  craftEmbedding(spec: CraftSpec, options?: CallOptions): Promise<EmbeddingInfo>;

  /** An embedding as a file that other programs read. Default: `safetensors`. */
  exportEmbedding(name: string, format?: EmbeddingFormat, options?: CallOptions): Promise<Blob>;

  /**
   * Replaces the model's VAE by that of a separate file (`.safetensors`), after the pictures that are waiting. If it fails
   * or is aborted, the VAE stays as it was. A TAESD (`taesd_decoder.safetensors`, or diffusers' `AutoencoderTiny`) is told by
   * its tensors and stands beside the VAE: it decodes where `decoder` or `preview` says `taesd`, on the GPU only.
   * @returns which of the two it was.
   * @throws {WordbrushError} `WRONG_FAMILY`, `MISSING_TENSORS`, `READ`, …
   */
  loadVae(source: ModelSource, options?: VaeOptions): Promise<Decoder>;

  /** Removes one embedding; `false` when there is none of that name. */
  removeEmbedding(name: string, options?: CallOptions): Promise<boolean>;

  /** Counts the tokens of a prompt and checks its embeddings, without making a picture. */
  tokens(prompt: string, options?: CallOptions & { promptSyntax?: PromptSyntax; seed?: number | bigint | string }): Promise<TokenInfo>;

  /** Memory in use. */
  memory(options?: CallOptions): Promise<MemoryInfo>;

  /**
   * Makes a picture, or a batch. A {@link Recipe} may be given as it was read, or with changes. Calls while another picture is being made wait for their turn.
   * @throws {WordbrushError} `UNKNOWN_OPTION`, `BAD_OPTION`, `GPU_OUT_OF_MEMORY`, `NUMERIC_NAN`, `DEVICE_LOST`, …
   */
  generate(options?: GenerateOptions | Recipe, control?: GenerateControl): Generation;

  /** {@link StableDiffusion.dispose}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;

  /** Frees the model, its GPU memory and its worker. Calls still waiting reject with `DISPOSED`. May be called again. */
  dispose(): Promise<void>;
}

/**
 * Asks for a WebGPU adapter without loading anything.
 * @throws {WordbrushError} `NO_GPU` with a sentence for the user.
 */
export function checkWebGPU(): Promise<{ description: string; f16: boolean; software: boolean }>;

/**
 * Tells what a model is going to take, from its header alone: nothing is loaded, no GPU is asked for, and of a model at a URL
 * no more than the header is fetched.
 * @throws {WordbrushError} what is wrong with the file, as {@link StableDiffusion.load} would say.
 */
export function modelNeeds(source: ModelSource, options?: NeedsOptions): Promise<ModelNeeds>;

/** A model, or a VAE, in the browser's storage. Names come from addresses and files: show them as text, never as markup. */
export interface StoredModel {
  /** For `{ stored: key }` as a {@link ModelSource}. */
  key: string;
  name: string;
  kind: 'model' | 'vae';
  /** Where it came from; `null` for a file. */
  url: string | null;
  /** Bytes of the whole file. */
  size: number;
  /** Bytes that are there. */
  stored: number;
  /** Whether all are there. The rest is fetched when it is loaded, or by {@link ModelStore.add}. */
  complete: boolean;
  /** When something of it was stored last, in milliseconds since 1970. */
  lastModified: number;
}

/** Options of {@link ModelStore.add}. */
export interface StoreOptions {
  /** As in {@link LoadOptions}; the phases are `wait` and `download`. */
  onProgress?: (progress: LoadProgress) => void;
  /** Aborting leaves in the store what has come. */
  signal?: AbortSignal;
  /** What it is, for {@link StoredModel.kind}. Default: `model`. */
  kind?: StoredModel['kind'];
}

/**
 * The models kept in this browser for this origin (in its private file system, OPFS), in blocks of which each has its SHA-256: a
 * download that was cut short is gone on with, and a block that is damaged is fetched again when it is read. Several tabs may
 * use it at once.
 */
export interface ModelStore {
  /** All of them, the newest first. */
  list(): Promise<StoredModel[]>;
  /**
   * Brings a model in without loading it: downloads it, or copies a file. What is there already is not fetched again.
   * @returns its key.
   * @throws {WordbrushError} `STORAGE_FULL`, `NO_STORAGE`, `READ`, `HTML_PAGE`, …
   */
  add(source: Blob | FileSystemFileHandle | string | URL | { url: string }, options?: StoreOptions): Promise<string>;
  /**
   * Deletes one; a model that is loaded already stays usable.
   * @throws {WordbrushError} `BUSY` while it is downloaded or loaded, in this tab or another.
   */
  remove(key: string): Promise<void>;
  /** Bytes that this origin uses and may use, as the browser estimates them, and whether it has promised not to delete them. */
  room(): Promise<{ usage: number; quota: number; persisted: boolean }>;
  /** Asks the browser to keep what is stored until somebody deletes it; some ask the user, some decide on their own. */
  persist(): Promise<boolean>;
}

/** The models in this browser's storage. */
export const modelStore: ModelStore;

/**
 * Reads what a picture (PNG, JPEG, WebP) was made from, or a text: AUTOMATIC1111's parameters, ComfyUI's workflow or API
 * JSON. Needs no model and no GPU, and does not block the page.
 * @throws {WordbrushError} `NO_RECIPE`, `BAD_PICTURE`, `TOO_LARGE`, …
 */
export function readRecipe(source: File | Blob | string, options?: CallOptions): Promise<Recipe>;

/**
 * Writes a recipe for another program. Default: `a1111`.
 * @throws {WordbrushError} `UNKNOWN_OPTION`, `BAD_OPTION`
 */
export function recipeText(recipe: Partial<Recipe>, form?: RecipeForm, options?: CallOptions): Promise<string>;

/**
 * A PNG with this recipe in place of the one it carries, as pictures made here carry theirs; without a recipe it says nothing:
 * no recipe, no other text, no EXIF. The pixels stay as they are.
 * @throws {WordbrushError} `BAD_OPTION`, `UNKNOWN_FORMAT`, `TRUNCATED`, …
 */
export function writeRecipe(png: Blob, recipe?: Partial<Recipe>, options?: CallOptions): Promise<Blob>;
