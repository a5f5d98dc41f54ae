// The pixels of a PNG as the engine writes it: 8 bits of red, green and blue, not interlaced.

import assert from 'node:assert/strict';
import { inflateSync } from 'node:zlib';

// {width, height, data} with three bytes a pixel.
export function pixels(png) {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  assert.deepEqual([...png.subarray(24, 26), png[28]], [8, 2, 0], 'RGB, not interlaced');
  const parts = [];
  for (let at = 8; at + 8 <= png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const raw = inflateSync(Buffer.concat(parts));
  const [row, data] = [width * 3, new Uint8Array(width * height * 3)];
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (row + 1)];
    for (let x = 0; x < row; x += 1) {
      const left = x < 3 ? 0 : data[y * row + x - 3];
      const up = y === 0 ? 0 : data[(y - 1) * row + x];
      const corner = x < 3 || y === 0 ? 0 : data[(y - 1) * row + x - 3];
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      data[y * row + x] = raw[y * (row + 1) + 1 + x] + predicted;
    }
  }
  return { width, height, data };
}

function paeth(left, up, corner) {
  const [l, u, c] = [left, up, corner].map((value) => Math.abs(left + up - corner - value));
  if (l <= u && l <= c) return left;
  return u <= c ? up : corner;
}

// How far two pictures of one size are apart, on average, in levels of 255.
export function distance(one, other) {
  assert.deepEqual([one.width, one.height], [other.width, other.height]);
  return one.data.reduce((sum, value, i) => sum + Math.abs(value - other.data[i]), 0) / one.data.length;
}
