#!/usr/bin/env python3
"""What diffusers' networks and other people's samplers make of a small checkpoint, for tests/trajectories.rs.

    python tests/golden/make_trajectories.py      # writes tests/golden/trajectories/ (committed)

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.24.0, safetensors 0.8.0, k-diffusion 0.1.1.post1, torchsde 0.2.6, numpy
2.4.6, on one thread, in f32. The checkpoint is `two_levels` of make_models.py; its VAE's encoder, which the committed file lacks,
and conv_in of an inpainting UNet and cond_proj of a distilled one are written here. Samplers: k-diffusion's functions and
diffusers' schedulers (make_samplers.py says how each is brought to ComfyUI's noise levels); DEIS, which is no package, by numpy.

Around them stands what the tools do, as facts (spec/product.md): ComfyUI tells the network whole time steps; guidance acts on the
denoised latents; in inpainting ComfyUI shows the network the picture under the first noise where it is kept and puts the picture back
afterwards, A1111 only the latter; the levels of a denoise below 1 are the end of a longer schedule.
"""

import pathlib
import sys

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "samplers"))
import make_masks as masks  # noqa: E402
import make_models as M  # noqa: E402
import make_samplers as S  # noqa: E402

K = S.K
STEPS, CFG, SEED = 8, 3.0, 1234
SIZES = ((8, 8), (12, 8), (9, 16))  # latents' height and width
SIGMAS = torch.from_numpy(S.TABLE)
GENERATOR = lambda seed: torch.Generator().manual_seed(seed)


def zero_terminal_sigmas():
    """diffusers' rescaling (Lin et al., algorithm 1); the last ᾱ as in ComfyUI, which keeps σ finite."""
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    alphas = torch.cumprod(1 - rescale_zero_terminal_snr(torch.from_numpy(S.BETAS)), 0)
    alphas[-1] = 4.897345e-8
    return ((1 - alphas) / alphas).sqrt().float()


class Network:
    """x and σ → denoised x, after guidance."""

    def __init__(self, unet, prompts, table=SIGMAS, prediction="epsilon", condition=None, keep=None, fractional=False):
        self.unet, self.prompts, self.table, self.prediction = unet, prompts, table, prediction
        self.fractional = fractional  # A1111 tells the network time steps between two
        self.condition = condition  # (1, 5, h, w) for an inpainting UNet
        self.keep = keep  # (picture's latents, noise, mask before, mask after)

    def output(self, seen, t, context):
        given = seen if self.condition is None else torch.cat([seen, self.condition], 1)
        return self.unet(given, t, encoder_hidden_states=context).sample

    def time(self, sigma):
        if self.fractional:
            return torch.tensor(np.interp(float(sigma.log()), self.table.log().numpy(), np.arange(1000.0)), dtype=torch.float32)
        return (sigma.log() - self.table.log()).abs().argmin()

    @torch.no_grad()
    def __call__(self, x, sigma, **_):
        sigma = torch.as_tensor(sigma, dtype=torch.float32).flatten()[0]
        if self.keep:
            picture, noise, before, _ = self.keep
            x = x * before + (picture + sigma * noise) * (1 - before)
        t = self.time(sigma)
        root = (sigma**2 + 1).sqrt()
        cond, uncond = (self.output(x / root, t, context) for context in self.prompts)
        out = uncond + CFG * (cond - uncond)
        denoised = x - sigma * out if self.prediction == "epsilon" else x / root**2 - sigma / root * out
        if self.keep:
            denoised = denoised * self.keep[3] + self.keep[0] * (1 - self.keep[3])
        return denoised


def karras(steps, table=SIGMAS):
    return K.get_sigmas_karras(steps, float(table[0]), float(table[-1]))


def by_k_diffusion(name, network, x, sigmas):
    """A sampler of k-diffusion with ComfyUI's noise: from the next seed, or the seed's Brownian path."""
    more = {"solver_type": "heun"} if name.endswith("_heun") else {}
    if "sde" in name:
        more["noise_sampler"] = K.BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seed=SEED)
    elif "ancestral" in name:
        generator = GENERATOR(SEED + 1)
        more["noise_sampler"] = lambda *_: torch.randn(x.shape, generator=generator)
    return getattr(K, "sample_" + name.removesuffix("_heun"))(network, x, sigmas, disable=True, **more)


def unit(x, sigma):
    return x / (1 + sigma**2) ** 0.5


def slope(network, x, sigma):
    return (x - network(x, sigma)) / sigma


def by_uni_pc(name, network, x, sigmas):
    kind = "bh2" if name.endswith("bh2") else "bh1"
    s = diffusers.UniPCMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                          solver_order=3, solver_type=kind, lower_order_final=True)
    s.set_timesteps(len(sigmas) - 1)
    s.timesteps = torch.arange(len(sigmas) - 1)
    reached = np.append(sigmas.double().numpy()[:-1], 0.001)
    s.sigmas = torch.from_numpy(reached)
    s.set_begin_index(0)
    x = unit(x.double(), float(sigmas[0]))
    for i in range(len(sigmas) - 1):
        eps = slope(network, (x * (1 + reached[i] ** 2) ** 0.5).float(), sigmas[i])
        x = s.step(eps.double(), s.timesteps[i], x).prev_sample
    return (x * (1 + 0.001**2) ** 0.5).float()


def by_ipndm(name, network, x, sigmas):
    s = diffusers.IPNDMScheduler()
    s.set_timesteps(len(sigmas) - 1)
    s.timesteps = torch.arange(len(sigmas) - 1)
    s.alphas, s.betas = torch.ones(len(sigmas)), sigmas
    s.set_begin_index(0)
    for i in range(len(sigmas) - 1):
        denoised = network(x, sigmas[i])
        d = (x - denoised) / sigmas[i]
        x = s.step(d - x * sigmas[i], s.timesteps[i], x).prev_sample
    return denoised  # diff-sampler and ComfyUI end with the network's output


def vp_time():
    """DEIS' time: of a variance-preserving diffusion with linear β (Song et al. 2021) whose σ is 0.002 at 0.001 and 80 at 1. The
    levels are squared in f32, as in diff-sampler."""
    log = lambda sigma: float(torch.log(torch.tensor(sigma) ** 2 + 1))
    slope = 2 * (log(0.002) / 1e-3 - log(80.0)) / (1e-3 - 1)
    start = log(80.0) - 0.5 * slope
    time = lambda sigma: (np.sqrt(start**2 + 2 * slope * np.log(sigma**2 + 1)) - start) / slope
    level = lambda t: np.sqrt(np.expm1(0.5 * slope * t**2 + start * t))
    return time, level


def by_deis(name, network, x, sigmas):
    """Zhang and Chen 2023, tAB-DEIS: the slopes' polynomial in time through up to three levels, integrated over σ; Euler first and
    last."""
    levels, slopes = sigmas.double().numpy(), []
    time, level = vp_time()
    for i in range(len(levels) - 1):
        slopes.insert(0, slope(network, x, sigmas[i]))
        if i == 0 or levels[i + 1] == 0:
            x = x + float(levels[i + 1] - levels[i]) * slopes[0]
            continue
        known = time(levels[max(0, i - 2) : i + 1][::-1])
        t = np.linspace(known[0], time(levels[i + 1]), 20001)
        for j in range(len(known)):
            others = np.delete(known, j)
            basis = np.prod([(t - s) / (known[j] - s) for s in others], axis=0)
            x = x + float(np.trapezoid(basis, level(t))) * slopes[j]
    return x


def by_lcm(name, network, x, sigmas):
    """k-diffusion has none; Luo et al. 2023, algorithm 3, as ComfyUI has it: the network's output under new noise."""
    generator = GENERATOR(SEED + 1)
    for i in range(len(sigmas) - 1):
        x = network(x, sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * torch.randn(x.shape, generator=generator)
    return x


SAMPLERS = {
    **{name: by_k_diffusion for name in (
        "euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m",
        "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde")},
    "uni_pc": by_uni_pc, "uni_pc_bh2": by_uni_pc, "ipndm": by_ipndm, "deis": by_deis, "lcm": by_lcm,
}
# ComfyUI leaves out the last level but one of these.
DISCARD = ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")


def levels_for(name, steps):
    if name not in DISCARD:
        return karras(steps)
    sigmas = karras(steps + 1)
    return torch.cat([sigmas[:-2], sigmas[-1:]])


def by_own_times(name, network, noise):
    """A1111's DDIM and PLMS: diffusers' schedulers at time steps 1, 1 + ⌊1000/steps⌋, …, on latents of unit variance; A1111 leaves
    out the evaluation at the last of them."""
    kind = diffusers.PNDMScheduler if name == "plms" else diffusers.DDIMScheduler
    more = {"skip_prk_steps": True} if name == "plms" else {"clip_sample": False}
    s = kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False, **more)
    s.alphas_cumprod = 1 / (SIGMAS.double() ** 2 + 1)  # diffusers multiplies them up in f32
    s.final_alpha_cumprod = s.alphas_cumprod[0]
    s.set_timesteps(STEPS)
    x = noise
    for t in s.timesteps[:-1]:
        cond, uncond = (network.output(x, t, context) for context in network.prompts)
        x = s.step(uncond + CFG * (cond - uncond), t, x, **({} if name == "plms" else {"eta": 0.0})).prev_sample
    return x


def encode(vae, rgb):
    return vae.encode(rgb.permute(2, 0, 1)[None].float() / 127.5 - 1).latent_dist.mode()


@torch.no_grad()
def main():
    config = M.MODELS["two_levels"]
    whole = M.checkpoint(config)
    for name, value in load_file(HERE / "models" / "two_levels.safetensors").items():
        assert torch.equal(whole[name], value), f"{name}: make_models.py draws other numbers here than in the committed file"
    parts = M.load(config, whole)
    unet, vae = parts["unet"], parts["vae"]
    known = load_file(HERE / "models" / "two_levels.euler.safetensors")
    prompts = known["conditioning"], known["uncond"]
    out = {}

    def noise(h, w, seed=SEED):
        return torch.randn([1, 4, h, w], generator=GENERATOR(seed))

    # 1. Every sampler at three sizes.
    network = Network(unet, prompts)
    for h, w in SIZES:
        for name, by in SAMPLERS.items():
            sigmas = levels_for(name, STEPS)
            out[f"sampler.{name}.{h}x{w}"] = by(name, network, noise(h, w) * (1 + sigmas[0] ** 2).sqrt(), sigmas)
        for name in ("ddim", "plms"):
            out[f"a1111.{name}.{h}x{w}"] = by_own_times(name, network, noise(h, w))

    # 2. v-prediction, and noise levels that end in noise alone.
    for name, table in (("v", SIGMAS), ("v.zero", zero_terminal_sigmas())):
        network = Network(unet, prompts, table, "v")
        sigmas = karras(STEPS, table)
        out[f"prediction.{name}"] = by_k_diffusion("euler", network, noise(8, 8) * (1 + sigmas[0] ** 2).sqrt(), sigmas)

    # 3. Pictures to start from.
    for h, w in SIZES[:2]:
        rgb, mask = masks.pictures(h, 8 * h, 8 * w)
        moments = encode(vae, rgb)
        out |= {f"rgb.{h}x{w}": rgb, f"mask.{h}x{w}": mask, f"encoded.{h}x{w}": moments}
        latents = moments * 0.18215
        between = F.interpolate(mask[None, None], (h, w), mode="bilinear")
        for denoise in (1.0, 0.6):
            sigmas = karras(int(STEPS / denoise))[-(STEPS + 1) :]
            scale = (1 + sigmas[0] ** 2).sqrt() if denoise == 1 else sigmas[0]
            first = latents + noise(h, w) * scale
            keep = latents, noise(h, w), between, between
            for name in ("euler", "dpmpp_2m", "euler_ancestral"):
                out[f"img2img.{name}.{denoise}.{h}x{w}"] = by_k_diffusion(name, Network(unet, prompts), first, sigmas)
                out[f"inpaint.{name}.{denoise}.{h}x{w}"] = by_k_diffusion(name, Network(unet, prompts, keep=keep), first, sigmas)
        # A1111 runs denoise · steps of the schedule, and one more.
        sigmas = karras(STEPS)[STEPS - int(0.6 * STEPS) - 1 :]
        hard = masks.black_and_white(mask)
        for content, sigma in (("original", 0), ("fill", 4), ("latent noise", 4), ("latent nothing", 0)):
            blurred = masks.blurred(hard, sigma) if sigma else hard
            inside = masks.shrunk(blurred)
            under = moments if content == "original" else encode(vae, masks.filled(rgb, blurred))
            under = under * 0.18215
            if content.startswith("latent"):
                under = under * (1 - inside) + noise(h, w) * inside * (content == "latent noise")
            network = Network(unet, prompts, keep=(under, noise(h, w), torch.ones(1), inside), fractional=True)
            x = by_k_diffusion("dpmpp_2m", network, under + noise(h, w) * sigmas[0], sigmas)
            out[f"a1111.inpaint.{content}.{h}x{w}"] = x * inside + under * (1 - inside)
        # ComfyUI's VAEEncodeForInpaint.
        gray = encode(vae, torch.where(mask[..., None].round() == 1, 127.5, rgb.float())) * 0.18215
        wider = F.interpolate(masks.grown(mask)[None, None], (h, w), mode="bilinear")
        sigmas = karras(STEPS)
        network = Network(unet, prompts, keep=(gray, noise(h, w), wider, wider))
        first = gray + noise(h, w) * (1 + sigmas[0] ** 2).sqrt()
        out[f"inpaint.gray.{h}x{w}"] = by_k_diffusion("euler", network, first, sigmas)

    # 4. A UNet for inpainting: two_levels with another conv_in.
    shape = unet.conv_in.weight.shape
    wide = (torch.randn(shape[0], 9, *shape[2:], generator=GENERATOR(99)) * (9 * 9) ** -0.5).bfloat16().half()
    painter = UNet2DConditionModel.from_config({**unet.config, "in_channels": 9}).eval()
    painter.load_state_dict({**unet.state_dict(), "conv_in.weight": wide.float()})
    h, w = SIZES[1]
    rgb, mask = masks.pictures(h, 8 * h, 8 * w)
    hard = F.interpolate(mask[None, None], (h, w), mode="bilinear")
    masked = rgb.permute(2, 0, 1)[None].float() / 127.5 - 1
    latents = vae.encode(masked).latent_dist.mode() * 0.18215
    masked = vae.encode(masked * (mask < 0.5)).latent_dist.mode() * 0.18215
    sigmas = karras(STEPS)
    network = Network(painter, prompts, condition=torch.cat([hard.round(), masked], 1), keep=(latents, noise(h, w), hard, hard))
    out["painter.inpaint"] = by_k_diffusion("euler", network, latents + noise(h, w) * (1 + sigmas[0] ** 2).sqrt(), sigmas)
    gray = vae.encode(torch.zeros(1, 3, 8 * h, 8 * w)).latent_dist.mode() * 0.18215
    network = Network(painter, prompts, condition=torch.cat([torch.ones(1, 1, h, w), gray], 1))
    out["painter.alone"] = by_k_diffusion("euler", network, noise(h, w) * (1 + sigmas[0] ** 2).sqrt(), sigmas)

    # 5. A UNet that has guidance built in (Luo et al. 2023), as diffusers' latent consistency pipeline asks it: once.
    cond_proj = (torch.randn(shape[0], 256, generator=GENERATOR(100)) / 16).bfloat16().half()
    distilled = UNet2DConditionModel.from_config(unet.config, time_cond_proj_dim=256).eval()
    distilled.load_state_dict({**unet.state_dict(), "time_embedding.cond_proj.weight": cond_proj.float()})
    for cfg in (1.0, 8.5):
        told = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.tensor([cfg - 1]), embedding_dim=256)
        ask = lambda x, t, encoder_hidden_states: distilled(x, t, timestep_cond=told, encoder_hidden_states=encoder_hidden_states)
        out[f"distilled.{cfg}"] = by_lcm("lcm", Network(ask, prompts[:1] * 2), noise(8, 8) * (1 + sigmas[0] ** 2).sqrt(), sigmas)

    folder = HERE / "trajectories"
    folder.mkdir(exist_ok=True)
    for name, value in out.items():
        assert torch.isfinite(value.float()).all(), name
    save_file({name: value.contiguous() for name, value in out.items()}, folder / "trajectories.safetensors")
    encoder = {k: v for k, v in whole.items() if k.startswith(("first_stage_model.encoder.", "first_stage_model.quant_conv."))}
    more = {"model.diffusion_model.input_blocks.0.0.weight": wide, "model.diffusion_model.time_embed.cond_proj.weight": cond_proj}
    save_file({**encoder, **more}, folder / "two_levels.more.safetensors")
    print(f"{len(out)} tensors, std {float(out['sampler.euler.8x8'].std()):.2f}")


if __name__ == "__main__":
    main()
