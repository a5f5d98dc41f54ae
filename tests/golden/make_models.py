#!/usr/bin/env python3
"""Small random checkpoints of the SD 1.5 architecture, and what PyTorch and diffusers make of them.

    python tests/golden/make_models.py            # writes tests/golden/models/ (committed) and target/fixtures/ (not)

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.24.0, safetensors 0.8.0, on one thread. Seeded: a second run with
the same versions on the same kind of CPU writes the same bytes. What is in the files: `models/README.md`, `models/models.json`.

The networks are the libraries' own classes. Only the names are ours: `ldm_name` maps diffusers' names to those of a single-file
checkpoint, written from the original code's layout, and `check_names` sends them back through diffusers' converter.
"""

import json
import math
import pathlib
import struct
import sys

import diffusers
import numpy as np
import safetensors
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as single_file
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).resolve().parent
VERSIONS = {
    "torch": torch.__version__.split("+")[0],
    "diffusers": diffusers.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
}

# `vocabulary` is what the committed file holds; the networks never look a token up, they are fed rows.
MODELS = {
    "four_levels": dict(unet=(32, 32, 64, 64), layers=1, text=64, text_layers=3, vae=(64, 32, 32, 32), vae_layers=1, seed=11, vocabulary=256),
    "three_levels": dict(unet=(32, 32, 96), layers=1, text=64, text_layers=2, vae=(32, 32, 32, 32), vae_layers=1, seed=13, vocabulary=256),
    "two_levels": dict(unet=(32, 64), layers=2, text=128, text_layers=2, vae=(32, 32, 32, 32), vae_layers=2, seed=12, vocabulary=256),
}
# At 8×8 the fourth level is one pixel: it needs two channels a group, or its norms see nothing. With just two they still jump from
# −1 to 1 where the two values cross, so trajectories of four levels start from 16×16.
# The browser's end-to-end test draws its own checkpoint from this one's list of names, shapes and scales: no Python in CI.
END_TO_END = dict(unet=(32, 64, 64), layers=1, text=64, text_layers=2, vae=(32, 32, 32, 32), vae_layers=1, seed=14, vocabulary=49408)
FULL_SIZE = dict(
    unet=(320, 640, 1280, 1280), layers=2, text=768, text_layers=12, vae=(128, 256, 512, 512), vae_layers=2, seed=15, vocabulary=49408
)


# ---------------------------------------------------------------------------------------------- the networks


def networks(config):
    """The three networks on the meta device: names and shapes, no numbers."""
    levels = len(config["unet"])
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            block_out_channels=config["unet"],
            layers_per_block=config["layers"],
            down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
            cross_attention_dim=config["text"],
            attention_head_dim=8,  # SD 1.5's famous misnomer: the number of heads
            norm_num_groups=32,
        )
        depth = len(config["vae"])
        vae = AutoencoderKL(
            block_out_channels=config["vae"],
            layers_per_block=config["vae_layers"],
            down_block_types=("DownEncoderBlock2D",) * depth,
            up_block_types=("UpDecoderBlock2D",) * depth,
            latent_channels=4,
            norm_num_groups=32,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=config["vocabulary"],
                hidden_size=config["text"],
                intermediate_size=4 * config["text"],
                bos_token_id=0,  # rows are fed, ids never
                eos_token_id=0,
                num_hidden_layers=config["text_layers"],
                num_attention_heads=config["text"] // 64,
                hidden_act="quick_gelu",
                attn_implementation="eager",
            )
        )
    return {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": text.eval()}


def plan(config):
    """[(LDM name, part, name in the part's state dict, shape in the file)], in the order the file lists them."""
    rows = []
    for part, network in networks(config).items():
        for name, value in network.state_dict().items():
            shape = list(value.shape)
            ldm = ldm_name(part, name, config)
            if part == "vae" and ".attn_1." in ldm and ldm.endswith("weight") and len(shape) == 2:
                shape += [1, 1]  # the original autoencoder's attention is made of 1×1 convolutions
            rows.append((ldm, part, name, shape))
    return rows


# ------------------------------------------------------------------------------------------------- the names

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_EDGE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_name(part, name, config):
    """The name of a tensor in a single-file checkpoint, from diffusers' name."""
    if part == "text_encoder":
        return "cond_stage_model.transformer.text_model." + name.removeprefix("text_model.")
    if part == "vae":
        return "first_stage_model." + vae_name(name, len(config["vae"]))
    return "model.diffusion_model." + unet_name(name, len(config["unet"]), config["layers"])


def unet_name(name, levels, layers):
    for ours, theirs in UNET_EDGE.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    word = name.split(".")
    if word[0] == "mid_block":
        place = {"resnets0": "middle_block.0", "attentions0": "middle_block.1", "resnets1": "middle_block.2"}[word[1] + word[2]]
        kind, rest = word[1], word[3:]
    else:
        block, kind, index, rest = int(word[1]), word[2], int(word[3]), word[4:]
        if word[0] == "down_blocks":
            # Every level is `layers` rooms and one downsampler; room 0 of the house is conv_in.
            number = 1 + block * (layers + 1) + (layers if kind == "downsamplers" else index)
            place = f"input_blocks.{number}." + {"resnets": "0", "attentions": "1", "downsamplers": "0"}[kind]
        else:
            # The upsampler shares the last room of its level, behind the attention where there is one (all levels but the deepest).
            number = block * (layers + 1) + (layers if kind == "upsamplers" else index)
            place = f"output_blocks.{number}." + {"resnets": "0", "attentions": "1", "upsamplers": "2" if block else "1"}[kind]
    if kind == "resnets":
        rest[0] = UNET_RESNET[rest[0]]
    if kind == "downsamplers":
        rest[0] = "op"
    return ".".join([place, *rest])


def vae_name(name, depth):
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    for index in range(depth):
        name = name.replace(f"encoder.down_blocks.{index}.", f"encoder.down.{index}.")
        name = name.replace(f"decoder.up_blocks.{index}.", f"decoder.up.{depth - 1 - index}.")
    name = name.replace("downsamplers.0.", "downsample.").replace("upsamplers.0.", "upsample.")
    name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2").replace(".resnets.", ".block.")
    if "mid_block.attentions.0." in name:
        head, tail = name.split("mid_block.attentions.0.")
        ours, kind = tail.rsplit(".", 1)
        name = f"{head}mid.attn_1.{VAE_ATTENTION[ours]}.{kind}"
    return name


def check_names(config, tensors):
    """diffusers' own converter must turn our names and shapes back into its own."""
    parts = networks(config)
    prefix = "cond_stage_model.transformer."
    back = {
        "unet": single_file.convert_ldm_unet_checkpoint(dict(tensors), dict(parts["unet"].config)),
        "vae": single_file.convert_ldm_vae_checkpoint(dict(tensors), dict(parts["vae"].config)),
        "text_encoder": single_file.convert_ldm_clip_checkpoint(dict(tensors), remove_prefix=prefix),
    }
    for ldm, part, name, _ in plan(config):
        found = back[part]
        value = found.get(name, found.get(f"text_model.{name}", found.get(name.removeprefix("text_model."))))
        expected = parts[part].state_dict()[name].shape
        assert value is not None, f"{ldm}: diffusers does not find {name}"
        assert value.shape == expected, f"{ldm}: {value.shape} for {expected}"
        assert torch.equal(value.reshape(-1), tensors[ldm].reshape(-1)), f"{ldm} lands elsewhere than at {name}"


# ----------------------------------------------------------------------------------------------- the numbers


def scale(ldm, shape):
    """(mean, standard deviation) of a random tensor: activations stay near 1 and every parameter can be felt in the output."""
    words = ldm.split(".")
    if ldm.endswith("token_embedding.weight"):
        return 0.0, 0.5
    if ldm.endswith("position_embedding.weight"):
        return 0.0, 0.25
    if words[-1] == "bias":
        return 0.0, 0.1
    if len(shape) == 1:
        return 1.0, 0.2  # a norm's weight
    gain = 1.0
    if words[-2] in ("to_q", "to_k", "q_proj", "k_proj", "q", "k"):
        gain = 1.2  # logits of about 1.4: neither flat nor one-hot
    elif ldm.endswith(("in_layers.2.weight", "emb_layers.1.weight", "conv1.weight")):
        gain = 1.4
    elif ldm.endswith("diffusion_model.out.2.weight"):
        gain = 1.6  # ε of about 1
    elif words[-2] == "conv_out":
        gain = 0.8  # pictures that are not all clipped
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))


def random_tensor(ldm, shape, generator):
    mean, deviation = scale(ldm, shape)
    return (torch.randn(shape, generator=generator) * deviation + mean).half()


def checkpoint(config):
    """A random checkpoint, {LDM name: f16 tensor}, of numbers that bf16 holds as well: a test may store the file in any of the
    three types and expect the same outputs. (It also makes git's copy a fifth smaller.)"""
    generator = torch.Generator().manual_seed(config["seed"])
    return {ldm: random_tensor(ldm, shape, generator).bfloat16().half() for ldm, _, _, shape in plan(config)}


def load(config, tensors):
    """The networks in f32 with the numbers of a single-file checkpoint (any mapping from LDM names to tensors)."""
    parts = networks(config)
    states = {part: {} for part in parts}
    for ldm, part, name, _ in plan(config):
        states[part][name] = tensors[ldm].float().reshape(parts[part].state_dict()[name].shape)
    for part, network in parts.items():
        network.load_state_dict(states[part], assign=True)
    text = parts["text_encoder"]
    for name, buffer in list(text.named_buffers()):
        if buffer.is_meta:  # position_ids is not in the state dict
            assert name.endswith("position_ids"), name
            owner = text.get_submodule(name.rsplit(".", 1)[0]) if "." in name else text
            owner.position_ids = torch.arange(77).unsqueeze(0)
    return parts


# ----------------------------------------------------------------------------------- running the networks


class Rows(torch.nn.Module):
    """Stands where the token table was: whatever ids are asked for, these rows come back."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, ids):
        return self.rows


@torch.no_grad()
def encode(text, rows, skip=1):
    """Rows (windows, 77, width) → conditioning (1, 77·windows, width). `skip` counts as A1111 does: 1 is the last layer."""
    embeddings = next(m for m in text.modules() if hasattr(m, "token_embedding"))
    norm = next(m for n, m in text.named_modules() if n.endswith("final_layer_norm"))
    table, embeddings.token_embedding = embeddings.token_embedding, Rows(rows)
    ids = torch.zeros(rows.shape[:2], dtype=torch.long)
    out = text(input_ids=ids, output_hidden_states=True)
    embeddings.token_embedding = table
    hidden = norm(out.hidden_states[-skip])
    if skip == 1:
        assert torch.equal(hidden, out.last_hidden_state)
    return hidden.reshape(1, -1, rows.shape[-1])


@torch.no_grad()
def denoise(unet, latents, timestep, context):
    return unet(latents, torch.tensor(timestep), encoder_hidden_states=context).sample


@torch.no_grad()
def decode(vae, latents):
    """Latents in the VAE's own scale (the sampler's divided by 0.18215) → image (1, 3, 8·h, 8·w), nominally in -1…1, not clamped."""
    return vae.decode(latents).sample


def table_of_sigmas():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1.0 - betas, dim=0)
    return ((1 - alphas) / alphas).sqrt().float()


def normal_schedule(steps):
    """ComfyUI's `normal`: timesteps spread evenly from 999 to 0, σ interpolated in its logarithm, then 0."""
    logs = table_of_sigmas().log()
    times = torch.linspace(999, 0, steps)
    low, high = times.floor().long(), times.ceil().long()
    part = times - low
    return torch.cat([((1 - part) * logs[low] + part * logs[high]).exp(), torch.zeros(1)])


@torch.no_grad()
def euler(unet, noise, cond, uncond, steps, cfg):
    """ComfyUI's KSampler with `euler`, `normal`, denoise 1: integer timesteps, guidance on the denoised, cfg 1 skips the negative."""
    sigmas, logs = normal_schedule(steps), table_of_sigmas().log()
    x = noise * (1 + sigmas[0] ** 2).sqrt()
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        timestep = int((sigma.log() - logs).abs().argmin())
        scaled = x / (sigma**2 + 1).sqrt()
        denoised = x - sigma * denoise(unet, scaled, timestep, cond)
        if cfg != 1:
            negative = x - sigma * denoise(unet, scaled, timestep, uncond)
            denoised = negative + (denoised - negative) * cfg
        x = x + (x - denoised) / sigma * (after - sigma)
    return x


def picture(vae, latents):
    """The sampler's latents → RGB (height, width, 3), as ComfyUI saves it: clamped, times 255, cut off."""
    image = decode(vae, latents / 0.18215)
    levels = ((image + 1) / 2).clamp(0, 1) * 255
    return levels[0].permute(1, 2, 0).numpy().astype(np.uint8)


# ------------------------------------------------------------------------------------------- the fixtures


def clip_fixture(parts, config, generator):
    rows = torch.randn(2, 77, config["text"], generator=generator) * 0.5
    text = parts["text_encoder"]
    out = {"rows": rows}
    for skip in (1, 2):
        out[f"hidden.windows2.skip{skip}"] = encode(text, rows, skip)
    out["hidden.windows1.skip1"] = encode(text, rows[:1])
    return out


SIZES = ((8, 8), (16, 8), (12, 9))  # height, width; 12×9 does not halve evenly: diffusers passes upsample_size


def unet_fixture(parts, config, generator):
    out = {"context": torch.randn(2, 154, config["text"], generator=generator)}
    for height, width in SIZES:
        latents = torch.randn(2, 4, height, width, generator=generator)
        out[f"latents.{height}x{width}"] = latents
        for tokens in (77, 154):
            for timestep in (999, 500, 1):
                for batch in (1, 2):
                    context = out["context"][:batch, :tokens]
                    eps = denoise(parts["unet"], latents[:batch], timestep, context)
                    out[f"eps.{height}x{width}.batch{batch}.t{timestep}.tokens{tokens}"] = eps
    return out


def vae_fixture(parts, generator):
    out = {}
    for height, width in ((8, 8), (4, 6)):
        latents = torch.randn(1, 4, height, width, generator=generator) * 4
        out[f"latents.{height}x{width}"] = latents
        out[f"image.{height}x{width}"] = decode(parts["vae"], latents)
    return out


def trajectory_fixture(parts, config, generator):
    rows = torch.randn(2, 77, config["text"], generator=generator) * 0.5
    # Both prompts begin and end with the same words, as all prompts do; what is between them can be two embeddings.
    rows[1, 0], rows[1, 76] = rows[0, 0], rows[0, 76]
    cond, uncond = (encode(parts["text_encoder"], rows[i : i + 1]) for i in (0, 1))
    nothing = torch.cat([rows[:1, :1], rows[:1, 76:].expand(1, 76, -1)], 1)
    empty = encode(parts["text_encoder"], nothing)
    weights = torch.full([1, 77, 1], 1.5)
    weights[0, 0] = weights[0, 76] = 1.0
    weighted = empty + weights * (cond - empty)
    side = 16 if len(config["unet"]) == 4 else 8
    noise = torch.randn([1, 4, side, side], generator=torch.Generator().manual_seed(1234))
    out = {"rows.positive": rows[:1], "rows.negative": rows[1:], "conditioning": cond, "uncond": uncond, "noise": noise}
    out |= {"empty": empty, "conditioning.weighted": weighted}
    out["latents.weighted"] = euler(parts["unet"], noise, weighted, empty, 2, 8)
    for steps in (2, 4):
        out[f"sigmas.steps{steps}"] = normal_schedule(steps)
        for cfg in (8, 1):
            latents = euler(parts["unet"], noise, cond, uncond, steps, cfg)
            out[f"latents.steps{steps}.cfg{cfg}"] = latents
            out[f"rgb.steps{steps}.cfg{cfg}"] = torch.from_numpy(picture(parts["vae"], latents))
    return out


def relative(a, b):
    """The relative error all of our tests use: ‖a − b‖ / ‖b‖."""
    a, b = a.double(), b.double()
    return float((a - b).norm() / b.norm())


def report(name, fixtures):
    """How strongly the outputs answer to their inputs: a fixture that does not answer tests nothing."""
    clip, unet, vae, path = (fixtures[k] for k in ("clip", "unet", "vae", "euler"))
    eps = unet["eps.8x8.batch2.t500.tokens77"]
    facts = {
        "clip std": clip["hidden.windows1.skip1"].std(),
        "skip 2 against 1": relative(clip["hidden.windows2.skip2"], clip["hidden.windows2.skip1"]),
        "eps std": eps.std(),
        "eps: other timestep": relative(unet["eps.8x8.batch2.t999.tokens77"], eps),
        "eps: other context": relative(unet["eps.8x8.batch2.t500.tokens154"], eps),
        "image std": vae["image.8x8"].std(),
        "latents std": path["latents.steps4.cfg8"].std(),
        "latents: cfg 1 against 8": relative(path["latents.steps4.cfg1"], path["latents.steps4.cfg8"]),
        "pixels clipped": ((path["rgb.steps4.cfg8"] == 0) | (path["rgb.steps4.cfg8"] == 255)).float().mean(),
    }
    print(f"{name}: " + ", ".join(f"{key} {float(value):.3f}" for key, value in facts.items()), flush=True)
    for fixture in fixtures.values():
        for key, value in fixture.items():
            assert torch.isfinite(value.float()).all(), f"{name} {key} is not finite"


def write_header(file, rows):
    """A safetensors header for [(name, dtype, shape, bytes)], so that a file can be written one tensor at a time."""
    header, offset = {}, 0
    for name, dtype, shape, length in rows:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + length]}
        offset += length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)


def make(name, config, folder, untracked):
    tensors = checkpoint(config)
    check_names(config, tensors)
    parts = load(config, tensors)
    generator = torch.Generator().manual_seed(config["seed"] + 100)
    fixtures = {
        "clip": clip_fixture(parts, config, generator),
        "unet": unet_fixture(parts, config, generator),
        "vae": vae_fixture(parts, generator),
        "euler": trajectory_fixture(parts, config, generator),
    }
    report(name, fixtures)
    # Real single files carry these too; readers must step over them.
    alphas = (1 / (table_of_sigmas().double() ** 2 + 1)).float()
    extra = {"alphas_cumprod": alphas, "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0)}
    extra = extra if name == "four_levels" else {}
    # The committed files have no VAE encoder: no test runs it, and it would be a tenth of their bytes.
    kept = {k: v for k, v in tensors.items() if not k.startswith(("first_stage_model.encoder.", "first_stage_model.quant_conv."))}
    save_file({**kept, **extra}, folder / f"{name}.safetensors")
    for kind, fixture in fixtures.items():
        save_file({k: v.contiguous() for k, v in fixture.items()}, folder / f"{name}.{kind}.safetensors")
    # The same model with a whole vocabulary, for programs that start from text: too large to commit.
    table = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    rest = random_tensor(table, [49408 - config["vocabulary"], config["text"]], generator)
    save_file({**tensors, **extra, table: torch.cat([tensors[table], rest])}, untracked / f"{name}.safetensors")


def end_to_end_spec(folder):
    """Names, shapes and scales of a checkpoint that a test without Python can draw for itself; drawn here once, to see that it works."""
    rows = [{"name": ldm, "shape": shape, **dict(zip(("mean", "std"), scale(ldm, shape)))} for ldm, _, _, shape in plan(END_TO_END)]
    with open(folder / "e2e_spec.json", "w") as file:
        about = "dtype F16, each tensor normal with this mean and standard deviation; a uniform of the same deviation does as well"
        file.write('{\n"about": ' + json.dumps(about) + ',\n"tensors": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]\n}\n")
    parts = load(END_TO_END, checkpoint(END_TO_END))
    fixture = trajectory_fixture(parts, END_TO_END, torch.Generator().manual_seed(1))
    spread = float(fixture["rgb.steps4.cfg8"].float().std())
    print(f"end to end: {sum(math.prod(r['shape']) for r in rows)} parameters, picture's std {spread:.1f} of 255")
    assert spread > 10


def main():
    folder, untracked = HERE / "models", HERE.parents[1] / "target" / "fixtures"
    folder.mkdir(exist_ok=True)
    untracked.mkdir(parents=True, exist_ok=True)
    for name, config in MODELS.items():
        make(name, config, folder, untracked)
    end_to_end_spec(folder)
    about = {"made_by": "tests/golden/make_models.py", "versions": VERSIONS, "models": MODELS, "end_to_end": END_TO_END}
    (folder / "models.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
