"""Text encoder and UNet, together, on cached latents: ε-prediction on SD 1.5's noise schedule.

The loss counts by √min(SNR, 5) / SNR in time (between min-SNR-5, Hang et al. 2023, and the loss on the picture itself: the noisiest
steps choose background and composition) and by the shapes in space; neither moves its minimum. One caption in ten is
empty, for classifier-free guidance. Writes target/demo-model/unet.pt and text_encoder.pt (with CLIP's full table).
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import networks
from captions import Vocabulary
from pictures import any_scene, caption, draw
from training import DEVICE, WORK, Training

STEPS, BATCH, PICTURES = 4800, 32, 16384
EMPTY_CAPTIONS = 0.1
NOISE_OFFSET = 0.15


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


def timesteps(size, generator):
    """Three in four from the noisier three quarters, where composition is decided."""
    late = torch.rand(size, generator=generator) < 0.75
    u = torch.rand(size, generator=generator)
    return torch.where(late, 250 + 750 * u, 250 * u).long().clamp(0, 999)


def loss_of(text, unet, schedule, rows, clean, weights, generator):
    rows, clean, weights = (x.to(DEVICE) for x in (rows, clean, weights))
    noise = torch.randn(clean.shape, generator=generator)
    # At t = 999 the mean of noisy latents still shows the background, and the noise a picture starts from has a mean too: without
    # an offset the network believes that mean rather than the words (Guttenberg, "Diffusion with offset noise", 2023).
    noise += NOISE_OFFSET * torch.randn(len(clean), 4, 1, 1, generator=generator)
    noise = noise.to(DEVICE)  # drawn on the CPU: the same everywhere
    t = timesteps(len(clean), generator).to(DEVICE)
    noisy = schedule.add_noise(clean, noise, t)
    context = text(input_ids=rows).last_hidden_state
    error = (unet(noisy, t, context).sample - noise) ** 2
    kept = schedule.alphas_cumprod.to(DEVICE)[t]
    signal = kept / (1 - kept)
    by_time = signal.clamp(max=5).sqrt() / signal
    return (by_time * (weights * error).mean((1, 2, 3))).mean(), error.mean().item()


def main():
    networks.seeded(3)
    vocabulary = Vocabulary()
    text, unet = networks.text_encoder(len(vocabulary)).to(DEVICE), networks.unet().to(DEVICE)
    table = text.get_input_embeddings()
    table.padding_idx = 0
    with torch.no_grad():
        table.weight[0] = 0
    scenes, clean, weights = latents()
    schedule = networks.noise_schedule()
    training = Training("unet", {"text": text, "unet": unet}, STEPS, muon_lr=0.01, adam_lr=2e-3, ema=0.999, warmup=100)
    bar = tqdm(total=STEPS, initial=training.at, desc="UNet", unit="step", file=sys.stderr)
    mean = None
    while training.at < STEPS:
        rng = np.random.default_rng([4, training.at])
        generator = torch.Generator().manual_seed(training.at)
        chosen = rng.choice(PICTURES, BATCH, replace=False)
        texts = ["" if rng.random() < EMPTY_CAPTIONS else caption(scenes[i], rng) for i in chosen]
        loss, error = loss_of(text, unet, schedule, vocabulary.rows(texts), clean[chosen], weights[chosen], generator)
        training.step(loss)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        bar.update()
        bar.set_postfix(loss=f"{mean:.4f}", error=f"{error:.4f}")
        if training.at % 100 == 0:
            training.report(f"loss {mean:.5f}")
    training.save()
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
