// The files of the end-to-end tests: a random checkpoint, embeddings made from its own token table, and broken ones.

import { randomTensors, readSpec, safetensors, tokenRows, TOKEN_TABLE } from './checkpoint.js';
import { a1111Pt, safetensorsEmbedding } from './embeddings.js';

// Ids of whole words in CLIP's vocabulary.
export const CAT = 2368;
const DOG = 1929;
const HOUSE = 1212;

// {URL path: bytes} for lib/server.js.
export function fixtures() {
  const tensors = randomTensors(readSpec(), 7);
  const [cat, dog, house] = tokenRows(tensors, [CAT, DOG, HOUSE]);
  const model = safetensors(tensors, 'F16');
  const withoutSome = new Map([...tensors].filter(([name]) => !name.includes('middle_block.1.')));
  // SD 2 has no cond_stage_model.transformer but an OpenCLIP encoder of width 1024.
  const sd2 = new Map([...tensors].filter(([name]) => name !== TOKEN_TABLE));
  sd2.set('cond_stage_model.model.token_embedding.weight', { shape: [8, 1024], data: new Uint16Array(8 * 1024) });
  // The VAE as a file of its own, as it is and with a bias that makes everything white.
  const VAE = 'first_stage_model.';
  const vae = new Map([...tensors].filter(([name]) => name.startsWith(VAE)).map(([name, tensor]) => [name.slice(VAE.length), tensor]));
  const bias = vae.get('decoder.conv_out.bias');
  const bright = new Map(vae).set('decoder.conv_out.bias', { ...bias, data: new Uint16Array(bias.data.length).fill(0x4900) }); // 10 in f16
  const wide = new Float32Array(cat.length + 8).fill(0.1);
  return new Map(Object.entries({
    'small.safetensors': model,
    'truncated.safetensors': model.subarray(0, model.length - 1000),
    'missing.safetensors': safetensors(withoutSome, 'F16'),
    'sd2.safetensors': safetensors(sd2, 'F16'),
    'vae.safetensors': safetensors(vae, 'F16'),
    'bright.safetensors': safetensors(bright, 'F16'),
    'feline.pt': a1111Pt([cat], 'feline'),
    'feline-2.safetensors': safetensorsEmbedding([cat]),
    'two-words.safetensors': safetensorsEmbedding([dog, house]),
    'wide.pt': a1111Pt([wide], 'wide'),
    'nan.safetensors': safetensorsEmbedding([cat.map((value, i) => (i === 3 ? NaN : value))]),
    'cut.pt': a1111Pt([cat], 'cut').subarray(0, 300),
    'page.pt': Buffer.from('<!DOCTYPE html><html><body>404: no such file</body></html>'),
    'pointer.pt': Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 3819\n'),
    'empty.pt': Buffer.alloc(0),
  }).map(([name, bytes]) => [`/made/${name}`, bytes]));
}
