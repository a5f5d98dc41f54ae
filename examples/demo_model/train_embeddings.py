"""Textual Inversion, as in diffusers' examples/textual_inversion/textual_inversion.py (Gal et al. 2022).

New rows in the token table, starting from words' rows (A1111's "initialization text"); everything else frozen; templates around it;
L = mean (ε_θ(x_t, t, text) - ε)²; AdamW (0.9, 0.999, weight decay 1e-2), its rate falling linearly; latents sampled from the VAE's encoder. Writes the files into
www/demo/embeddings/, in four formats.
"""

import argparse
import base64
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from tqdm import tqdm

import attention
import networks
from captions import tokenizer
from concepts import CONCEPTS, FAILURES, scenes
from pictures import draw
from training import DEVICE, WORK, mixed_precision

STEPS, BATCH, PICTURES = 600, 8, 256
OUT = pathlib.Path(__file__).resolve().parents[2] / "www" / "demo" / "embeddings"
PLACEHOLDER = 49408  # the first id behind CLIP's own

# diffusers' imagenet_templates_small.
TEMPLATES = [
    "a photo of a {}", "a rendering of a {}", "a cropped photo of the {}", "the photo of a {}", "a photo of a clean {}",
    "a photo of a dirty {}", "a dark photo of the {}", "a photo of my {}", "a photo of the cool {}", "a close-up photo of a {}",
    "a bright photo of the {}", "a cropped photo of a {}", "a photo of the {}", "a good photo of the {}", "a photo of one {}",
    "a close-up photo of the {}", "a rendition of the {}", "a photo of the clean {}", "a rendition of a {}", "a photo of a nice {}",
    "a good photo of a {}", "a photo of the nice {}", "a photo of the small {}", "a photo of the weird {}", "a photo of the large {}",
    "a photo of a cool {}", "a photo of a small {}",
]


def load_networks():
    """The three networks as they are published: in half precision, computed in single."""
    made = networks.text_encoder(), networks.unet(), networks.vae()
    for module, name in zip(made, ("text_encoder", "unet", "vae")):
        state = torch.load(WORK / f"{name}.pt", map_location="cpu")
        module.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in state.items()})
        module.requires_grad_(False).to(DEVICE)
    return made


class Rows(torch.nn.Module):
    """The token table with new rows behind it; only they are learned."""

    def __init__(self, table, vectors, start):
        super().__init__()
        self.table = table
        self.new = torch.nn.Parameter(table.weight[[start[i % len(start)] for i in range(vectors)]].clone())

    def forward(self, ids):
        known = self.table(ids.clamp(max=PLACEHOLDER - 1))
        new = self.new[(ids - PLACEHOLDER).clamp(min=0)]
        return torch.where((ids >= PLACEHOLDER)[..., None], new, known)


@torch.no_grad()
def posterior(vae, concept, seed):
    pictures = np.stack([draw(scene)[0] for scene in scenes(concept, PICTURES, seed)])
    return vae.encode((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1).to(DEVICE)).latent_dist


def ids_of(tokens, template, vectors):
    """A template's ids with the placeholders in the place of "{}"."""
    before, after = template.split("{}")
    plain = lambda text: tokens(text.strip(), add_special_tokens=False)["input_ids"] if text.strip() else []
    ids = [networks.START, *plain(before), *range(PLACEHOLDER, PLACEHOLDER + vectors), *plain(after), networks.END]
    return ids + [networks.END] * (networks.TEXT_TOKENS - len(ids))


def learn(concept, seed, steps):
    text, unet, vae = load_networks()
    unet.set_attn_processor(attention.processor())
    tokens = tokenizer()
    start = tokens(concept.start, add_special_tokens=False)["input_ids"]
    rows = Rows(text.get_input_embeddings(), concept.vectors, start)
    text.set_input_embeddings(rows)
    schedule = networks.noise_schedule()
    torch.manual_seed(seed)
    if concept.vectors > 1:  # rows that start alike would stay alike
        with torch.no_grad():
            rows.new += 0.1 * rows.new.std() * torch.randn(rows.new.shape).to(DEVICE)
    latent = posterior(vae, concept, seed)
    optimizer = torch.optim.AdamW([rows.new], lr=concept.rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    all_ids = torch.tensor([ids_of(tokens, template, concept.vectors) for template in TEMPLATES]).to(DEVICE)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)  # the recipe's --lr_scheduler linear
    mean = None
    bar = tqdm(range(steps), desc=concept.name, unit="step", file=sys.stderr)
    for step in bar:
        chosen = torch.randint(PICTURES, (BATCH,))
        clean = latent.sample()[chosen] * networks.SCALING
        noise = torch.randn(clean.shape).to(DEVICE)
        t = torch.randint(1000, (BATCH,), device=DEVICE)
        with mixed_precision():  # the recipe's --mixed_precision
            context = text(input_ids=all_ids[torch.randint(len(TEMPLATES), (BATCH,))]).last_hidden_state
            found = unet(schedule.add_noise(clean, noise, t), t, context).sample.float()
        loss = F.mse_loss(found, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        bar.set_postfix(loss=f"{mean:.4f}")
    return rows.new.detach().cpu(), mean


def save(concept, rows, steps):
    """In the format in which the tool of its name would have saved it."""
    path = OUT / f"{concept.name}.{concept.format}"
    if concept.format == "pt":  # A1111: modules/textual_inversion
        torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": concept.name, "step": steps,
                    "sd_checkpoint": None, "sd_checkpoint_name": "wordbrush-shapes"}, path)
    elif concept.format == "bin":  # diffusers: learned_embeds.bin
        torch.save({f"<{concept.name}>": rows[0].clone() if len(rows) == 1 else rows}, path)
    elif concept.format == "safetensors":  # kohya's sd-scripts
        save_file({"emb_params": rows.half()}, path)
    else:
        save_picture(concept, rows, steps, path)
    return path


def save_picture(concept, rows, steps, path):
    """A picture of the concept that holds the embedding in its text, as A1111's do."""
    data = {"string_to_token": {"*": 265}, "string_to_param": {"*": {"TORCHTENSOR": rows.tolist()}}, "name": concept.name,
            "step": steps, "sd_checkpoint": None, "sd_checkpoint_name": "wordbrush-shapes"}
    text = PngImagePlugin.PngInfo()
    text.add_text("sd-ti-embedding", base64.b64encode(json.dumps(data).encode()).decode())
    Image.fromarray(draw(scenes(concept, 1, 99)[0])[0]).save(path, pnginfo=text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="which to learn (all)")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for seed, concept in enumerate((*CONCEPTS, FAILURES)):
        if arguments.names and concept.name not in arguments.names:
            continue
        rows, loss = learn(concept, seed, arguments.steps)
        path = save(concept, rows, arguments.steps)
        with (WORK / "embeddings.log").open("a") as log:
            log.write(f"{concept.name}: {arguments.steps} steps, loss {loss:.5f}, norms {[round(n, 3) for n in rows.norm(dim=1).tolist()]}, {path.name}\n")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
