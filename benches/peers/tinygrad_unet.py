#!/usr/bin/env python3
"""tinygrad's WGSL kernels of SD 1.5's UNet, batch 2, as one JSON file: what to run, on which buffers, in which order.

make.py calls it: the side of the latents, the dtype, the network's shape as JSON, the checkpoint, and where to write.

The network is written with tinygrad.nn as its authors write networks; TinyJit captures one evaluation. Nothing is computed: a device
that calls itself WEBGPU compiles for WGSL as tinygrad's own does and runs nothing, so no GPU is needed. BEAM is off, as nothing can
be timed on it: these are the kernels of tinygrad's heuristics.
"""

import json
import math
import sys
import types

from tinygrad import Tensor, TinyJit, dtypes
from tinygrad.device import Compiled
from tinygrad.helpers import DEV
from tinygrad.nn import Conv2d, GroupNorm, LayerNorm, Linear
from tinygrad.renderer.wgsl import WGSLRenderer
from tinygrad.runtime.ops_null import NullAllocator, NullProgram
from tinygrad.uop.ops import Ops

SIZE, DTYPE, SHAPE, CHECKPOINT, RESULT = sys.argv[1:]
LEVELS, LAYERS, TEXT = (json.loads(SHAPE)[key] for key in ("unet", "layers", "text"))
WIDTH, HEADS, GROUPS = LEVELS[0], 8, 32


def pretend_webgpu(f16):
    """tinygrad loads `tinygrad.runtime.ops_webgpu` when WEBGPU is asked for, which needs Dawn's library and an adapter: this stands in."""

    class WebGpuDevice(Compiled):
        def __init__(self, device):
            super().__init__(device, NullAllocator(self), [WGSLRenderer], NullProgram, arch="shader-f16" if f16 else "")

    module = types.ModuleType("tinygrad.runtime.ops_webgpu")
    WebGpuDevice.__module__ = module.__name__
    module.WebGpuDevice = WebGpuDevice
    sys.modules[module.__name__] = module
    DEV.value = "WEBGPU"


class ResBlock:
    def __init__(self, channels, out):
        self.in_layers = {"0": GroupNorm(GROUPS, channels), "2": Conv2d(channels, out, 3, padding=1)}
        self.emb_layers = {"1": Linear(4 * WIDTH, out)}
        self.out_layers = {"0": GroupNorm(GROUPS, out), "3": Conv2d(out, out, 3, padding=1)}
        self.skip_connection = Conv2d(channels, out, 1) if channels != out else None

    def __call__(self, x, emb, context):
        h = self.in_layers["2"](self.in_layers["0"](x).silu())
        h = h + self.emb_layers["1"](emb.silu()).reshape(1, -1, 1, 1)
        h = self.out_layers["3"](self.out_layers["0"](h).silu())
        return h + (self.skip_connection(x) if self.skip_connection else x)


class Attention:
    def __init__(self, channels, context):
        self.to_q = Linear(channels, channels, bias=False)
        self.to_k = Linear(context, channels, bias=False)
        self.to_v = Linear(context, channels, bias=False)
        self.to_out = {"0": Linear(channels, channels)}

    def __call__(self, x, context):
        heads = lambda y: y.reshape(y.shape[0], y.shape[1], HEADS, -1).transpose(1, 2)
        h = heads(self.to_q(x)).scaled_dot_product_attention(heads(self.to_k(context)), heads(self.to_v(context)))
        return self.to_out["0"](h.transpose(1, 2).reshape(*x.shape))


class FeedForward:
    def __init__(self, channels):
        self.net = {"0": {"proj": Linear(channels, 8 * channels)}, "2": Linear(4 * channels, channels)}

    def __call__(self, x):
        h, gate = self.net["0"]["proj"](x).chunk(2, dim=-1)
        # erf's GELU, as diffusers has it.
        return self.net["2"](h * (gate * 0.5 * (1 + (gate / math.sqrt(2)).erf())))


class Transformer:
    def __init__(self, channels):
        self.attn1, self.attn2 = Attention(channels, channels), Attention(channels, TEXT)
        self.ff = FeedForward(channels)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(channels) for _ in range(3))

    def __call__(self, x, context):
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer:
    def __init__(self, channels):
        self.norm = GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in, self.proj_out = Conv2d(channels, channels, 1), Conv2d(channels, channels, 1)
        self.transformer_blocks = {"0": Transformer(channels)}

    def __call__(self, x, emb, context):
        b, c, h, w = x.shape
        rows = self.proj_in(self.norm(x)).reshape(b, c, h * w).transpose(1, 2)
        rows = self.transformer_blocks["0"](rows, context)
        return x + self.proj_out(rows.transpose(1, 2).reshape(b, c, h, w))


class Downsample:
    def __init__(self, channels):
        self.op = Conv2d(channels, channels, 3, stride=2, padding=1)

    def __call__(self, x, emb, context):
        return self.op(x)


class Upsample:
    def __init__(self, channels):
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def __call__(self, x, emb, context):
        b, c, h, w = x.shape
        return self.conv(x.reshape(b, c, h, 1, w, 1).expand(b, c, h, 2, w, 2).reshape(b, c, 2 * h, 2 * w))


class ConvIn(Conv2d):
    def __call__(self, x, emb, context):
        return super().__call__(x)


def rooms(*layers):
    """What a checkpoint calls 0, 1, 2."""
    return {str(i): layer for i, layer in enumerate(layers)}


class UNet:
    def __init__(self):
        self.time_embed = {"0": Linear(WIDTH, 4 * WIDTH), "2": Linear(4 * WIDTH, 4 * WIDTH)}
        channels, skips, last = WIDTH, [WIDTH], len(LEVELS) - 1
        down = [rooms(ConvIn(4, WIDTH, 3, padding=1))]
        for level, out in enumerate(LEVELS):
            for _ in range(LAYERS):
                down.append(rooms(ResBlock(channels, out), *([SpatialTransformer(out)] if level < last else [])))
                channels = out
                skips.append(out)
            if level < last:
                down.append(rooms(Downsample(out)))
                skips.append(out)
        self.input_blocks = rooms(*down)
        self.middle_block = rooms(ResBlock(channels, channels), SpatialTransformer(channels), ResBlock(channels, channels))
        up = []
        for level, out in reversed(list(enumerate(LEVELS))):
            for i in range(LAYERS + 1):
                layers = [ResBlock(channels + skips.pop(), out)]
                channels = out
                layers += [SpatialTransformer(out)] if level < last else []
                layers += [Upsample(out)] if level > 0 and i == LAYERS else []
                up.append(rooms(*layers))
        self.output_blocks = rooms(*up)
        self.out = {"0": GroupNorm(GROUPS, channels), "2": Conv2d(channels, 4, 3, padding=1)}

    def __call__(self, x, timestep, context):
        half = WIDTH // 2
        kind = x.dtype
        angles = timestep.float() * (Tensor.arange(half).float() * (-math.log(10000) / half)).exp()
        emb = angles.cos().cat(angles.sin()).reshape(1, WIDTH).cast(kind)
        emb = self.time_embed["2"](self.time_embed["0"](emb).silu())
        skips = []
        for block in self.input_blocks.values():
            for layer in block.values():
                x = layer(x, emb, context)
            skips.append(x)
        for layer in self.middle_block.values():
            x = layer(x, emb, context)
        for block in self.output_blocks.values():
            x = x.cat(skips.pop(), dim=1)
            for layer in block.values():
                x = layer(x, emb, context)
        return self.out["2"](self.out["0"](x).silu()).float()


def parameters(part, prefix="model.diffusion_model"):
    """{name in the checkpoint: tensor}."""
    if isinstance(part, Tensor):
        return {prefix: part}
    members = part.items() if isinstance(part, dict) else getattr(part, "__dict__", {}).items()
    found = {}
    for name, member in members:
        if isinstance(member, (Tensor, dict)) or type(member).__module__ in (__name__, "tinygrad.nn"):
            found |= parameters(member, f"{prefix}.{name}")
    return found


def main():
    pretend_webgpu(DTYPE == "f16")
    kind = {"f32": dtypes.float, "f16": dtypes.half}[DTYPE]
    unet = UNet()
    weights = parameters(unet)
    with open(CHECKPOINT, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    for name, tensor in weights.items():
        assert math.prod(header[name]["shape"]) == math.prod(tensor.shape), f"{name}: {tensor.shape}, {header[name]['shape']}"
        tensor.replace(Tensor.empty(*tensor.shape, dtype=kind).realize())
    inputs = {
        "latents": Tensor.empty(2, 4, int(SIZE), int(SIZE), dtype=kind).realize(),
        "timestep": Tensor.empty(1, dtype=dtypes.float).realize(),
        "context": Tensor.empty(2, 77, TEXT, dtype=kind).realize(),
    }
    step = TinyJit(lambda latents, timestep, context: unet(latents, timestep, context).realize())
    for _ in range(2):
        eps = step(*inputs.values())
    write(step.captured, weights, inputs, eps)


def write(captured, weights, inputs, eps):
    names = {t.uop.buf_uop: name for name, t in {**weights, "eps": eps}.items()}
    # The jit has put parameters where its arguments were.
    order = list(inputs)
    kernels, buffers, calls = {}, {}, []

    def place(uop):
        base = uop.buf_uop
        if base.op is Ops.PARAM:
            name = order[base.arg.slot]
        else:
            name = names.setdefault(base, f"buffer {len(names)}")
        # A view would need an offset, which WEBGPU does not have.
        assert uop.max_numel() == base.max_numel(), f"{name} is bound in part"
        buffers[name] = {"bytes": base.max_numel() * base.dtype.itemsize, "dtype": base.dtype.name}
        return name

    for call in captured.linear.src:
        program = call.src[0]
        assert program.op is Ops.PROGRAM, program.op
        info = program.arg
        bound = [u for u in call.src[1:] if not u.is_bound_var]
        source = next(u.arg for u in program.src if u.op is Ops.SOURCE)
        # Kernels of one name can differ.
        number = kernels.setdefault(source, (len(kernels), info.function_name))[0]
        calls.append({"kernel": number, "buffers": [place(bound[i]) for i in info.globals], "grid": list(info.global_size)})
    with open(RESULT, "w") as file:
        listed = [{"name": name, "code": code} for code, (_, name) in kernels.items()]
        json.dump({"kernels": listed, "buffers": buffers, "calls": calls, "weights": sorted(weights)}, file)
    print(f"{RESULT}: {len(calls)} dispatches of {len(kernels)} kernels")


if __name__ == "__main__":
    main()
