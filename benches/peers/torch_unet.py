#!/usr/bin/env python3
"""diffusers' UNet of SD 1.5 on a CUDA card: a step with guidance in f16, channels last, eager and compiled. Prints a line of JSON.

    python benches/peers/torch_unet.py --folder target/peers --size 64 --rounds 20

`null` where PyTorch sees no card. The weights and the inputs are those of the other contenders; `error` is the eager result's.
"""

import argparse
import json
import pathlib
import statistics
import time

import make
import torch
from safetensors.torch import load_file


def milliseconds(step, rounds):
    """Of each round, after three that are not counted."""
    times = []
    for i in range(rounds + 3):
        torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        if i >= 3:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("null")
        return
    unet = make.network(options.folder / "sd15-random.safetensors", make.models.FULL_SIZE)
    unet = unet.half().cuda().to(memory_format=torch.channels_last)
    inputs = {name: value.cuda() for name, value in load_file(options.folder / f"step-{options.size}.safetensors").items()}
    latents = inputs["latents.f16"].to(memory_format=torch.channels_last)
    context, timestep = inputs["context.f16"], inputs["timestep"]

    def guided(network):
        eps = network(latents, timestep, encoder_hidden_states=context, return_dict=False)[0]
        return eps[1] + make.CFG * (eps[0] - eps[1])

    found = guided(unet)
    result = {"card": torch.cuda.get_device_name(), "error": make.models.relative(found.float(), inputs["guided"].reshape(found.shape))}
    result["eager_ms"] = milliseconds(lambda: guided(unet), options.rounds)
    compiled = torch.compile(unet, mode="max-autotune", fullgraph=True)
    result["compiled_ms"] = milliseconds(lambda: guided(compiled), options.rounds)
    result["peak_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
