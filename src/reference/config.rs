//! candle wants configurations; the checkpoint is the configuration. What no shape says comes from SD 1.5.

use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig};
use candle_transformers::models::stable_diffusion::unet_2d::{BlockConfig, UNet2DConditionModelConfig};
use candle_transformers::models::stable_diffusion::vae::AutoEncoderKLConfig;

use super::weights::missing;
use crate::error::{Code, Error, Result};
use crate::files::Checkpoint;
use crate::prompt::WINDOW;

/// Every CLIP text encoder has heads 64 wide.
const HEAD_DIM: usize = 64;
/// Attention heads at every level of the UNet (v1-inference.yaml, `num_heads: 8`).
const HEADS: usize = 8;
/// Channels of the latents.
pub const LATENTS: usize = 4;
/// Channels that a UNet for inpainting reads: latents, a mask, the masked picture's latents.
const INPAINTING: usize = 9;
/// Gives latents unit variance (v1-inference.yaml, `scale_factor`).
const SCALE: f64 = 0.18215;

/// The UNet's configuration.
#[derive(Clone)]
pub struct Unet {
    /// Channels in: those of the latents, or 9 for inpainting.
    pub inputs: usize,
    /// The rest.
    pub network: UNet2DConditionModelConfig,
}

/// The VAE's configuration.
pub struct Vae {
    /// What latents were multiplied with for the UNet.
    pub scale: f64,
    /// The rest.
    pub network: AutoEncoderKLConfig,
}

/// The text encoder's configuration.
pub fn text(checkpoint: &Checkpoint) -> Result<ClipTextConfig> {
    if let Some(other) = checkpoint.config.text_activation.as_deref().filter(|name| *name != "quick_gelu") {
        let sentence =
            format!("the text encoder's activation is {other}; Stable Diffusion 1.5 has quick_gelu (SD 2.x has gelu)");
        return Err(Error::new(Code::WrongFamily, sentence));
    }
    let at = "text_encoder.text_model";
    let width = axis(checkpoint, &format!("{at}.embeddings.position_embedding.weight"), 1)?;
    let (tokens, positions) = ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight");
    same("the width of the token table", axis(checkpoint, &format!("{at}.{tokens}"), 1)?, width)?;
    same("the text encoder's positions", axis(checkpoint, &format!("{at}.{positions}"), 0)?, WINDOW)?;
    Ok(ClipTextConfig {
        vocab_size: axis(checkpoint, &format!("{at}.{tokens}"), 0)?,
        embed_dim: width,
        activation: Activation::QuickGelu,
        intermediate_size: axis(checkpoint, &format!("{at}.encoder.layers.0.mlp.fc1.weight"), 0)?,
        max_position_embeddings: WINDOW,
        pad_with: None,
        num_hidden_layers: count(checkpoint, |i| format!("{at}.encoder.layers.{i}.layer_norm1.weight")),
        num_attention_heads: checkpoint.config.text_heads.unwrap_or((width / HEAD_DIM).max(1)),
        projection_dim: width,
    })
}

/// The UNet's configuration, for a text encoder of `text_width`.
pub fn unet(checkpoint: &Checkpoint, text_width: usize) -> Result<Unet> {
    let levels = count(checkpoint, |i| format!("unet.down_blocks.{i}.resnets.0.conv1.weight"));
    let mut blocks = Vec::with_capacity(levels);
    for i in 0..levels {
        let depth =
            count(checkpoint, |k| format!("unet.down_blocks.{i}.attentions.0.transformer_blocks.{k}.norm1.weight"));
        blocks.push(BlockConfig {
            out_channels: axis(checkpoint, &format!("unet.down_blocks.{i}.resnets.0.conv1.weight"), 0)?,
            use_cross_attn: (depth > 0).then_some(depth),
            attention_head_dim: checkpoint.config.unet_heads_at(i).unwrap_or(HEADS), // their number, in spite of the name
        });
    }
    let inputs = axis(checkpoint, "unet.conv_in.weight", 1)?;
    same("conv_in of the UNet", inputs, if inputs == INPAINTING { INPAINTING } else { LATENTS })?;
    same("conv_out of the UNet", axis(checkpoint, "unet.conv_out.weight", 0)?, LATENTS)?;
    let projection = "unet.mid_block.attentions.0.proj_in.weight";
    let context = axis(checkpoint, "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1)?;
    same("the context of the UNet", context, text_width)?;
    let network = UNet2DConditionModelConfig {
        blocks,
        layers_per_block: count(checkpoint, |j| format!("unet.down_blocks.0.resnets.{j}.conv1.weight")),
        norm_num_groups: checkpoint.config.unet_groups.unwrap_or(32),
        cross_attention_dim: context,
        use_linear_projection: shape(checkpoint, projection)?.len() == 2,
        ..Default::default()
    };
    Ok(Unet { inputs, network })
}

/// The VAE's configuration, from its decoder alone.
pub fn vae(checkpoint: &Checkpoint) -> Result<Vae> {
    let levels = count(checkpoint, |i| format!("vae.decoder.up_blocks.{i}.resnets.0.conv1.weight"));
    same("the number of the VAE's levels", levels, 4)?;
    same("post_quant_conv of the VAE", axis(checkpoint, "vae.post_quant_conv.weight", 1)?, LATENTS)?;
    let channels = |i| axis(checkpoint, &format!("vae.decoder.up_blocks.{i}.resnets.0.conv1.weight"), 0);
    let layers = count(checkpoint, |j| format!("vae.decoder.up_blocks.0.resnets.{j}.conv1.weight"));
    let network = AutoEncoderKLConfig {
        block_out_channels: (0..levels).rev().map(channels).collect::<Result<_>>()?,
        layers_per_block: layers.saturating_sub(1), // the decoder has one more than the configuration says
        latent_channels: LATENTS,
        norm_num_groups: checkpoint.config.vae_groups.unwrap_or(32),
        use_quant_conv: true,
        use_post_quant_conv: true,
    };
    Ok(Vae { scale: checkpoint.config.vae_scaling.unwrap_or(SCALE), network })
}

/// Refuses tensors without numbers.
pub fn nothing_is_empty(checkpoint: &Checkpoint) -> Result<()> {
    match checkpoint.arrays.values().find(|array| array.numel() == 0) {
        Some(array) => {
            let sentence =
                format!("the tensor \"{}\" is {:?}, expected one that is not empty", array.name, array.shape);
            Err(Error::new(Code::WrongShape, sentence))
        }
        None => Ok(()),
    }
}

/// Refuses a width that Stable Diffusion 1.5 does not have there.
fn same(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(Code::WrongShape, format!("{what}: {found}, expected {expected}")))
}

fn shape<'a>(checkpoint: &'a Checkpoint, name: &str) -> Result<&'a [usize]> {
    checkpoint.arrays.get(name).map(|array| array.shape.as_slice()).ok_or_else(|| missing(name))
}

fn axis(checkpoint: &Checkpoint, name: &str, axis: usize) -> Result<usize> {
    shape(checkpoint, name)?.get(axis).copied().ok_or_else(|| missing(name))
}

/// How many of the names `name(0)`, `name(1)`, … there are.
fn count(checkpoint: &Checkpoint, name: impl Fn(usize) -> String) -> usize {
    (0..).take_while(|i| checkpoint.arrays.contains_key(&name(*i))).count()
}
