//! The UNet.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use candle_transformers::models::stable_diffusion::unet_2d::{BlockConfig, UNet2DConditionModel};

use super::weights::{Weights, missing};
use super::{Nchw, config, numbers, tensor, unfit};
use crate::error::Result;

/// The UNet.
pub struct Denoiser {
    network: UNet2DConditionModel,
    width: usize,
    inputs: usize,
    blocks: Vec<BlockConfig>,
    built_in: Option<BuiltIn>,
}

/// What a UNet that has guidance built in is made of, to be made anew for each strength of it.
struct BuiltIn {
    arrays: HashMap<String, Tensor>,
    config: config::Unet,
    cond_proj: Tensor, // (time width, numbers)
}

impl Denoiser {
    pub(super) fn new(arrays: HashMap<String, Tensor>, config: config::Unet) -> Result<Self> {
        let cond_proj = arrays.get("time_embedding.cond_proj.weight").cloned();
        let built_in = cond_proj.map(|cond_proj| {
            let (arrays, config) = (arrays.clone(), config.clone());
            BuiltIn { arrays, config, cond_proj }
        });
        let (width, blocks) = (config.network.cross_attention_dim, config.network.blocks.clone());
        let weights = Weights::new(arrays, &[]).into_builder();
        let network = UNet2DConditionModel::new(weights, config.inputs, config::LATENTS, false, config.network);
        Ok(Self { network: network.map_err(unfit)?, width, inputs: config.inputs, blocks, built_in })
    }

    /// Numbers in which it is told how strong guidance is to be, if it has that built in.
    pub fn guidance_width(&self) -> Option<usize> {
        self.built_in.as_ref().and_then(|built_in| built_in.cond_proj.dim(1).ok())
    }

    /// The network once it is told. It is told the same at every step: added to the time embedding before its first layer,
    /// which is a bias of that layer.
    ///
    /// # Errors
    /// [`Code::WrongShape`] when there is no such layer, or `guidance` has other than
    /// [`guidance_width`](Self::guidance_width) numbers.
    pub fn told(&self, guidance: &[f32]) -> Result<Self> {
        const LINEAR_1: [&str; 2] = ["time_embedding.linear_1.weight", "time_embedding.linear_1.bias"];
        let missing = || missing("unet.time_embedding");
        let BuiltIn { arrays, config, cond_proj } = self.built_in.as_ref().ok_or_else(missing)?;
        let [weight, bias] = LINEAR_1.map(|name| arrays.get(name).ok_or_else(missing));
        let (weight, bias) = (weight?, bias?);
        let told = || {
            let guidance = Tensor::new(guidance, &Device::Cpu)?.unsqueeze(1)?;
            bias + weight.matmul(&cond_proj.matmul(&guidance)?)?.squeeze(1)?
        };
        let mut arrays = arrays.clone();
        arrays.insert(LINEAR_1[1].to_string(), told().map_err(unfit)?);
        Self::new(arrays, config.clone())
    }

    /// It sees a mask and the masked picture's latents besides: channels that follow those of the latents.
    pub fn inpaints(&self) -> bool {
        self.inputs > config::LATENTS
    }

    /// Latents scaled for the network (B, 4, H, W), or (B, 9, H, W) if it inpaints, and context (B, tokens, width) → ε (B, 4, H, W). Any H and W will do:
    /// like diffusers, candle's upsamplers follow the skip connections' sizes.
    ///
    /// # Errors
    /// [`Code::Internal`] when the numbers are not as many as said.
    pub fn eps(&self, latents: &[f32], shape: Nchw, timestep: f64, context: &[f32], tokens: usize) -> Result<Vec<f32>> {
        let latents = tensor(latents, &shape)?;
        let context = tensor(context, &[shape[0], tokens, self.width])?;
        numbers(self.network.forward(&latents, timestep, &context))
    }

    /// Numbers in the largest tensor of a step: what every latent pixel thinks of every other, per head.
    pub(super) fn largest(&self, h: usize, w: usize) -> u64 {
        let scores = self.blocks.iter().enumerate().filter(|(_, block)| block.use_cross_attn.is_some());
        let scores = scores.map(|(level, block)| {
            let pixels = (h.div_ceil(1 << level) * w.div_ceil(1 << level)) as u64;
            pixels * pixels * block.attention_head_dim as u64
        });
        scores.max().unwrap_or(0)
    }
}
