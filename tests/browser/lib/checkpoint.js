// A small random checkpoint in one file, in the names of Stability's original code, in half precision.

import { readFileSync } from 'node:fs';
import { fromHalf, randomNormal, toHalf } from './numbers.js';

const SPEC = new URL('../../golden/models/e2e_spec.json', import.meta.url);
export const TOKEN_TABLE = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight';

export function readSpec() {
  return JSON.parse(readFileSync(SPEC, 'utf8'));
}

// {name: {shape, data}} with f16 bits as data.
export function randomTensors(spec, seed) {
  const normal = randomNormal(seed);
  return new Map(spec.tensors.map(({ name, shape, std, mean }) => {
    const data = new Uint16Array(shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < data.length; i++) data[i] = toHalf(mean + std * normal());
    return [name, { shape, data }];
  }));
}

export function safetensors(tensors, dtype = 'F16', metadata = undefined) {
  const header = metadata ? { __metadata__: metadata } : {};
  let end = 0;
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const parts = [...tensors.values()].map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.concat([length, text, ...parts]);
}

// The rows of some tokens in the token table, as f32.
export function tokenRows(tensors, ids) {
  const { shape: [, width], data } = tensors.get(TOKEN_TABLE);
  return ids.map((id) => Float32Array.from(data.subarray(id * width, (id + 1) * width), fromHalf));
}
