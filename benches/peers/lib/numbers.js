// Tensors of a safetensors file, and numbers of 16 bits.

export class Tensors {
  static async open(blob) {
    const length = Number(new DataView(await blob.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
    const header = JSON.parse(await blob.slice(8, 8 + length).text());
    return Object.assign(new Tensors(), { blob, header, data: 8 + length });
  }

  shape(name) {
    return this.header[name].shape;
  }

  async bytes(name) {
    const [start, end] = this.header[name].data_offsets;
    return this.blob.slice(this.data + start, this.data + end).arrayBuffer();
  }

  // f32, whatever the file holds.
  async floats(name) {
    const bytes = await this.bytes(name);
    return this.header[name].dtype === 'F16' ? fromHalves(new Uint16Array(bytes)) : new Float32Array(bytes);
  }
}

const TABLE = new Float32Array(65536);
for (let bits = 0; bits < 65536; bits += 1) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) TABLE[bits] = fraction ? NaN : sign * Infinity;
  else TABLE[bits] = sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

export function fromHalves(halves) {
  return Float32Array.from(halves, (bits) => TABLE[bits]);
}

// ‖a − b‖ / ‖b‖.
export function relative(a, b) {
  let [above, below] = [0, 0];
  for (let i = 0; i < b.length; i += 1) {
    above += (a[i] - b[i]) ** 2;
    below += b[i] ** 2;
  }
  return Math.sqrt(above / below);
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
