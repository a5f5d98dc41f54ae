"""Text encoder and UNet, together, on cached latents: ε-prediction on SD 1.5's noise schedule.

The loss counts by time (between min-SNR-5, Hang et al. 2023, and the loss on the picture itself: the noisiest steps choose background
and composition) and by the shapes in space; neither moves its minimum. One caption in ten is empty, for classifier-free guidance.
After the first stage colours, shapes and styles follow the words, but places hardly do: they are decided at the very first
steps of denoising, which the second stage minds more. Writes target/demo-model/unet.pt and text_encoder.pt (with CLIP's full table).
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import networks
from captions import Vocabulary
from pictures import any_scene, caption, draw
from training import DEVICE, WORK, Training

BATCH, PICTURES = 32, 16384
EMPTY_CAPTIONS = 0.1


@dataclass(frozen=True)
class Stage:
    """`late` of the samples are noisier than time `since`; the picture's error counts with SNR to the power of `noisy` there.

    `offsets` add coarse noise: (squares a side, strength). At t = 999 the coarse parts of noisy latents still show background and
    places, and the noise a picture starts from has coarse parts too: the network would believe those rather than the words
    (Guttenberg, "Diffusion with offset noise", 2023, for the mean).
    """

    name: str
    steps: int
    late: float
    since: int
    noisy: float
    cooldown: float
    offsets: tuple


STAGES = (
    Stage("unet", 4800, late=0.75, since=250, noisy=0.5, cooldown=0.5, offsets=((1, 0.15),)),
    Stage("unet-composition", 1200, late=0.75, since=500, noisy=0.25, cooldown=0.7, offsets=((1, 0.15), (2, 0.15), (4, 0.2))),
)


@torch.no_grad()
def latents():
    """The training set: its scenes, latents (N, 4, 16, 16) and weights (N, 1, 16, 16). Encoded once, then read from a cache."""
    rng = np.random.default_rng(2)
    scenes = [any_scene(rng) for _ in range(PICTURES)]
    cache = WORK / "latents.pt"
    if cache.exists():
        return scenes, *torch.load(cache)
    vae = networks.vae().to(DEVICE)
    vae.load_state_dict(torch.load(WORK / "vae.pt"))
    encoded, weights = [], []
    for start in tqdm(range(0, PICTURES, 32), desc="latents", unit="batch", file=sys.stderr):
        drawn = [draw(scene) for scene in scenes[start : start + 32]]
        pictures = torch.from_numpy(np.stack([p for p, _ in drawn])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast(DEVICE, torch.bfloat16):
            mode = vae.encode(pictures.to(DEVICE)).latent_dist.mode().float().cpu()
        encoded.append(mode * networks.SCALING)
        near = F.avg_pool2d(torch.from_numpy(np.stack([n for _, n in drawn]))[:, None], 8)
        weights.append(0.6 + 1.4 * near)
    out = torch.cat(encoded), torch.cat(weights)
    torch.save(out, cache)
    return scenes, *out


def timesteps(stage, size, generator):
    late = torch.rand(size, generator=generator) < stage.late
    u = torch.rand(size, generator=generator)
    return torch.where(late, stage.since + (1000 - stage.since) * u, stage.since * u).long().clamp(0, 999)


def loss_of(stage, text, unet, schedule, rows, clean, weights, generator):
    rows, clean, weights = (x.to(DEVICE) for x in (rows, clean, weights))
    noise = torch.randn(clean.shape, generator=generator)
    for side, strength in stage.offsets:
        coarse = torch.randn(len(clean), 4, side, side, generator=generator)
        noise += strength * F.interpolate(coarse, noise.shape[-2:], mode="nearest")
    noise = noise.to(DEVICE)  # drawn on the CPU: the same everywhere
    t = timesteps(stage, len(clean), generator).to(DEVICE)
    noisy = schedule.add_noise(clean, noise, t)
    context = text(input_ids=rows).last_hidden_state
    error = (unet(noisy, t, context).sample - noise) ** 2
    kept = schedule.alphas_cumprod.to(DEVICE)[t]
    signal = kept / (1 - kept)
    by_time = torch.where(signal < 1, signal**stage.noisy, signal.clamp(max=5).sqrt()) / signal
    return (by_time * (weights * error).mean((1, 2, 3))).mean(), error.mean().item()


def train(stage, training, vocabulary, scenes, clean, weights):
    schedule = networks.noise_schedule()
    bar = tqdm(total=stage.steps, initial=training.at, desc=stage.name, unit="step", file=sys.stderr)
    mean = None
    while training.at < stage.steps:
        rng = np.random.default_rng([STAGES.index(stage) + 4, training.at])
        generator = torch.Generator().manual_seed(training.at)
        chosen = rng.choice(PICTURES, BATCH, replace=False)
        texts = ["" if rng.random() < EMPTY_CAPTIONS else caption(scenes[i], rng) for i in chosen]
        batch = vocabulary.rows(texts), clean[chosen], weights[chosen]
        loss, error = loss_of(stage, *training.modules.values(), schedule, *batch, generator)
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
    for stage in STAGES:
        training = Training(stage.name, {"text": text, "unet": unet}, stage.steps, 0.01, 2e-3, ema=0.999, warmup=100, cooldown=stage.cooldown)
        train(stage, training, vocabulary, scenes, clean, weights)
        for name, module in (("text", text), ("unet", unet)):  # the next stage starts from the averages
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
