// What a PNG shows, apart from the texts it carries.

// The data of its IHDR and IDAT chunks: equal for equal pictures of one encoder, whatever recipe goes with them.
export function shown(png) {
  const parts = [];
  for (let at = 8; at + 8 <= png.length;) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    if (type === 'IHDR' || type === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  return Buffer.concat(parts);
}
