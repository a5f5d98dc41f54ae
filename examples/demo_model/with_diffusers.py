#!/usr/bin/env python3
"""The pictures of `demo_model generate`, made by diffusers from the same files, under the same names.

    python examples/demo_model/with_diffusers.py --model target/demo-model/shapes.safetensors \
        --embeddings www/demo/embeddings --set attributes --out target/demo-model/diffusers
    cargo run --release --example demo_model -- read target/demo-model/pictures --against target/demo-model/diffusers

The checkpoint goes through diffusers' own converters into its own classes, embeddings become rows behind the token table, and
EulerDiscreteScheduler goes down ComfyUI's `normal` noise levels. The noise is torch's.
"""

import argparse
import base64
import json
import pathlib
import sys

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.loaders import single_file_utils as single_file
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

import networks
from captions import tokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "golden"))
from make_models import normal_schedule, table_of_sigmas  # noqa: E402  (the schedule that the tests' fixtures have)

SETS = ("attributes", "negative", "short", "short-negative", "concepts", "concepts-missing", "concepts-without")
SIDE, BATCH = 128, 16


# --------------------------------------------------------------------------------------------- the files


def load_checkpoint(path):
    """The three networks in single precision, by diffusers' converters."""
    tensors = {name: value.float() for name, value in load_file(path).items()}
    unet, vae, text = networks.unet(), networks.vae(), networks.text_encoder()
    prefix = "cond_stage_model.transformer."
    unet.load_state_dict(single_file.convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config)))
    vae.load_state_dict(single_file.convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config)))
    found = single_file.convert_ldm_clip_checkpoint(dict(tensors), remove_prefix=prefix)
    bare = {name.removeprefix("text_model."): value for name, value in found.items() if not name.endswith("position_ids")}
    # transformers 5 dropped the prefix that checkpoints and older versions have.
    names = {name.removeprefix("text_model."): name for name in text.state_dict() if not name.endswith("position_ids")}
    text.load_state_dict({names[name]: value for name, value in bare.items()}, strict=False)
    assert bare.keys() == names.keys(), bare.keys() ^ names.keys()
    return unet.eval(), vae.eval(), text.eval()


def load_embedding(path):
    """The vectors (n, width) of an embedding in one of the four formats that the demo comes in."""
    if path.suffix == ".safetensors":
        return load_file(path)["emb_params"].float()
    if path.suffix == ".pt":
        return next(iter(torch.load(path)["string_to_param"].values())).detach().float()
    if path.suffix == ".bin":
        return next(iter(torch.load(path).values())).detach().float().reshape(-1, networks.TEXT_WIDTH)
    text = Image.open(path).text  # .png
    value = json.loads(base64.b64decode(text["sd-ti-embedding"]))
    param = value["string_to_param"]["*"]
    return torch.tensor(param["TORCHTENSOR"] if isinstance(param, dict) else param).float()


def add_embeddings(text, folder):
    """Adds rows to the token table; returns their ids by the embeddings' names."""
    ids, rows = {}, [text.get_input_embeddings().weight.data]
    for path in sorted(folder.iterdir()) if folder else []:
        if path.suffix in (".safetensors", ".pt", ".bin", ".png"):
            vectors = load_embedding(path)
            first = sum(map(len, rows))
            ids[path.stem] = list(range(first, first + len(vectors)))
            rows.append(vectors)
            print(f"embedding:{path.stem} ({len(vectors)} vectors)", file=sys.stderr)
    text.set_input_embeddings(torch.nn.Embedding.from_pretrained(torch.cat(rows)))
    return ids


# ------------------------------------------------------------------------------------------- the pictures


def ids_of(prompt, tokens, embeddings):
    """The ids of a prompt; a name of no embedding says nothing, as in ComfyUI."""
    ids = [networks.START]
    plain = []

    def say():
        ids.extend(tokens(" ".join(plain), add_special_tokens=False)["input_ids"] if plain else [])
        plain.clear()

    for word in prompt.split():
        name = word.removeprefix("embedding:")
        if name != word:
            say()
            ids.extend(embeddings.get(name, []))
        else:
            plain.append(word)
    say()
    assert len(ids) < networks.TEXT_TOKENS, prompt
    return ids + [networks.END] * (networks.TEXT_TOKENS - len(ids))


def scheduler_for(steps):
    """diffusers' Euler on ComfyUI's noise levels, and what the first noise is multiplied with."""
    scheduler = EulerDiscreteScheduler.from_config(networks.noise_schedule().config)
    scheduler.set_timesteps(sigmas=normal_schedule(steps).tolist())
    return scheduler, (scheduler.sigmas[0] ** 2 + 1).sqrt()


LOGS = table_of_sigmas().log()


def nearest_time(sigma):
    """ComfyUI tells the network whole time steps, the nearest in log σ."""
    return (sigma.log() - LOGS).abs().argmin()


@torch.no_grad()
def make(parts, negative, prompts, seeds, steps, cfg):
    """RGB (N, SIDE, SIDE, 3) from the ids of a negative prompt and of N prompts."""
    unet, vae, text = parts
    context = text(input_ids=torch.tensor([negative] * len(prompts) + prompts)).last_hidden_state
    scheduler, scale = scheduler_for(steps)
    noise = lambda seed: torch.randn([1, 4, SIDE // 8, SIDE // 8], generator=torch.Generator().manual_seed(seed))
    x = torch.cat([noise(seed) for seed in seeds]) * scale
    for sigma, t in zip(scheduler.sigmas, scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t)
        found = unet(torch.cat([scaled, scaled]), nearest_time(sigma), encoder_hidden_states=context).sample
        without, prompted = found.chunk(2)
        x = scheduler.step(without + cfg * (prompted - without), t, x).prev_sample
    levels = ((vae.decode(x / networks.SCALING).sample + 1) / 2).clamp(0, 1) * 255
    return levels.permute(0, 2, 3, 1).numpy().astype(np.uint8)


def jobs(prompts, chosen):
    """[(file, prompt, seed)], as `Prompts::jobs` of scores.rs."""
    if not chosen.startswith("concepts"):
        return [(f"{chosen}-{i:03}.png", p["prompt"], p["seed"]) for i, p in enumerate(prompts["short" if chosen.startswith("short") else "attributes"])]
    out = []
    for concept in prompts["concepts"]:
        for i, p in enumerate(concept["prompts"]):
            text = p["without"] if chosen == "concepts-without" else p["prompt"].replace("{}", "embedding:" + concept["name"])
            out.append((f"{chosen}-{concept['name']}-{i:02}.png", text, p["seed"]))
    return out


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--model", type=pathlib.Path, required=True)
    args.add_argument("--embeddings", type=pathlib.Path)
    args.add_argument("--prompts", type=pathlib.Path, default=HERE / "prompts.json")
    args.add_argument("--set", choices=SETS, required=True)
    args.add_argument("--out", type=pathlib.Path, required=True)
    args.add_argument("--steps", type=int, default=20)
    args.add_argument("--cfg", type=float, default=2)
    args.add_argument("--limit", type=int)
    args.add_argument("--negative")
    args = args.parse_args()
    torch.set_num_threads(2)
    prompts = json.loads(args.prompts.read_text())
    parts, tokens = load_checkpoint(args.model), tokenizer()
    embeddings = add_embeddings(parts[2], None if args.set == "concepts-missing" else args.embeddings)
    negative = args.negative if args.negative is not None else prompts["negative"] if args.set.endswith("negative") else ""
    args.out.mkdir(parents=True, exist_ok=True)
    every = jobs(prompts, args.set)
    limit = min(args.limit or len(every), len(every))
    chosen = [every[n * len(every) // limit] for n in range(limit)]
    for start in tqdm(range(0, limit, BATCH), desc=args.set, unit="batch", file=sys.stderr):
        files, texts, seeds = zip(*chosen[start : start + BATCH])
        ids = [ids_of(text, tokens, embeddings) for text in texts]
        pictures = make(parts, ids_of(negative, tokens, embeddings), ids, seeds, args.steps, args.cfg)
        for file, picture in zip(files, pictures):
            Image.fromarray(picture).save(args.out / file)


if __name__ == "__main__":
    main()
