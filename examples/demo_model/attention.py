"""Attention of narrow heads on a CPU: attention.cpp as an operation of PyTorch, with its gradient, and as diffusers' attention processor.

    python examples/demo_model/attention.py   # compares it with PyTorch's own, and times both
"""

import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor

from training import DEVICE

SOURCE = Path(__file__).with_suffix(".cpp")
WIDTHS = (8, 12)  # of the heads it is made for
# Without -ffast-math when linking: there it would round the small numbers of all of PyTorch to zero.
COMPILE = ("-c", "-O3", "-march=native", "-ffast-math", "-std=c++17", "-fopenmp", "-fPIC")
LINK = ("-shared", "-fopenmp")


def library():
    """The kernels, compiled in a second or two; None where there is no g++ (attention is then as diffusers has it, and the training slower)."""
    if DEVICE != "cpu" or not shutil.which("g++"):
        return None
    # Made anew each time, for the CPU at hand. It shares OpenMP's threads with PyTorch, which has loaded the library of that name.
    with tempfile.TemporaryDirectory() as folder:
        parts, made = f"{folder}/attention.o", f"{folder}/attention.so"
        subprocess.run(["g++", *COMPILE, "-o", parts, str(SOURCE)], check=True)
        subprocess.run(["g++", *LINK, "-o", made, parts, "-lm"], check=True)
        return ctypes.CDLL(made)


KERNELS = library()


def call(kernel, q, k, heads, *tensors):
    sizes = q.shape[2] // heads, q.shape[0], heads, q.shape[1], k.shape[1], torch.get_num_threads()
    kernel(*sizes, *(ctypes.c_void_p(t.data_ptr()) for t in (q, k, *tensors)))


@torch.library.custom_op("shapes::attention", mutates_args=())
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(q kᵀ / √D) v of (batch, rows, heads·D), and the logarithms of the sums of exponentials (batch, heads, rows)."""
    out, log_sums = torch.empty_like(q), q.new_empty(q.shape[0], heads, q.shape[1])
    call(KERNELS.attention_forward, q, k, heads, v, out, log_sums)
    return out, log_sums


@attention.register_fake
def _(q, k, v, heads):
    return torch.empty_like(q), q.new_empty(q.shape[0], heads, q.shape[1])


@torch.library.custom_op("shapes::attention_backward", mutates_args=())
def attention_backward(d_out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, log_sums: torch.Tensor,
                       heads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    gradients = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    call(KERNELS.attention_backward, q, k, heads, v, out, log_sums, d_out, *gradients)
    return gradients


@attention_backward.register_fake
def _(d_out, q, k, v, out, log_sums, heads):
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def keep(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:3], *output)
    ctx.heads = inputs[3]


def gradients(ctx, d_out, _):
    return *attention_backward(d_out.contiguous(), *ctx.saved_tensors, ctx.heads), None


attention.register_autograd(gradients, setup_context=keep)


class NarrowHeads:
    """As diffusers' `AttnProcessor`, for what the demo model's UNet asks of it: (batch, rows, columns) without a mask."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        assert attention_mask is None
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(seen), attn.to_v(seen)
        assert q.shape[2] // attn.heads in WIDTHS
        out, _ = attention(*(x.float().contiguous() for x in (q, k, v)), attn.heads)
        return attn.to_out[1](attn.to_out[0](out.to(q.dtype)))


def processor():
    """The plain formula where there are no kernels: PyTorch's fused one is not faster on a CPU for heads this narrow."""
    return NarrowHeads() if KERNELS else AttnProcessor()


def compare(rows, keys, heads, width, batch=32):
    """One size against PyTorch: the largest difference of the result and of each gradient, beside the largest number; times in ms."""
    torch.manual_seed(rows + keys)
    inputs = [torch.randn(batch, n, heads * width, requires_grad=True) for n in (rows, keys, keys)]
    d_out = torch.randn(batch, rows, heads * width)
    split = lambda x: x.view(batch, -1, heads, width).transpose(1, 2)
    theirs = lambda q, k, v: F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape(q.shape)
    found, times = [], []
    for function in (theirs, lambda q, k, v: attention(q, k, v, heads)[0]):
        for _ in range(3):
            start = time.time()
            out = function(*inputs)
            grads = torch.autograd.grad(out, inputs, d_out)
            times.append(1000 * (time.time() - start))
        found.append((out.detach(), *grads))
    apart = [((a - b).abs().max() / a.abs().max()).item() for a, b in zip(*found)]
    print(f"{rows:4} × {keys:3}, {heads} heads of {width:2}: {min(times[:3]):6.1f} → {min(times[3:]):5.1f} ms, apart by {max(apart):.1e}")
    return max(apart)


if __name__ == "__main__":
    torch.set_num_threads(2)
    if not KERNELS:
        sys.exit("attention.cpp is for a CPU and needs g++")
    sizes = (256, 256, 8, 8), (256, 77, 8, 8), (64, 64, 8, 12), (64, 77, 8, 12), (16, 77, 8, 12), (4, 4, 8, 8), (7, 5, 3, 8), (3, 2, 1, 12)
    if max(compare(*size) for size in sizes) > 1e-5:  # sums of some hundred numbers in another order, and exp to a few units in the last place
        sys.exit("attention.cpp is not PyTorch's attention")
