"""Text encoder and UNet, together, on cached latents: ε-prediction on SD 1.5's noise schedule.

The loss counts by time (between the loss on the noise and the loss on the picture itself: the noisiest steps choose background, places
and counts, and their errors of ε are small) and by the shapes in space; neither moves its minimum. One caption in ten is empty, for
classifier-free guidance. Writes target/demo-model/unet.pt and text_encoder.pt (with CLIP's full table).
"""

import shutil
import sys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import attention
import networks
from captions import Vocabulary
from pictures import any_scene, caption, draw
from training import DEVICE, HALF, WORK, Training, mixed_precision

BATCH = 32
EMPTY_CAPTIONS = 0.1
NOISY = 0.25  # the picture's error counts with the SNR to this power where there is more noise than picture


@dataclass(frozen=True)
class Stage:
    """A part of the training: of `BATCH` samples `starts` are where sampling starts, `early` are of the noisier half, the rest anywhere."""

    name: str
    steps: int
    pictures: int
    cooldown: float
    starts: int = 0
    early: int = 0
    rate: float = 1.0  # factor of the learning rates


# What is drawn, then where. In the first stage the networks find the places in what the schedule leaves of a picture, and do not ask
# the words; the second takes that away from them (`noisy`) and trains longest where places are decided; the third goes back to the details.
STAGES = (
    Stage("unet", steps=4400, pictures=10240, cooldown=0.6),
    Stage("unet-places", steps=3900, pictures=20480, cooldown=0.7, starts=4, early=14),
    Stage("unet-details", steps=2400, pictures=20480, cooldown=0.6, starts=2, early=4, rate=0.8),
)
COARSE = ((1, 0.15), (2, 0.15), (4, 0.2))  # cells a side, deviation
STARTS = 950  # the first t of a sampling's start


@torch.no_grad()
def latents():
    """The training set: its scenes, latents (N, 4, 16, 16) and weights (N, 1, 16, 16). Encoded once, then read from a cache."""
    rng = np.random.default_rng(2)
    scenes = [any_scene(rng) for _ in range(max(stage.pictures for stage in STAGES))]
    cache = WORK / "latents.pt"
    encoded, weights = ([part] for part in torch.load(cache)) if cache.exists() else ([], [])
    done = len(encoded[0]) if encoded else 0
    if done == len(scenes):
        return scenes, encoded[0], weights[0]
    vae = networks.vae().to(DEVICE)
    vae.load_state_dict(torch.load(WORK / "vae.pt"))
    for start in tqdm(range(done, len(scenes), 32), desc="latents", unit="batch", file=sys.stderr):
        drawn = [draw(scene) for scene in scenes[start : start + 32]]
        pictures = torch.from_numpy(np.stack([p for p, _ in drawn])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with mixed_precision():
            mode = vae.encode(pictures.to(DEVICE)).latent_dist.mode().float().cpu()
        encoded.append(mode * networks.SCALING)
        near = F.avg_pool2d(torch.from_numpy(np.stack([n for _, n in drawn]))[:, None], 8)
        weights.append(0.6 + 1.4 * near)
    out = torch.cat(encoded), torch.cat(weights)
    torch.save(out, cache)
    return scenes, *out


def noisy(stage, clean, schedule, generator):
    """Times, what the UNet is given, and the noise it is to find.

    Guidance by words begins with a picture of noise alone, and SD's schedule never shows one: at t = 999 a picture's coarsest parts
    can still be seen. So the `starts` are noise alone, with the answer that would lead to the picture; and in the `early` samples
    the noise has more of the coarse, which hides places as it hides hues in "offset noise" (Guttenberg 2023).
    """
    # Everything is drawn on the CPU: the same everywhere.
    noise = torch.randn(clean.shape, generator=generator)
    t = torch.randint(1000, (len(clean),), generator=generator)
    starts, hidden = slice(0, stage.starts), slice(stage.starts, stage.starts + stage.early)
    t[hidden] = torch.randint(500, 1000, t[hidden].shape, generator=generator)
    t[starts] = torch.randint(STARTS, 1000, t[starts].shape, generator=generator)
    for cells, deviation in COARSE if stage.early else ():
        coarse = torch.randn(*clean[hidden].shape[:2], cells, cells, generator=generator)
        noise[hidden] += deviation * F.interpolate(coarse, clean.shape[2:])
    given = schedule.add_noise(clean, noise, t)
    given[starts] = noise[starts]
    kept = schedule.alphas_cumprod[t[starts], None, None, None]
    noise[starts] = (given[starts] - kept.sqrt() * clean[starts]) / (1 - kept).sqrt()
    return t, given, noise


def loss_of(stage, text, unet, schedule, rows, clean, weights, generator):
    rows, weights, t, given, noise = (x.to(DEVICE) for x in (rows, weights, *noisy(stage, clean, schedule, generator)))
    with mixed_precision():
        context = text(input_ids=rows).last_hidden_state
        found = unet(given, t, context).sample.float()
    error = (found - noise) ** 2
    kept = schedule.alphas_cumprod.to(DEVICE)[t]
    signal = networks.DEVIATION**2 * kept / (1 - kept)
    by_time = torch.where(signal < 1, signal**NOISY, signal.clamp(max=5).sqrt()) / signal
    return (by_time * (weights * error).mean((1, 2, 3))).mean(), error.mean().item()


def compiled(unet):
    """The same network as one program: in bfloat16 a step takes 0.62 s instead of 0.83 on two cores. Making it takes four minutes and a
    C++ compiler; where there is none, or in single precision, which gains nothing, it is left as it is."""
    return torch.compile(unet) if DEVICE == "cuda" or (HALF and shutil.which("g++")) else unet


def train(stage, training, networks_in_use, vocabulary, scenes, clean, weights):
    schedule = networks.noise_schedule()
    bar = tqdm(total=stage.steps, initial=training.at, desc=stage.name, unit="step", file=sys.stderr)
    mean = None
    while training.at < stage.steps:
        rng = np.random.default_rng([4 + STAGES.index(stage), training.at])
        generator = torch.Generator().manual_seed(training.at)
        chosen = rng.choice(stage.pictures, BATCH, replace=False)
        texts = ["" if rng.random() < EMPTY_CAPTIONS else caption(scenes[i], rng) for i in chosen]
        batch = vocabulary.rows(texts), clean[chosen], weights[chosen]
        loss, error = loss_of(stage, *networks_in_use, schedule, *batch, generator)
        training.step(loss)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        bar.update()
        bar.set_postfix(loss=f"{mean:.4f}", error=f"{error:.4f}")
        if training.at % 100 == 0:
            training.report(f"loss {mean:.5f}")
    training.save()


def main():
    networks.seeded(3)
    vocabulary = Vocabulary()
    text, unet = networks.text_encoder(len(vocabulary)).to(DEVICE), networks.unet().to(DEVICE)
    table = text.get_input_embeddings()
    table.padding_idx = 0
    with torch.no_grad():
        table.weight[0] = 0
    scenes, clean, weights = latents()
    unet.set_attn_processor(attention.processor())
    unet.to(memory_format=torch.channels_last)
    in_use = text, compiled(unet)
    for stage in STAGES:
        training = Training(stage.name, {"text": text, "unet": unet}, stage.steps, 0.01 * stage.rate, 2e-3 * stage.rate,
                            ema=0.995 if stage.steps < 1000 else 0.998, warmup=50 if stage.steps < 1000 else 100, cooldown=stage.cooldown)
        train(stage, training, in_use, vocabulary, scenes, clean, weights)
        for name, module in training.modules.items():
            module.load_state_dict(training.ema[name].state_dict())
    torch.save(training.ema["unet"].state_dict(), WORK / "unet.pt")
    whole = networks.text_encoder()
    state = training.ema["text"].state_dict()
    name = next(n for n in state if n.endswith("token_embedding.weight"))
    state[name] = vocabulary.full_table(state[name].cpu())
    whole.load_state_dict(state)
    torch.save(whole.state_dict(), WORK / "text_encoder.pt")
    training.report(f"done; UNet {networks.parameters(unet)} parameters, text encoder without its table "
                    f"{networks.parameters(text) - table.weight.numel()}, {len(vocabulary)} rows in use")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
