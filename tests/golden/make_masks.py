#!/usr/bin/env python3
"""What Pillow, OpenCV and PyTorch make of masks and of pictures under them, for tests/masks.rs.

    python tests/golden/make_masks.py      # writes tests/golden/masks.safetensors (committed)

Made with pillow 13.0.0, opencv-python-headless 4.12.0.88, torch 2.15.0, numpy 2.4.6. What A1111 does with them, as facts: the mask is
black and white above 128; then OpenCV's GaussianBlur, first along x, then along y, each 2·int(2.5 σ + 0.5) + 1 pixels wide; for the
latents Pillow's `resize` by its default filter, rounded; "fill" lays Pillow's Gauss blurs of what is kept over each other, the widest
lowest. ComfyUI's VAEEncodeForInpaint lets a mask reach further by a convolution with ones, 6×6, padded by 3, and makes what is masked gray. A1111's "Only masked" works on
the box around the mask, padded and grown to the result's shape within the picture; it is brought there whole by Lanczos, the border
repeated, and back so that it covers the box; what was to be kept is laid over by the inverted mask.
"""

import pathlib

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter, ImageOps
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).with_name("masks.safetensors")
SIZES = ((64, 64), (96, 64), (40, 72))


def pictures(seed, height, width):
    """A smooth random picture, as bytes (height, width, 3), and a mask (height, width) with a soft edge."""
    coarse = torch.randn(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(coarse, (height, width), mode="bicubic")[0] * 60 + 128
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (y - height * 0.45).abs() / height + (x - width * 0.6).abs() / width
    mask = ((0.42 - inside) * 8).clamp(0, 1)
    return smooth.clamp(0, 255).byte().permute(1, 2, 0).contiguous(), mask


def black_and_white(mask):
    return Image.fromarray((mask.numpy() * 255).round().astype(np.uint8)).point(lambda v: 255 if v > 128 else 0)


def blurred(mask, sigma):
    wide = 2 * int(2.5 * sigma + 0.5) + 1
    along_x = cv2.GaussianBlur(np.array(mask), (wide, 1), sigma)
    return Image.fromarray(cv2.GaussianBlur(along_x, (1, wide), sigma))


def shrunk(mask):
    """(h, w) of zeros and ones."""
    small = mask.convert("RGB").resize((mask.width // 8, mask.height // 8))
    return torch.from_numpy(np.around(np.array(small).astype(np.float32)[..., 0] / 255))


def filled(rgb, mask):
    """(height, width, 3), the colours around the mask smeared over it."""
    picture = Image.fromarray(rgb.numpy())
    kept = Image.new("RGBa", picture.size)
    kept.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    under = Image.new("RGBA", picture.size)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        over = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            under.alpha_composite(over)
    return torch.from_numpy(np.array(under.convert("RGB")))


def grown(mask):
    return F.conv2d(mask.round()[None, None], torch.ones(1, 1, 6, 6), padding=3).clamp(0, 1)[0, 0, : mask.shape[0], : mask.shape[1]]


def area(mask, padding, height, width):
    """(x1, y1, x2, y2) of what "Only masked" works on."""
    box = np.array(mask.getbbox(), float) + (-padding, -padding, padding, padding)
    low, high = np.maximum(box[:2], 0), np.minimum(box[2:], mask.size)
    shape = width / height
    w, h = high - low
    axis, length = (1, w / shape) if w / h > shape else (0, h * shape)
    more = int(length - (high - low)[axis])
    low[axis] -= more // 2
    high[axis] += more - more // 2
    over = max(high[axis] - mask.size[axis], 0)
    low[axis] -= over
    high[axis] -= over
    under = max(-low[axis], 0)
    low[axis] += under
    high[axis] = min(high[axis] + under, mask.size[axis])
    return [int(v) for v in (*low, *high)]


def placed(image, width, height, cover):
    """`image` by Lanczos in the middle of another size: covering it, or whole with its border repeated."""
    wide = width * image.height > image.width * height
    by_width = wide if cover else width * image.height < image.width * height
    size = (width, image.height * width // image.width) if by_width else (image.width * height // image.height, height)
    scaled = np.array(image.resize(size, resample=Image.Resampling.LANCZOS))
    rows, columns = (np.clip(np.arange(n) - (n // 2 - m // 2), 0, m - 1) for n, m in ((height, size[1]), (width, size[0])))
    return Image.fromarray(scaled[rows][:, columns])


def only_masked(rgb, mask, padding, height, width):
    """Box, what is worked on, its mask, something made of it, and that put back."""
    box = area(mask, padding, height, width)
    picture = Image.fromarray(rgb.numpy())
    cut, cut_mask = (placed(image.crop(box), width, height, False) for image in (picture, mask))
    made = ImageOps.invert(cut)
    kept = Image.new("RGBa", picture.size)
    kept.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    back = Image.new("RGBA", picture.size)
    back.paste(placed(made, box[2] - box[0], box[3] - box[1], True), box[:2])
    back.alpha_composite(kept.convert("RGBA"))
    bytes_of = lambda image: torch.from_numpy(np.array(image.copy()))
    return dict(area=torch.tensor(box, dtype=torch.int32), cut=bytes_of(cut), mask=bytes_of(cut_mask), made=bytes_of(made), back=bytes_of(back.convert("RGB")))


def main():
    out = {}
    for height, width in SIZES:
        rgb, mask = pictures(height, height, width)
        add = lambda name, value: out.__setitem__(f"{name}.{height}x{width}", value.contiguous())
        add("rgb", rgb)
        add("mask", mask)
        add("grown", grown(mask))
        hard = black_and_white(mask)
        for sigma in (0, 1, 4, 30):
            soft = blurred(hard, sigma) if sigma else hard
            add(f"blurred.{sigma}", torch.from_numpy(np.array(soft)))
            add(f"shrunk.{sigma}", shrunk(soft))
            add(f"filled.{sigma}", filled(rgb, soft))
        for h, w, padding in ((64, 64, 0), (64, 64, 32), (64, 48, 4)):
            for name, value in only_masked(rgb, blurred(hard, 4), padding, h, w).items():
                add(f"{name}.{h}x{w}.{padding}", value)
    save_file(out, OUT)


if __name__ == "__main__":
    main()
