//! The decoder of the autoencoder (Esser et al. 2021; diffusers' `AutoencoderKL`).

use crate::error::{Code, Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Measure, Measured, gemm_measured};
use crate::layers::{Conv2d, GroupNorm, SelfAttention};
use crate::weights::Weights;

use super::blocks::{ResnetBlock, same_channels};

mod strips;

/// Gives latents unit variance (CompVis, v1-inference.yaml, `scale_factor`).
pub(super) const SCALE: f32 = 0.18215;
pub(super) const GROUPS: usize = 32;
pub(super) const EPSILON: f32 = 1e-6;

/// The decoder: latents (1, h, w, 4) to a picture (1, 8h, 8w, 4), of which the fourth channel is nothing.
pub struct Vae {
    post_quant_conv: Conv2d,
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    scale: f32,
}

/// The middle of both halves: attention between two ResnetBlocks.
pub(super) struct MidBlock {
    resnets: [ResnetBlock; 2],
    group_norm: GroupNorm, // attentions.0
    attention: SelfAttention,
}

struct UpBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

impl Vae {
    /// The decoder at `w`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights) -> Result<Self> {
        let config = &w.checkpoint().config;
        let groups = config.vae_groups.unwrap_or(GROUPS);
        let post_quant_conv = Conv2d::load(&w.at("post_quant_conv"), 4)?;
        let decoder = w.at("decoder");
        let conv_in = Conv2d::load(&decoder.at("conv_in"), post_quant_conv.channels())?;
        let mut channels = conv_in.channels();
        let mid_block = MidBlock::load(&decoder.at("mid_block"), channels, groups)?;
        let mut up_blocks = Vec::new();
        for place in decoder.list("up_blocks") {
            up_blocks.push(UpBlock::load(&place, &mut channels, groups)?);
        }
        let doublings = up_blocks.iter().filter(|block: &&UpBlock| block.upsampler.is_some()).count();
        if doublings != 3 {
            let sentence = format!(
                "this VAE doubles the picture's size {doublings} times; Stable Diffusion 1.5's does three times"
            );
            return Err(Error::new(Code::WrongShape, sentence));
        }
        let conv_out = Conv2d::load(&decoder.at("conv_out"), channels)?;
        same_channels("the picture", conv_out.channels(), 3)?;
        Ok(Self {
            post_quant_conv,
            conv_in,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::load(&decoder.at("conv_norm_out"), channels, groups, EPSILON)?,
            conv_out,
            scale: config.vae_scaling.map_or(SCALE, |scale| scale as f32),
        })
    }

    /// What the sampler's latents are multiplied with before decoding.
    pub fn latent_scale(&self) -> f32 {
        1.0 / self.scale
    }

    /// Bytes of the largest tensor when a picture of this size is decoded, at `size` bytes a number.
    pub fn largest(&self, width: usize, height: usize, size: usize) -> u64 {
        let mut pixels = (width / 8 * (height / 8)) as u64;
        let mut channels = self.conv_in.channels() as u64;
        let mut largest = pixels * channels;
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                largest = largest.max(pixels * channels.max(resnet.channels() as u64));
                channels = resnet.channels() as u64;
            }
            if let Some(conv) = &block.upsampler {
                (pixels, channels) = (pixels * 4, conv.channels() as u64);
                largest = largest.max(pixels * channels);
            }
        }
        largest * size as u64
    }

    /// Scaled latents (1, h, w, 4) → (1, 8h, 8w, 4) in −1…1.
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        // 1. in
        let h = self.post_quant_conv.forward(latents);
        let h = gemm_measured(&self.conv_in.product(&h), Measure::Channels);

        // 2. middle
        let mut h = self.mid_block.forward(&h);

        // 3. up
        for block in &self.up_blocks {
            h = block.forward(h);
        }

        // 4. out
        self.conv_out.forward(&self.conv_norm_out.silu(&h, None))
    }
}

impl MidBlock {
    pub fn load(w: &Weights, channels: usize, groups: usize) -> Result<Self> {
        let resnet = |i: usize| ResnetBlock::load(&w.at("resnets").at(i), channels, None, groups, EPSILON);
        let attention = w.at("attentions.0");
        let resnets = [resnet(0)?, resnet(1)?];
        same_channels("the middle block", resnets[0].channels(), channels)?;
        same_channels("the middle block", resnets[1].channels(), channels)?;
        Ok(Self {
            resnets,
            group_norm: GroupNorm::load(&attention.at("group_norm"), channels, groups, EPSILON)?,
            attention: SelfAttention::load(&attention, channels, 1)?,
        })
    }

    pub fn forward(&self, x: &Measured) -> Measured {
        let x = self.resnets[0].forward(x, None, None);
        let shape = x.tensor.shape();
        let &[batch, height, width, channels] = shape else { panic!("vae: {shape:?}") };
        let tokens = [batch, height * width, channels];
        let h = self.group_norm.forward(&x).reshape(&tokens);
        let h = self.attention.forward(&h, &x.tensor.reshape(&tokens));
        self.resnets[1].forward(&h.reshape(shape), None, None)
    }
}

impl UpBlock {
    fn load(w: &Weights, channels: &mut usize, groups: usize) -> Result<Self> {
        let mut resnets = Vec::new();
        for place in w.list("resnets") {
            let resnet = ResnetBlock::load(&place, *channels, None, groups, EPSILON)?;
            *channels = resnet.channels();
            resnets.push(resnet);
        }
        let sampler = w.at("upsamplers.0.conv");
        let upsampler = w.has("upsamplers").then(|| Conv2d::load_upsampler(&sampler, *channels)).transpose()?;
        if let Some(conv) = &upsampler {
            *channels = conv.channels();
        }
        Ok(Self { resnets, upsampler })
    }

    fn forward(&self, mut h: Measured) -> Measured {
        for resnet in &self.resnets {
            h = resnet.forward(&h, None, None);
        }
        if let Some(conv) = &self.upsampler {
            let size = (h.tensor.shape()[1] * 2, h.tensor.shape()[2] * 2);
            h = conv.upsample(&h.tensor, size);
        }
        h
    }
}
