"""The three networks of the demo model: Stable Diffusion 1.5's classes and names, smaller.

Single files carry no configuration, so what no tensor's shape says is as in SD 1.5: 32 groups in every norm, 8 heads in the UNet,
heads 64 wide in the text encoder, 0.18215 between VAE and UNet.

With 32 groups a level of 32 channels would norm every channel by itself and forget its mean, which is to forget the colour
of a flat background: so nothing here is narrower than 64.
"""

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SCALING = 0.18215
# What is left of a picture at t = 999 of SD's schedule is enough to tell background and places of pictures as plain as these, and
# then the network believes it rather than the words. Of latents of half the usual deviation less is left (Chen, "On the importance
# of noise scheduling for diffusion models", 2023: input scaling): enough less for backgrounds, not for places (README.md).
DEVIATION = 0.5
TEXT_WIDTH = 64
TEXT_TOKENS = 77
VOCABULARY = 49408
START, END = 49406, 49407


def vae():
    return AutoencoderKL(
        block_out_channels=(64, 64, 64, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=32,
        latent_channels=4,
        scaling_factor=SCALING,
    )


def unet():
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 96, 96, 64),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,  # the number of heads, in spite of its name
        norm_num_groups=32,
    )


def text_encoder(vocabulary=VOCABULARY):
    """`vocabulary` is smaller while training: rows no caption uses need no optimizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=1,
            max_position_embeddings=TEXT_TOKENS,
            hidden_act="quick_gelu",
            projection_dim=TEXT_WIDTH,
            bos_token_id=0,
            eos_token_id=2,  # only its pooled output, which SD does not use, asks for the true one
        )
    )


def noise_schedule():
    """SD 1.5's: scaled linear, 1000 steps, ε-prediction."""
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, clip_sample=False)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def seeded(seed):
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
