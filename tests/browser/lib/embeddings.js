// Textual Inversion files as people have them, written from rows of f32.

import { zipSync } from 'fflate';
import { safetensors } from './checkpoint.js';

function join(rows) {
  const data = new Float32Array(rows.length * rows[0].length);
  rows.forEach((row, i) => data.set(row, i * row.length));
  return { shape: [rows.length, rows[0].length], data };
}

export function safetensorsEmbedding(rows, key = 'emb_params') {
  return safetensors(new Map([[key, join(rows)]]), 'F32');
}

// What AUTOMATIC1111 saves with torch.save: {string_to_token, string_to_param: {'*': tensor}, name, step, …}.
export function a1111Pt(rows, name) {
  const { shape: [count, width], data } = join(rows);
  const storage = tuple(string('storage'), global('torch', 'FloatStorage'), string('0'), string('cpu'), int(data.length));
  const tensor = reduce(
    global('torch._utils', '_rebuild_tensor_v2'),
    tuple(persistent(storage), int(0), tuple(int(count), int(width)), tuple(int(width), int(1)), FALSE,
      reduce(global('collections', 'OrderedDict'), tuple())),
  );
  const content = dict(
    [string('string_to_token'), dict([string('*'), int(265)])],
    [string('string_to_param'), dict([string('*'), tensor])],
    [string('name'), string(name)],
    [string('step'), int(500)],
    [string('sd_checkpoint'), NONE],
    [string('sd_checkpoint_name'), NONE],
  );
  const pickle = Buffer.concat([Buffer.from([0x80, 2]), content, Buffer.from('.')]);
  const file = (bytes) => [bytes, { level: 0 }]; // torch stores, it never compresses
  return Buffer.from(zipSync({
    'archive/data.pkl': file(pickle),
    'archive/data/0': file(new Uint8Array(data.buffer)),
    'archive/version': file(Buffer.from('3\n')),
  }));
}

// Pickle protocol 2, as much as is needed: each function gives the bytes that push one object.
const NONE = Buffer.from('N');
const FALSE = Buffer.from([0x89]);
const string = (text) => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([Buffer.from('X'), length, bytes]);
};
const int = (value) => {
  const bytes = Buffer.from('J\0\0\0\0');
  bytes.writeInt32LE(value, 1);
  return bytes;
};
const global = (module, name) => Buffer.from(`c${module}\n${name}\n`);
const tuple = (...items) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]);
const dict = (...pairs) => Buffer.concat([Buffer.from('}('), ...pairs.flat(), Buffer.from('u')]);
const persistent = (id) => Buffer.concat([id, Buffer.from('Q')]);
const reduce = (callable, args) => Buffer.concat([callable, args, Buffer.from('R')]);
