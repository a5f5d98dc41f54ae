#!/usr/bin/env python3
"""A random checkpoint of SD 1.5's full size, and two Euler steps of diffusers on it: the numbers the engine must reproduce.

    python benches/full_size.py                         # writes the checkpoint (2.13 GB, 1130 tensors) and the expected tensors
    python benches/full_size.py --compare ours.safetensors [--tolerance 1e-3]     # exit 1 when the latents are further away

64×64 pixels, 2 steps of euler on the normal schedule, cfg 8, seed 1234, "a photo of a cat" against "text, watermark", all in f32 on
the file's f16 weights. Needs the Python packages named in tests/golden/make_models.py and about 6 GB of memory.
"""

import argparse
import pathlib
import sys
import time

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden"))
import make_models as models  # noqa: E402

BOS, EOS = 49406, 49407
# CLIP's ids of the two prompts, as open_clip's tokenizer gives them.
POSITIVE = [320, 1125, 539, 320, 2368]  # a photo of a cat
NEGATIVE = [4160, 267, 2505, 2110]  # text, watermark
TABLE = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


def write_checkpoint(path, config=models.FULL_SIZE):
    """Tensor after tensor, so that the model is never in memory as a whole."""
    rows = models.plan(config)
    generator = torch.Generator().manual_seed(config["seed"])
    partial = path.with_suffix(".part")
    with open(partial, "wb") as file:
        models.write_header(file, [(ldm, "F16", shape, 2 * torch.Size(shape).numel()) for ldm, _, _, shape in rows])
        for ldm, _, _, shape in rows:
            file.write(models.random_tensor(ldm, shape, generator).numpy().tobytes())
    partial.rename(path)
    print(f"{path}: {len(rows)} tensors, {path.stat().st_size / 1e9:.2f} GB")


class OnDisk(dict):
    """A checkpoint's tensors, read one at a time."""

    def __init__(self, path):
        self.file = safe_open(path, "pt")

    def __getitem__(self, name):
        return self.file.get_tensor(name)


def rows_of(table, ids):
    """(1, 77, 768): one window, padded with EOS as SD 1.5 was trained."""
    ids = [BOS, *ids, EOS]
    return table[torch.tensor([ids + [EOS] * (77 - len(ids))])].float()


def run(path):
    tensors = OnDisk(path)
    start = time.time()
    parts = models.load(models.FULL_SIZE, tensors)
    print(f"loaded in {time.time() - start:.0f} s", flush=True)
    start = time.time()
    cond, uncond = (models.encode(parts["text_encoder"], rows_of(tensors[TABLE], ids)) for ids in (POSITIVE, NEGATIVE))
    noise = torch.randn([1, 4, 8, 8], generator=torch.Generator().manual_seed(1234))
    latents = models.euler(parts["unet"], noise, cond, uncond, steps=2, cfg=8)
    print(f"two steps in {time.time() - start:.0f} s", flush=True)
    expected = {"noise": noise, "conditioning": cond, "uncond": uncond, "latents": latents}
    expected["image"] = models.decode(parts["vae"], latents / 0.18215)
    for name, value in expected.items():
        assert torch.isfinite(value).all(), f"{name} is not finite"
        print(f"{name} {tuple(value.shape)}: std {value.std():.3f}, largest {value.abs().max():.3f}")
    return expected


def compare(ours, expected, tolerance):
    """Prints the relative error of every tensor both files hold; whether all are there and the latents near enough."""
    missing = [name for name in ("noise", "conditioning", "uncond", "latents") if name not in ours]
    errors = {name: models.relative(ours[name].reshape(value.shape), value) for name, value in expected.items() if name in ours}
    for name, error in errors.items():
        print(f"{name:14} relative error {error:.3e}")
    if missing:
        print("missing:", ", ".join(missing))
    return not missing and errors["latents"] <= tolerance


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, default="/work/full/sd15-random.safetensors")
    parser.add_argument("--expected", type=pathlib.Path, default="/work/full/expected.safetensors")
    parser.add_argument("--compare", type=pathlib.Path, help="a file with noise, conditioning, uncond, latents to hold against the expected")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="for the latents; 1e-3 is for f32 storage, half storage needs more")
    options = parser.parse_args()
    if options.compare:
        return 0 if compare(load_file(options.compare), load_file(options.expected), options.tolerance) else 1
    options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if not options.checkpoint.exists():
        write_checkpoint(options.checkpoint)
    save_file({name: value.contiguous() for name, value in run(options.checkpoint).items()}, options.expected)
    return 0


if __name__ == "__main__":
    sys.exit(main())
