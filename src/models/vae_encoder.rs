//! The encoder of the autoencoder (Esser et al. 2021; diffusers' `AutoencoderKL`).

use crate::error::{Code, Error, Result};
use crate::gpu::{Storage, Tensor};
use crate::kernels::{Gemm, Measure, Measured, gemm, gemm_measured};
use crate::layers::{Conv2d, GroupNorm};
use crate::weights::Weights;

use super::blocks::{ResnetBlock, same_channels};
use super::vae::{EPSILON, GROUPS, MidBlock, SCALE};

/// The encoder: a picture (1, H, W, 4), of which the fourth channel is nothing, to the moments of its latents
/// (1, H/8, W/8, 8): four means, four logarithms of variances.
pub struct VaeEncoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    quant_conv: Conv2d,
    scale: f32,
}

struct DownBlock {
    resnets: Vec<ResnetBlock>,
    downsampler: Option<Conv2d>,
}

impl VaeEncoder {
    /// The encoder at `w`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights) -> Result<Self> {
        let config = &w.checkpoint().config;
        let groups = config.vae_groups.unwrap_or(GROUPS);
        let encoder = w.at("encoder");
        if !w.has("encoder") {
            let sentence = "this VAE was saved without its encoder, which a picture to start from needs: load a VAE file that has one";
            return Err(Error::new(Code::MissingTensors, sentence));
        }
        let conv_in = Conv2d::load(&encoder.at("conv_in"), 3)?;
        let mut channels = conv_in.channels();
        let mut down_blocks = Vec::new();
        for place in encoder.list("down_blocks") {
            down_blocks.push(DownBlock::load(&place, &mut channels, groups)?);
        }
        let halvings = down_blocks.iter().filter(|block: &&DownBlock| block.downsampler.is_some()).count();
        same_channels("the way from picture to latents", 1 << halvings, 8)?;
        let mid_block = MidBlock::load(&encoder.at("mid_block"), channels, groups)?;
        let conv_out = Conv2d::load(&encoder.at("conv_out"), channels)?;
        let quant_conv = Conv2d::load(&w.at("quant_conv"), conv_out.channels())?;
        same_channels("the latents' moments", quant_conv.channels(), 8)?;
        Ok(Self {
            conv_in,
            down_blocks,
            mid_block,
            conv_norm_out: GroupNorm::load(&encoder.at("conv_norm_out"), channels, groups, EPSILON)?,
            conv_out,
            quant_conv,
            scale: config.vae_scaling.map_or(SCALE, |scale| scale as f32),
        })
    }

    /// What the means are multiplied with to be the sampler's latents.
    pub fn latent_scale(&self) -> f32 {
        self.scale
    }

    /// Bytes of the largest tensor when a picture of this size is encoded, at `size` bytes a number.
    pub fn largest(&self, width: usize, height: usize, size: usize) -> u64 {
        // Every level has a quarter of the pixels, and at most twice the channels, of the one before.
        let first = self.down_blocks.first().and_then(|block| block.resnets.first());
        let channels = first.map_or(0, ResnetBlock::channels).max(self.conv_in.channels());
        (width * height * channels * size) as u64
    }

    /// A picture (1, H, W, 4) in −1…1 → (1, H/8, W/8, 8), f32.
    pub fn encode(&self, picture: &Tensor) -> Tensor {
        // 1. in
        let mut h = gemm_measured(&self.conv_in.product(picture), Measure::Channels);

        // 2. down
        for block in &self.down_blocks {
            h = block.forward(h);
        }

        // 3. middle
        let h = self.mid_block.forward(&h);

        // 4. out
        let h = self.conv_out.forward(&self.conv_norm_out.silu(&h, None));
        gemm(&Gemm { out: Some(Storage::F32), ..self.quant_conv.product(&h) })
    }
}

impl DownBlock {
    fn load(w: &Weights, channels: &mut usize, groups: usize) -> Result<Self> {
        let mut resnets = Vec::new();
        for place in w.list("resnets") {
            let resnet = ResnetBlock::load(&place, *channels, None, groups, EPSILON)?;
            *channels = resnet.channels();
            resnets.push(resnet);
        }
        let sampler = w.at("downsamplers.0.conv");
        let downsampler = w.has("downsamplers").then(|| Conv2d::load(&sampler, *channels)).transpose()?;
        if let Some(conv) = &downsampler {
            *channels = conv.channels();
        }
        Ok(Self { resnets, downsampler })
    }

    fn forward(&self, mut h: Measured) -> Measured {
        for resnet in &self.resnets {
            h = resnet.forward(&h, None, None);
        }
        self.downsampler.as_ref().map_or(h.clone(), |conv| conv.downsample_at_end(&h.tensor))
    }
}
