//! candle wants configurations; the checkpoint is the configuration. What no shape says comes from SD 1.5.

use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig};
use candle_transformers::models::stable_diffusion::unet_2d::{BlockConfig, UNet2DConditionModelConfig};
use candle_transformers::models::stable_diffusion::vae::AutoEncoderKLConfig;

use super::weights::missing;
use crate::error::{Code, Error, Result};
use crate::files::Checkpoint;

/// The text encoder's configuration.
pub fn text(checkpoint: &Checkpoint) -> Result<ClipTextConfig> {
    if let Some(other) = checkpoint.config.text_activation.as_deref().filter(|name| *name != "quick_gelu") {
        let message =
            format!("The reference (candle) has no text encoder with the activation {other}, only quick_gelu");
        return Err(Error::new(Code::Internal, message));
    }
    let at = "text_encoder.text_model";
    let width = axis(checkpoint, &format!("{at}.embeddings.position_embedding.weight"), 1)?;
    Ok(ClipTextConfig {
        vocab_size: axis(checkpoint, &format!("{at}.embeddings.token_embedding.weight"), 0)?,
        embed_dim: width,
        activation: Activation::QuickGelu,
        intermediate_size: axis(checkpoint, &format!("{at}.encoder.layers.0.mlp.fc1.weight"), 0)?,
        max_position_embeddings: axis(checkpoint, &format!("{at}.embeddings.position_embedding.weight"), 0)?,
        pad_with: None,
        num_hidden_layers: count(checkpoint, |i| format!("{at}.encoder.layers.{i}.layer_norm1.weight")),
        num_attention_heads: checkpoint.config.text_heads.unwrap_or(width.div_ceil(64)),
        projection_dim: width,
    })
}

/// The UNet's input channels, output channels and configuration.
pub fn unet(checkpoint: &Checkpoint) -> Result<(usize, usize, UNet2DConditionModelConfig)> {
    let levels = count(checkpoint, |i| format!("unet.down_blocks.{i}.resnets.0.conv1.weight"));
    let mut blocks = Vec::with_capacity(levels);
    for i in 0..levels {
        let depth =
            count(checkpoint, |k| format!("unet.down_blocks.{i}.attentions.0.transformer_blocks.{k}.norm1.weight"));
        blocks.push(BlockConfig {
            out_channels: axis(checkpoint, &format!("unet.down_blocks.{i}.resnets.0.conv1.weight"), 0)?,
            use_cross_attn: (depth > 0).then_some(depth),
            attention_head_dim: checkpoint.config.unet_heads_at(i).unwrap_or(8), // the number of heads, in spite of its name
        });
    }
    let projection = "unet.mid_block.attentions.0.proj_in.weight";
    let config = UNet2DConditionModelConfig {
        blocks,
        layers_per_block: count(checkpoint, |j| format!("unet.down_blocks.0.resnets.{j}.conv1.weight")),
        norm_num_groups: checkpoint.config.unet_groups.unwrap_or(32),
        cross_attention_dim: axis(checkpoint, "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1)?,
        use_linear_projection: shape(checkpoint, projection)?.len() == 2,
        ..Default::default()
    };
    Ok((axis(checkpoint, "unet.conv_in.weight", 1)?, axis(checkpoint, "unet.conv_out.weight", 0)?, config))
}

/// The VAE's configuration, from its decoder alone.
pub fn vae(checkpoint: &Checkpoint) -> Result<AutoEncoderKLConfig> {
    let levels = count(checkpoint, |i| format!("vae.decoder.up_blocks.{i}.resnets.0.conv1.weight"));
    let channels = |i| axis(checkpoint, &format!("vae.decoder.up_blocks.{i}.resnets.0.conv1.weight"), 0);
    let layers = count(checkpoint, |j| format!("vae.decoder.up_blocks.0.resnets.{j}.conv1.weight"));
    Ok(AutoEncoderKLConfig {
        block_out_channels: (0..levels).rev().map(channels).collect::<Result<_>>()?,
        layers_per_block: layers.saturating_sub(1), // the decoder has one more than the configuration says
        latent_channels: axis(checkpoint, "vae.post_quant_conv.weight", 1)?,
        norm_num_groups: checkpoint.config.vae_groups.unwrap_or(32),
        use_quant_conv: true,
        use_post_quant_conv: true,
    })
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
