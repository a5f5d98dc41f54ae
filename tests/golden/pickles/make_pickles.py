"""Writes the small torch files of this folder, and expected.json with what torch reads in them.

Run:  python make_pickles.py      (torch 2.15.0; a second)
"""

import json
import pathlib

import torch

HERE = pathlib.Path(__file__).parent
WIDTH = 8


def rows(n, dtype=torch.float32):
    return (torch.arange(n * WIDTH, dtype=torch.float32).reshape(n, WIDTH) / 16 - 1).to(dtype)


def a1111(tensor):
    return {
        "string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "it", "step": 3,
        "sd_checkpoint": "abc", "sd_checkpoint_name": None,
    }


def paper(tensor):
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(tensor)})
    return {"string_to_token": {"*": torch.arange(77)[1]}, "string_to_param": parameters}


base = rows(6)
FILES = {
    "a1111": (a1111(torch.nn.Parameter(rows(2))), rows(2)),
    "paper": (paper(rows(1)), rows(1)),
    "diffusers": ({"<cat-toy>": rows(1)[0]}, rows(1)),
    "kohya_half": ({"emb_params": rows(3, torch.float16)}, rows(3)),
    "kohya_bf16": ({"emb_params": rows(3, torch.bfloat16)}, rows(3)),
    "double": ({"emb_params": rows(2, torch.float64)}, rows(2)),
    "strided": ({"emb_params": base[1::2]}, base[1::2]),
    "transposed": ({"emb_params": rows(6).t().contiguous().t()}, rows(6)),
    "shared": ({"clip_l": base[2:4], "clip_g": base}, base[2:4]),
    "list": ([rows(1), {"x": base[3:5]}], torch.cat([rows(1), base[3:5]])),
    "bare": (rows(2), rows(2)),
}

expected = {}
for name, (value, tensor) in FILES.items():
    torch.save(value, HERE / f"{name}.pt")
    torch.save(value, HERE / f"{name}_legacy.pt", _use_new_zipfile_serialization=False)
    expected[name] = tensor.detach().float().tolist()
(HERE / "expected.json").write_text(json.dumps(expected) + "\n")
