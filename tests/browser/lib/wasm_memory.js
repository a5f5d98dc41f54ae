// The same WebAssembly module with a bound on its memory, as on a machine that has no more.

const PAGE = 65536;
const MEMORY_SECTION = 5;

export function withMostMemory(wasm, bytes) {
  for (let at = 8; at < wasm.length;) {
    const id = wasm[at];
    const [size, start] = readVarint(wasm, at + 1);
    if (id === MEMORY_SECTION) {
      // One memory: a flag that says whether there is a bound, and the pages it begins with.
      const [least] = readVarint(wasm, start + 2);
      const body = Buffer.from([1, 1, ...varint(least), ...varint(Math.ceil(bytes / PAGE))]);
      return Buffer.concat([wasm.subarray(0, at), Buffer.from([id, ...varint(body.length)]), body, wasm.subarray(start + size)]);
    }
    at = start + size;
  }
  throw new Error('This module has no memory of its own.');
}

// LEB128: the number, and where the next thing begins.
function readVarint(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7, at += 1) {
    value += (bytes[at] & 127) * 2 ** shift;
    if (bytes[at] < 128) return [value, at + 1];
  }
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return [...bytes, value];
}
