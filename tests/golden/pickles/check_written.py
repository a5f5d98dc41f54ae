"""Reads the files that Wordbrush writes with the real libraries; tests/files/written.rs writes them and says where.

Run:  WRITTEN=/tmp/written cargo test --test files written && python check_written.py /tmp/written
      (torch 2.15.0, safetensors 0.8.0)
"""

import pathlib
import sys
import zipfile

import safetensors
import safetensors.torch
import torch

folder = pathlib.Path(sys.argv[1])
checked = 0
for path in sorted(folder.iterdir()):
    vectors, width = map(int, path.stem.split("_")[-1].split("x"))
    # The values that tests/files/writers.rs calls a ramp.
    ramp = (torch.arange(vectors * width) % 97 / 64 - 0.5).reshape(vectors, width)
    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        mapped = torch.load(path, weights_only=True, mmap=True)["string_to_param"]["*"]
        assert list(content) == [
            "string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name",
        ], list(content)
        assert content["string_to_token"] == {"*": 265} and content["name"] == "näme <b>", content
        assert torch.equal(mapped, ramp)
        tensor = content["string_to_param"]["*"]
        # What A1111 takes for harmless, and nothing else.
        names = zipfile.ZipFile(path).namelist()
        assert names == ["archive/data.pkl", "archive/data/0", "archive/version"], names
    else:
        with safetensors.safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt"}, file.metadata()
        content = safetensors.torch.load_file(path)
        assert list(content) == ["emb_params"], list(content)
        tensor = content["emb_params"]
    assert tensor.dtype == torch.float32 and torch.equal(tensor, ramp), path
    checked += 1
assert checked >= 4, f"{folder} holds {checked} files"
print(f"{checked} files are read by torch {torch.__version__} and safetensors {safetensors.__version__}")
