"""The VAE: weighted L1 and L2 of the picture, and a little KL so that latents are smooth. No perceptual or adversarial loss.

Writes target/demo-model/vae.pt, whose latents have mean 0 and deviation `networks.DEVIATION` after the multiplication with 0.18215.
"""

import sys

import numpy as np
import torch
from tqdm import tqdm

import networks
from pictures import any_scene, draw
from training import DEVICE, WORK, Training, mixed_precision

STEPS, BATCH, KL = 1300, 8, 2e-4
CROPPED, CROP = 1050, 64  # so many steps see only a part of each picture, at a quarter of the cost


def batch(step, size=BATCH):
    """Pictures (B, 3, 128, 128) in -1…1 and weights (B, 1, 128, 128): the small foreground counts for more. Seeded by the step."""
    rng = np.random.default_rng([1, step])
    scenes = [any_scene(rng) for _ in range(size)]
    drawn = [draw(scene) for scene in scenes]
    if step < CROPPED:
        drawn = [cropped(scene, *pair, rng) for scene, pair in zip(scenes, drawn)]
    pictures = torch.from_numpy(np.stack([p for p, _ in drawn])).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    near = torch.from_numpy(np.stack([n for _, n in drawn]))[:, None]
    return pictures.contiguous().to(DEVICE), (0.5 + 2 * near).to(DEVICE)


def cropped(scene, picture, near, rng):
    """A part around a point of a shape, on the grid of latent pixels."""
    x, y, r = scene.objects[rng.integers(len(scene.objects))]
    corner = lambda middle: int(np.clip(round((middle + rng.uniform(-r, r) - CROP / 2) / 8) * 8, 0, 128 - CROP))
    top, left = corner(y), corner(x)
    return picture[top : top + CROP, left : left + CROP], near[top : top + CROP, left : left + CROP]


def loss_of(vae, pictures, weights):
    with mixed_precision():
        posterior = vae.encode(pictures).latent_dist
        decoded = vae.decode(posterior.sample()).sample.float()
    d = decoded - pictures
    reconstruction = (weights * (d.abs() + 2 * d * d)).mean()
    kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    return reconstruction + KL * kl, kl


@torch.no_grad()
def psnr(vae):
    pictures, _ = batch(10**9, 32)
    decoded = vae.decode(vae.encode(pictures).latent_dist.mode()).sample.clamp(-1, 1)
    mse = ((decoded - pictures) / 2).pow(2).mean((1, 2, 3))
    return (-10 * torch.log10(mse)).mean().item()


@torch.no_grad()
def whiten(vae):
    """Folds mean and deviation of the latents into the two 1×1 convolutions, so that 0.18215 gives `networks.DEVIATION`."""
    latents = torch.cat([vae.encode(batch(2 * 10**9 + i, 32)[0]).latent_dist.mode() for i in range(12)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    scale = networks.DEVIATION / (networks.SCALING * deviation)
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
    vae.post_quant_conv.weight /= scale[None, :, None, None]
    vae.quant_conv.weight[:4] *= scale[:, None, None, None]
    vae.quant_conv.bias[:4] = (vae.quant_conv.bias[:4] - mean) * scale
    vae.quant_conv.bias[4:] += 2 * torch.log(scale)  # the log-variance


def main():
    networks.seeded(1)
    vae = networks.vae().to(DEVICE)
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -5.0  # start with little noise
    training = Training("vae", {"vae": vae}, STEPS, muon_lr=0.01, adam_lr=2e-3)
    bar = tqdm(total=STEPS, initial=training.at, desc="VAE", unit="step", file=sys.stderr)
    while training.at < STEPS:
        torch.manual_seed(training.at)
        loss, kl = loss_of(vae, *batch(training.at))
        training.step(loss)
        bar.update()
        bar.set_postfix(loss=f"{loss.item():.4f}", kl=f"{kl.item():.2f}")
        if training.at % 100 == 0:
            training.report(f"loss {loss.item():.4f}, KL {kl.item():.3f}, held-out PSNR {psnr(training.ema['vae']):.2f} dB")
    training.save()
    whiten(training.ema["vae"])
    torch.save(training.ema["vae"].state_dict(), WORK / "vae.pt")
    training.report(f"done, PSNR {psnr(training.ema['vae']):.2f} dB, {networks.parameters(vae)} parameters")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
