#!/usr/bin/env python3
"""A small random TAESD, and the pictures that diffusers' AutoencoderTiny makes of latents with it.

    python tests/golden/make_taesd.py            # writes tests/golden/models/taesd.safetensors and taesd.images.safetensors

Made with torch 2.15.0, diffusers 0.42.1, safetensors 0.8.0, on one thread; seeded. 16 channels instead of 64, and the decoder
alone: names and order are the real file's (diffusers' names). Weights are f16, widened to f32 for the pictures. `latents.HxW`
(1, 4, H, W) are the sampler's own, some of them far outside of what the first layer lets through; `image.HxW` (1, 3, 8H, 8W) is
in TAESD's own 0…1, not clamped.
"""

import math
import pathlib

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

torch.set_num_threads(1)
FOLDER = pathlib.Path(__file__).resolve().parent / "models"
CHANNELS = 16


def random_weight(name, value, generator):
    if name.endswith("bias"):
        return (torch.randn(value.shape, generator=generator) * 0.1).half()
    # The third convolution of a block is added to what came in: small, or ten blocks would grow without end.
    gain = 0.5 if ".conv.4." in name else math.sqrt(2)
    gain = 0.4 if name.endswith("layers.18.weight") else gain
    return (torch.randn(value.shape, generator=generator) * gain / math.sqrt(math.prod(value.shape[1:]))).half()


@torch.no_grad()
def main():
    generator = torch.Generator().manual_seed(21)
    channels = (CHANNELS,) * 4
    network = AutoencoderTiny(encoder_block_out_channels=channels, decoder_block_out_channels=channels).eval()
    decoder = {name: value for name, value in network.state_dict().items() if name.startswith("decoder.")}
    weights = {name: random_weight(name, value, generator) for name, value in decoder.items()}
    network.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    images = {}
    for height, width in ((8, 8), (5, 7)):
        latents = torch.randn(1, 4, height, width, generator=generator) * 2
        sample = network.decode(latents).sample
        images[f"latents.{height}x{width}"] = latents
        images[f"image.{height}x{width}"] = (sample + 1) / 2
        print(f"{height}x{width}: mean {images[f'image.{height}x{width}'].mean():.3f}, std {images[f'image.{height}x{width}'].std():.3f}")
    save_file(weights, FOLDER / "taesd.safetensors")
    save_file({name: value.contiguous() for name, value in images.items()}, FOLDER / "taesd.images.safetensors")


if __name__ == "__main__":
    main()
