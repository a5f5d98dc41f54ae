// The options of the calls: their names, their values, and what they are where nobody says.

import { WordbrushError } from './errors.js';

export const samplers = Object.freeze([
  'euler', 'euler_ancestral', 'heun', 'dpm_2', 'dpm_2_ancestral', 'lms', 'dpmpp_2s_ancestral', 'dpmpp_sde', 'dpmpp_sde_gpu',
  'dpmpp_2m', 'dpmpp_2m_sde', 'dpmpp_2m_sde_gpu', 'dpmpp_2m_sde_heun', 'dpmpp_2m_sde_heun_gpu', 'dpmpp_3m_sde',
  'dpmpp_3m_sde_gpu', 'ddim', 'plms', 'uni_pc', 'uni_pc_bh2', 'deis', 'ipndm', 'lcm',
]);
export const schedulers = Object.freeze([
  'normal', 'karras', 'exponential', 'sgm_uniform', 'simple', 'ddim_uniform', 'beta', 'kl_optimal', 'polyexponential',
  'align_your_steps', 'turbo',
]);
export const promptSyntaxes = Object.freeze(['comfy', 'a1111']);
export const defaults = Object.freeze({
  prompt: '', negativePrompt: '', steps: 20, cfg: 8, cfgRescale: 0, guidanceStart: 0, guidanceEnd: 1, width: 512, height: 512,
  batchSize: 1,
  seed: '1234', sampler: 'euler', scheduler: 'normal', clipSkip: 1,
  promptSyntax: 'comfy', keepEmbeddingsWhole: false,
  rng: 'cpu', variationSeed: '0', variationStrength: 0, seedDelta: '0', sNoise: 1, sChurn: 0, sTmin: 0,
  decoder: 'vae', vaeTiling: 'auto',
});

export const LOAD_OPTIONS = ['onProgress', 'signal', 'device', 'dtype', 'powerPreference', 'store', 'tune', 'worker'];
export const CALL_OPTIONS = ['signal'];
export const EMBEDDING_OPTIONS = ['name', 'signal'];
export const TOKENS_OPTIONS = ['promptSyntax', 'seed', 'signal'];
export const VAE_OPTIONS = ['onProgress', 'signal', 'store'];
export const STORE_OPTIONS = ['onProgress', 'signal', 'kind'];
export const NEEDS_OPTIONS = ['signal', 'width', 'height', 'batchSize', 'dtype'];
export const GENERATE_CONTROL = ['signal', 'preview', 'profile'];

export function known(options, names) {
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown === undefined) return options;
  throw new WordbrushError('UNKNOWN_OPTION', `There is no option "${unknown}"; there are ${names.join(', ')}.`);
}

// An option that is undefined is an option that was not given.
export function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
