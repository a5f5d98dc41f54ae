#!/usr/bin/env python3
"""What the contenders of `cargo xtask bench --peers` run: one UNet of SD 1.5's full width, the same random weights for all.

    python benches/peers/make.py --out target/peers [--sizes 8 16] [--dtypes f32 f16]

Writes, where missing: the checkpoint (benches/full_size.py, 2.13 GB), for every size the inputs of a step and what diffusers makes
of them in f32 (`step-8.safetensors`), and for every size and dtype the ONNX export of diffusers' UNet (`onnx/8-f32.onnx`, its
weights shared by all sizes) and tinygrad's kernels of the same network (`tinygrad/8-f32.json`; the weights come from the checkpoint).
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import full_size  # noqa: E402
import make_models as models  # noqa: E402  (full_size put its folder on the path)

CFG = 8.0
# Wasm and JavaScript hold no array of all the weights: a fair user ships them in parts.
PART = 900_000_000
# Below this a tensor stays in the graph's own file.
INLINE = 1024


def network(path, config):
    """diffusers' UNet in f32 with the checkpoint's weights."""
    tensors = full_size.OnDisk(path)
    unet = models.networks(config)["unet"]
    rows = [row for row in models.plan(config) if row[1] == "unet"]
    state = {name: tensors[ldm].float() for ldm, _, name, _ in rows}
    unet.load_state_dict(state, assign=True)
    return unet


def contexts(path, config):
    """(2, 77, width): what CLIP makes of the two prompts, the positive first."""
    tensors = full_size.OnDisk(path)
    text = models.networks(config)["text_encoder"]
    rows = [row for row in models.plan(config) if row[1] == "text_encoder"]
    text.load_state_dict({name: tensors[ldm].float() for ldm, _, name, _ in rows}, assign=True)
    for name, buffer in list(text.named_buffers()):
        if buffer.is_meta:  # position_ids is not in the state dict
            owner = text.get_submodule(name.rsplit(".", 1)[0]) if "." in name else text
            owner.position_ids = torch.arange(77).unsqueeze(0)
    both = [full_size.rows_of(tensors[full_size.TABLE], ids) for ids in (full_size.POSITIVE, full_size.NEGATIVE)]
    return torch.cat([models.encode(text, rows) for rows in both])


@torch.no_grad()
def step_inputs(unet, context, size):
    """The first of many Euler steps: σ is the largest, the timestep 999. `guided` is ε with guidance."""
    sigma = models.normal_schedule(1000)[0]
    noise = torch.randn([1, 4, size, size], generator=torch.Generator().manual_seed(1234))
    x = noise * (1 + sigma**2).sqrt()
    latents = (x / (sigma**2 + 1).sqrt()).expand(2, -1, -1, -1).contiguous()
    eps = torch.cat([models.denoise(unet, latents[i : i + 1], 999, context[i : i + 1]) for i in range(2)])
    guided = eps[1] + CFG * (eps[0] - eps[1])
    inputs = {"latents": latents, "context": context, "timestep": torch.tensor([999.0])}
    halves = {f"{name}.f16": value.half() for name, value in inputs.items()}
    return {"x": x, "sigma": sigma.reshape(1), "eps": eps, "guided": guided, **inputs, **halves}


class Step(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, latents, timestep, context):
        return self.unet(latents, timestep, encoder_hidden_states=context, return_dict=False)[0]


class Parts:
    """Weights in files of at most PART bytes; a tensor that was written before is written once."""

    def __init__(self, folder, dtype):
        self.folder, self.dtype, self.places, self.part, self.length = folder, dtype, {}, 0, 0
        self.file = open(self.path(), "wb")

    def path(self):
        return self.folder / f"weights-{self.dtype}-{self.part}.bin"

    def place(self, data):
        key = hashlib.blake2b(data).digest()
        if key not in self.places:
            if self.length + len(data) > PART:
                self.file.close()
                self.part, self.length = self.part + 1, 0
                self.file = open(self.path(), "wb")
            self.file.write(data)
            self.places[key] = (self.path().name, self.length)
            self.length += len(data)
        return self.places[key]


def write_onnx(program, path, parts):
    """A graph whose weights are `parts`."""
    import onnx

    single = path.with_suffix(".single.onnx")
    program.save(str(single), external_data=True)
    data = single.with_name(single.name + ".data")
    graph = onnx.load(str(single), load_external_data=False)
    with open(data, "rb") as file:
        for tensor in graph.graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            where = {entry.key: entry.value for entry in tensor.external_data}
            file.seek(int(where.get("offset", 0)))
            content = file.read(int(where["length"]))
            del tensor.external_data[:]
            if len(content) < INLINE:
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.raw_data = content
                continue
            location, offset = parts.place(content)
            for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(content)))):
                tensor.external_data.add(key=key, value=value)
    data.unlink()
    single.unlink()
    path.write_bytes(graph.SerializeToString())


def export_onnx(unet, width, folder, sizes, dtype):
    kind = {"f32": torch.float32, "f16": torch.float16}[dtype]
    paths = [folder / f"{size}-{dtype}.onnx" for size in sizes]
    if all(path.exists() for path in paths):
        return
    folder.mkdir(parents=True, exist_ok=True)
    parts = Parts(folder, dtype)
    step = Step(unet.to(kind)).eval()
    for size, path in zip(sizes, paths):
        given = (torch.zeros(2, 4, size, size, dtype=kind), torch.zeros(1, dtype=kind), torch.zeros(2, 77, width, dtype=kind))
        names = dict(input_names=["latents", "timestep", "context"], output_names=["eps"])
        program = torch.onnx.export(step, given, dynamo=True, **names)
        write_onnx(program, path, parts)
        print(f"{path}: written", flush=True)
    parts.file.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parents[1] / "target/peers")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16], help="side of the latents")
    parser.add_argument("--small", action="store_true", help="a small network, to try the bench itself")
    parser.add_argument("--dtypes", nargs="+", default=["f32", "f16"], choices=["f32", "f16"])
    options = parser.parse_args()
    config = models.END_TO_END if options.small else models.FULL_SIZE
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "sd15-random.safetensors"
    if not checkpoint.exists():
        full_size.write_checkpoint(checkpoint, config)
    inputs = {size: options.out / f"step-{size}.safetensors" for size in options.sizes}
    graphs = {dtype: [options.out / "onnx" / f"{size}-{dtype}.onnx" for size in options.sizes] for dtype in options.dtypes}
    if not all(path.exists() for path in [*inputs.values(), *sum(graphs.values(), [])]):
        unet = network(checkpoint, config)
        context = contexts(checkpoint, config)
        for size, path in inputs.items():
            if not path.exists():
                save_file(step_inputs(unet, context, size), path)
        for dtype in sorted(options.dtypes, reverse=True):  # f32 first: .half() cannot be undone
            export_onnx(unet, config["text"], options.out / "onnx", options.sizes, dtype)
        del unet
    for size in options.sizes:
        for dtype in options.dtypes:
            path = options.out / "tinygrad" / f"{size}-{dtype}.json"
            if not path.exists():
                # A process each: tinygrad's device is chosen once.
                path.parent.mkdir(exist_ok=True)
                shape = json.dumps({key: config[key] for key in ("unet", "layers", "text")})
                subprocess.run([sys.executable, str(HERE / "tinygrad_unet.py"), str(size), dtype, shape, str(checkpoint), str(path)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
