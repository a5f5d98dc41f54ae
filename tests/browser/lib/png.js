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

// Its texts by keyword: tEXt as Latin-1, iTXt as UTF-8.
export function texts(png) {
  const found = {};
  for (let at = 8; at + 8 <= png.length;) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    const end = data.indexOf(0);
    const keyword = data.toString('latin1', 0, end);
    if (type === 'tEXt') found[keyword] = data.toString('latin1', end + 1);
    if (type === 'iTXt') found[keyword] = data.toString('utf8', data.indexOf(0, data.indexOf(0, end + 3) + 1) + 1);
    at += 12 + length;
  }
  return found;
}
