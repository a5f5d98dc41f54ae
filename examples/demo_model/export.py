"""The published file: www/demo/shapes.safetensors.gz, a single-file checkpoint in LDM names and half precision, packed.

Of the token table's 49 408 rows all but a hundred are zero, which packing makes 6 MB smaller.
"""

import gzip
import pathlib
import sys

import torch
from safetensors.torch import save_file

import networks
from training import WORK

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
from make_models import ldm_name  # noqa: E402  (the one list of LDM's names)

CONFIG = {"unet": networks.unet().config.block_out_channels, "layers": 1, "vae": (64,) * 4}
PLAIN = WORK / "shapes.safetensors"
PACKED = ROOT / "www" / "demo" / "shapes.safetensors.gz"
METADATA = {
    "modelspec.title": "Wordbrush shapes",
    "modelspec.architecture": "stable-diffusion-v1",
    "modelspec.license": "MIT OR Apache-2.0",
    "modelspec.description": "Coloured shapes at 128x128, trained from scratch; see examples/demo_model/README.md",
}


def main():
    tensors = {}
    for part in ("text_encoder", "unet", "vae"):
        for name, value in torch.load(WORK / f"{part}.pt", map_location="cpu").items():
            if name.endswith("position_ids"):
                continue
            tensors[ldm_name(part, name, CONFIG)] = shaped(part, name, value).half().contiguous()
    save_file(tensors, PLAIN, METADATA)
    PACKED.parent.mkdir(parents=True, exist_ok=True)
    with PACKED.open("wb") as out, gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, filename="", mtime=0) as packer:
        packer.write(PLAIN.read_bytes())
    print(f"{PLAIN.stat().st_size / 1e6:.2f} MB, packed {PACKED.stat().st_size / 1e6:.2f} MB, {len(tensors)} tensors")


def shaped(part, name, value):
    """LDM's VAE attention is made of 1×1 convolutions."""
    return value[..., None, None] if part == "vae" and ".attentions." in name and value.ndim == 2 else value


if __name__ == "__main__":
    main()
