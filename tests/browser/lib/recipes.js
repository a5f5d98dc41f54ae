// A recipe's text in pictures, as A1111 writes it: a text chunk of a PNG, the Exif of JPEG and WebP.

import { crc32 } from 'node:zlib';

export function intoPng(png, text) {
  const data = Buffer.concat([Buffer.from('iTXtparameters\0\0\0\0\0'), Buffer.from(text)]);
  const chunk = Buffer.alloc(data.length + 8);
  chunk.writeUInt32BE(data.length - 4);
  data.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(data), data.length + 4);
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]); // After the header.
}

// A TIFF of one directory that leads to another with UserComment (0x9286).
function exifOf(text) {
  const comment = Buffer.concat([Buffer.from('UNICODE\0'), Buffer.from(text, 'utf16le').swap16()]);
  const tiff = Buffer.alloc(44);
  tiff.write('MM\0*');
  const entry = (at, tag, type, count, value) => {
    tiff.writeUInt16BE(tag, at);
    tiff.writeUInt16BE(type, at + 2);
    tiff.writeUInt32BE(count, at + 4);
    tiff.writeUInt32BE(value, at + 8);
  };
  tiff.writeUInt32BE(8, 4);
  tiff.writeUInt16BE(1, 8);
  entry(10, 0x8769, 4, 1, 26);
  tiff.writeUInt16BE(1, 26);
  entry(28, 0x9286, 7, comment.length, 44);
  return Buffer.concat([tiff, comment]);
}

export function intoJpeg(jpeg, text) {
  const exif = Buffer.concat([Buffer.from('Exif\0\0'), exifOf(text)]);
  const head = Buffer.from([0xff, 0xe1, 0, 0]);
  head.writeUInt16BE(exif.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, exif, jpeg.subarray(2)]);
}

// Of a WebP without Exif: its image is wrapped in the extended format.
export function intoWebp(webp, text, width, height) {
  const chunk = (name, data) => {
    const head = Buffer.alloc(8);
    head.write(name);
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
  };
  const features = Buffer.alloc(10);
  features[0] = 0x08; // There is Exif.
  features.writeUIntLE(width - 1, 4, 3);
  features.writeUIntLE(height - 1, 7, 3);
  const body = Buffer.concat([Buffer.from('WEBP'), chunk('VP8X', features), webp.subarray(12), chunk('EXIF', exifOf(text))]);
  const head = Buffer.alloc(8);
  head.write('RIFF');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}
