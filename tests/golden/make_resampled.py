#!/usr/bin/env python3
"""What PyTorch makes of planes at another size, for tests/resample.rs.

    python tests/golden/make_resampled.py      # writes tests/golden/resampled.safetensors (committed)

Made with torch 2.15.0. ComfyUI's "bislerp", as facts: along the width, then along the height, each value lies between the two that bilinear
interpolation takes; its direction by spherical interpolation over the channels, its length by linear; where the two directions are nearly
one (cosine above 1 - 1e-5) it is the first, where they are nearly opposite it is the linear mixture.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).with_name("resampled.safetensors")
FROM = (5, 7)
TO = ((8, 10), (10, 14), (7, 11), (3, 5))
MODES = {
    "Nearest": dict(mode="nearest"),
    "NearestExact": dict(mode="nearest-exact"),
    "Linear": dict(mode="bilinear"),
    "Cubic": dict(mode="bicubic"),
    "Area": dict(mode="area"),
    "SmoothLinear": dict(mode="bilinear", antialias=True),
    "SmoothCubic": dict(mode="bicubic", antialias=True),
}


def between(a, b, ratio):
    """(N, C) each, ratio (N, 1)."""
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    one, other = (torch.nan_to_num(v / n) for v, n in zip((a, b), lengths))
    cosine = (one * other).sum(1, keepdim=True)
    angle = torch.acos(cosine.clamp(-1, 1))
    direction = (torch.sin((1 - ratio) * angle) * one + torch.sin(ratio * angle) * other) / torch.sin(angle)
    mixed = direction * (lengths[0] * (1 - ratio) + lengths[1] * ratio)
    mixed = torch.where(cosine < 1e-5 - 1, a * (1 - ratio) + b * ratio, mixed)
    return torch.where(cosine > 1 - 1e-5, a, mixed)


def along_width(x, width):
    """(C, H, W) → (C, H, width)."""
    old = x.shape[2]
    place = ((torch.arange(width, dtype=torch.float64) + 0.5) * old / width - 0.5).clamp(0, old - 1)
    low = place.long()
    a, b = (x[:, :, i].permute(1, 2, 0).reshape(-1, x.shape[0]) for i in (low, (low + 1).clamp(max=old - 1)))
    ratio = (place - low).repeat(x.shape[1])[:, None]
    return between(a, b, ratio).reshape(x.shape[1], width, -1).permute(2, 0, 1)


def bislerp(x, height, width):
    wide = along_width(x.double(), width)
    return along_width(wide.transpose(1, 2), height).transpose(1, 2).float()


def main():
    x = torch.randn(4, *FROM, generator=torch.Generator().manual_seed(5))
    x[:, 1, 2] = 0  # no direction
    x[:, 2, 4] = 3 * x[:, 2, 3]  # one direction
    x[:, 3, 1] = -x[:, 3, 0]  # opposite ones
    out = {"x": x}
    for size in TO:
        for name, options in MODES.items():
            out[f"{name}.{size[0]}x{size[1]}"] = F.interpolate(x[None], size, **options)[0].contiguous()
        out[f"Spherical.{size[0]}x{size[1]}"] = bislerp(x, *size).contiguous()
    save_file(out, OUT)


if __name__ == "__main__":
    main()
