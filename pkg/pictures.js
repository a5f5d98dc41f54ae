// Pictures to start from, as the engine takes them: RGBA bytes of the size of the result.

import { WordbrushError } from './index.js';

// Options with `image` and `mask` as {width, height, data}. The result has the image's own size, cut to multiples of 8, unless the
// options say another: then the middle of the image, as large as has that shape, is brought to that size. Where only what is masked
// is painted, the image stays as large as it is, and `width` and `height` are the size of the part that is worked on.
export async function withPixels(options) {
  if (options.image === undefined) {
    if (options.mask === undefined) return options;
    throw new WordbrushError('BAD_OPTION', 'mask is given without an image to start from.');
  }
  const image = await decoded('image', options.image);
  const mask = options.mask === undefined ? undefined : await decoded('mask', options.mask);
  const part = options.maskedPadding !== undefined;
  const width = part ? image.width : options.width ?? eighths(image.width);
  const height = part ? image.height : options.height ?? eighths(image.height);
  const taken = { ...options, ...(part ? {} : { width, height }), image: drawn(image, width, height, 'white') };
  // A mask belongs to the whole image and is cut with it; where it is transparent the image is kept.
  if (mask) taken.mask = drawn(mask, width, height, 'black');
  for (const bitmap of [image, mask]) bitmap?.close?.();
  return taken;
}

export async function bitmapOf(blob) {
  mustDecode('image()');
  return createImageBitmap(blob);
}

// ImageData, or its likeness where there is no such class.
export function imageDataOf({ data, width, height }) {
  return globalThis.ImageData ? new ImageData(data, width, height) : { data, width, height };
}

function mustDecode(name) {
  if (globalThis.createImageBitmap) return;
  const message = `${name} needs a picture decoder, which is in browsers only; give and take pixels as {width, height, data} here.`;
  throw new WordbrushError('BAD_OPTION', message);
}

const eighths = (side) => Math.max(8, Math.floor(side / 8) * 8);

async function decoded(name, source) {
  if (source?.data && source.width && source.height) {
    // ImageData, or its likeness where there is no such class.
    return globalThis.ImageData && source instanceof ImageData ? createImageBitmap(source) : source;
  }
  mustDecode(name);
  try {
    return await createImageBitmap(source);
  } catch {
    const message = `${name} is no picture that this browser can read: give a File, a Blob, an ImageBitmap, ImageData, a canvas or an <img>.`;
    throw new WordbrushError('BAD_OPTION', message);
  }
}

// The middle of a picture on a ground, as RGBA bytes.
function drawn(picture, width, height, ground) {
  if (picture.data) {
    const { width: w, height: h, data } = picture;
    if (w === width && h === height) return { width, height, data };
    throw new WordbrushError('BAD_OPTION', `The pixels are ${w}×${h}, and the result was to be ${width}×${height}.`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.fillStyle = ground;
  context.fillRect(0, 0, width, height);
  const same = picture.width === width && picture.height === height;
  const exact = same || eighths(picture.width) === width && eighths(picture.height) === height;
  const scale = exact ? 1 : Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  const [x, y] = [(width - w) / 2, (height - h) / 2];
  context.drawImage(picture, exact ? Math.ceil(x) : x, exact ? Math.ceil(y) : y, w, h);
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}
