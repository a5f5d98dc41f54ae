"""Writes ldm.txt, diffusers.txt and shapes.txt for every weight of Stable Diffusion 1.5, and the same with small_ and
odd_ before the names for two networks with other numbers of levels and layers. Line i of each is one weight.

Run:  python make_names.py        (diffusers 0.42.1, transformers 5.24.0, torch 2.15.0; any machine, a few seconds)

The LDM names are laid out as CompVis' modules build them; the pairing is diffusers' own single-file conversion, run on
a checkpoint in which every tensor carries the number of its LDM name; names and shapes are those of diffusers' and
transformers' real modules. No part of it comes from Wordbrush, so it can judge src/files/key_names.rs.
"""

import pathlib

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as single
from transformers import CLIPTextConfig, CLIPTextModel

HERE = pathlib.Path(__file__).parent
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."

# channels of the UNet's levels, layers in each, levels with attention, channels of the VAE's levels, text layers, width
NETWORKS = {
    "": dict(unet=[320, 640, 1280, 1280], layers=2, attention=[0, 1, 2], vae=[128, 256, 512, 512], text=12, width=768),
    "small_": dict(unet=[32, 64], layers=1, attention=[0], vae=[32, 32], text=2, width=64),
    "odd_": dict(unet=[32, 32, 64], layers=3, attention=[1, 2], vae=[32, 64, 64], text=1, width=96),
}


def both(*stems):
    return [f"{stem}.{kind}" for stem in stems for kind in ("weight", "bias")]


def unet_resnet(at, skip):
    names = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
    return both(*(f"{at}.{n}" for n in names + ["skip_connection"] * skip))


def unet_attention(at):
    block = f"{at}.transformer_blocks.0"
    names = both(f"{at}.norm", f"{at}.proj_in", f"{at}.proj_out")
    for attention in ("attn1", "attn2"):
        names += [f"{block}.{attention}.to_{x}.weight" for x in "qkv"] + both(f"{block}.{attention}.to_out.0")
    return names + both(*(f"{block}.{n}" for n in ("norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2")))


def unet(channels, layers, attention_levels):
    names = both("time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2")
    n, width, last = 1, channels[0], len(channels) - 1
    skips = [width]
    for level, out in enumerate(channels):
        for _ in range(layers):
            names += unet_resnet(f"input_blocks.{n}.0", width != out)
            names += unet_attention(f"input_blocks.{n}.1") if level in attention_levels else []
            n, width = n + 1, out
            skips.append(width)
        if level < last:
            names += both(f"input_blocks.{n}.0.op")
            n += 1
            skips.append(width)
    names += unet_resnet("middle_block.0", False) + unet_attention("middle_block.1") + unet_resnet("middle_block.2", False)
    n = 0
    for level in reversed(range(len(channels))):
        for layer in range(layers + 1):
            names += unet_resnet(f"output_blocks.{n}.0", width + skips.pop() != channels[level])
            width, attention = channels[level], level in attention_levels
            names += unet_attention(f"output_blocks.{n}.1") if attention else []
            if layer == layers and level:
                names += both(f"output_blocks.{n}.{2 if attention else 1}.conv")
            n += 1
    assert not skips
    return names


def vae_resnet(at, shortcut):
    return both(*(f"{at}.{n}" for n in ["norm1", "conv1", "norm2", "conv2"] + ["nin_shortcut"] * shortcut))


def vae(channels):
    names = both("quant_conv", "post_quant_conv")
    for coder in ("encoder", "decoder"):
        names += both(f"{coder}.conv_in", f"{coder}.norm_out", f"{coder}.conv_out")
        names += vae_resnet(f"{coder}.mid.block_1", False) + vae_resnet(f"{coder}.mid.block_2", False)
        names += both(*(f"{coder}.mid.attn_1.{n}" for n in ("norm", "q", "k", "v", "proj_out")))
    last = len(channels) - 1
    for level, out in enumerate(channels):
        for block in range(2):
            below = channels[max(level - 1, 0)]
            names += vae_resnet(f"encoder.down.{level}.block.{block}", block == 0 and below != out)
        names += both(f"encoder.down.{level}.downsample.conv") if level < last else []
        for block in range(3):
            above = channels[min(level + 1, last)]
            names += vae_resnet(f"decoder.up.{level}.block.{block}", block == 0 and above != out)
        names += both(f"decoder.up.{level}.upsample.conv") if level else []
    return names


def text(layers):
    names = ["text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight"]
    layer = ["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"] + [f"self_attn.{x}_proj" for x in ("q", "k", "v", "out")]
    for i in range(layers):
        names += both(*(f"text_model.encoder.layers.{i}.{n}" for n in layer))
    return names + both("text_model.final_layer_norm")


def modules(net, vae_config):
    n, last = len(net["unet"]), len(net["unet"]) - 1
    with torch.device("meta"):
        return {
            "unet.": UNet2DConditionModel(
                cross_attention_dim=net["width"], block_out_channels=net["unet"], layers_per_block=net["layers"],
                down_block_types=["CrossAttnDownBlock2D" if i in net["attention"] else "DownBlock2D" for i in range(n)],
                up_block_types=["CrossAttnUpBlock2D" if last - i in net["attention"] else "UpBlock2D" for i in range(n)],
            ),
            "vae.": AutoencoderKL(**vae_config),
            "text_encoder.": CLIPTextModel(CLIPTextConfig(
                hidden_size=net["width"], intermediate_size=4 * net["width"], num_hidden_layers=net["text"],
                num_attention_heads=net["width"] // 32,
            )),
        }


def write(prefix, net):
    ldm = [UNET + n for n in unet(net["unet"], net["layers"], net["attention"])]
    ldm += [VAE + n for n in vae(net["vae"])] + [TEXT + n for n in text(net["text"])]
    assert len(set(ldm)) == len(ldm) and (prefix or len(ldm) == 1130)
    numbered = {name: torch.full((1, 1, 1, 1), float(i)) for i, name in enumerate(ldm)}
    levels = len(net["vae"])
    vae_config = dict(
        down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=net["vae"], layers_per_block=2, latent_channels=4, sample_size=512,
    )
    converted = {
        "unet.": single.convert_ldm_unet_checkpoint(dict(numbered), dict(layers_per_block=net["layers"])),
        "vae.": single.convert_ldm_vae_checkpoint(dict(numbered), vae_config),
        "text_encoder.": single.convert_ldm_clip_checkpoint(dict(numbered)),
    }
    pairs, shapes = {}, {}
    for part, module in modules(net, vae_config).items():
        real = {n: t.shape for n, t in module.state_dict().items() if not n.endswith("position_ids")}
        if part == "text_encoder." and not any(n.startswith("text_model.") for n in real):
            real = {"text_model." + n: s for n, s in real.items()}  # files have the infix, transformers 5's modules do not
        assert set(converted[part]) == set(real), (prefix, part, sorted(set(converted[part]) ^ set(real))[:10])
        for name, tensor in converted[part].items():
            pairs[int(tensor.flatten()[0])] = part + name
            shapes[part + name] = "x".join(map(str, real[name]))
    assert len(pairs) == len(set(pairs.values())) == len(ldm)
    names = [pairs[i] for i in range(len(ldm))]
    for file, lines in (("ldm", ldm), ("diffusers", names), ("shapes", [shapes[n] for n in names])):
        (HERE / f"{prefix}{file}.txt").write_text("\n".join(lines) + "\n")


for prefix, net in NETWORKS.items():
    write(prefix, net)
