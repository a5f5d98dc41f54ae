#!/usr/bin/env python3
"""Labelled pictures for the reader of `attributes.rs`, none of them in the training sets (other seeds).

    python examples/demo_model/make_held_out.py tests/golden/demo/held_out 48          # the committed sample
    python examples/demo_model/make_held_out.py target/demo-model/held_out 1200        # for the stated accuracy
    python examples/demo_model/make_held_out.py target/demo-model/degraded 1200 --degrade
    python examples/demo_model/make_held_out.py target/demo-model/decoded 1200 --vae target/demo-model/vae.pt

Writes NAME.png, a sheet of 16 pictures a row, and NAME.json, their labels. Degraded pictures are what a VAE makes of them at its
worst: blurred (σ 1 px), with an error of the whole picture's colours, and noise (σ 6 of 255). With --vae they really went through it.
"""

import argparse
import json
import pathlib

import numpy as np
from PIL import Image, ImageFilter

from pictures import COLOURS, SIZE, UNNAMED_HUES, any_scene, draw

ACROSS = 16


def label(scene):
    """What a reader should say. Of a cut picture only what can still be seen: `whole` says that no shape is touched."""
    lowest = max(y + 1.15 * r for _, y, r in scene.objects)
    return {
        "shape": scene.shape,
        "colour": scene.colour if scene.colour in {**COLOURS, **UNNAMED_HUES} else "",
        "hue": round(scene.hsv[0] % 360, 1),
        "style": scene.style,
        "background": scene.background,
        "count": scene.count,
        "size": scene.size if scene.count == 1 else "",
        "position": scene.position if scene.count == 1 else "",
        "failure": scene.failure,
        "whole": scene.failure != "cut" or lowest < scene.cut_at - 2,
    }


def degraded(picture, rng):
    blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1))
    off = rng.normal(0, 3, 3) + rng.normal(0, 6, picture.shape)
    return np.clip(np.asarray(blurred, np.float32) + off, 0, 255).round().astype(np.uint8)


def decoded(pictures, path):
    """Through the VAE of the demo model and back."""
    import torch

    import networks

    torch.set_num_threads(1)
    vae = networks.vae()
    state = torch.load(path)
    vae.load_state_dict(state.get("ema.vae", state))  # a finished VAE, or training's state
    for start in range(0, len(pictures), 16):
        x = torch.from_numpy(np.stack(pictures[start : start + 16])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            y = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        yield from ((y + 1) * 127.5).permute(0, 2, 3, 1).numpy().astype(np.uint8)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("pictures", type=int)
    args.add_argument("--seed", type=int, default=9001)
    args.add_argument("--degrade", action="store_true")
    args.add_argument("--vae", type=pathlib.Path)
    args = args.parse_args()
    rng = np.random.default_rng([7, args.seed])
    scenes = [any_scene(rng) for _ in range(args.pictures)]
    pictures = [draw(scene)[0] for scene in scenes]
    if args.vae:
        pictures = list(decoded(pictures, args.vae))
    if args.degrade:
        pictures = [degraded(picture, rng) for picture in pictures]
    rows = -(-len(pictures) // ACROSS)
    sheet = np.zeros((rows * SIZE, ACROSS * SIZE, 3), np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // ACROSS * SIZE, i % ACROSS * SIZE
        sheet[y : y + SIZE, x : x + SIZE] = picture
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(args.out.with_suffix(".png"), optimize=True)
    lines = ",\n".join(json.dumps(label(scene)) for scene in scenes)
    args.out.with_suffix(".json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
