//! TAESD's decoder, tiny and without norms (Ollin Boer Bohan, github.com/madebyollin/taesd; diffusers' `AutoencoderTiny`).

use crate::error::Result;
use crate::gpu::Tensor;
use crate::kernels::{Activation, Gemm, gemm, soft_clamp};
use crate::layers::Conv2d;
use crate::weights::Weights;

use super::blocks::same_channels;

/// Blocks before each doubling; one more comes after the last.
const BLOCKS: [usize; 3] = [3, 3, 3];

/// The decoder: the sampler's own latents (1, h, w, 4) to a picture (1, 8h, 8w, 4), of which the fourth channel is nothing.
pub struct Taesd {
    conv_in: Conv2d,
    stages: Vec<Stage>,
    last: Block,
    conv_out: Conv2d,
}

struct Stage {
    blocks: Vec<Block>,
    upsampler: Conv2d, // without bias
}

/// Three convolutions around a residual.
struct Block {
    conv: [Conv2d; 3],
}

impl Taesd {
    /// The decoder at `w`, whose layers are counted as in the original's list, the clamp left out.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights) -> Result<Self> {
        let conv_in = Conv2d::load(&w.at(0), 4)?;
        let channels = conv_in.channels();
        let mut at = 2; // past the convolution and its ReLU
        let mut stages = Vec::new();
        for blocks in BLOCKS {
            let end = at + blocks;
            let blocks = (at..end).map(|i| Block::load(&w.at(i), channels)).collect::<Result<_>>()?;
            let upsampler = Conv2d::load_upsampler(&w.at(end + 1), channels)?;
            same_channels("TAESD", upsampler.channels(), channels)?;
            stages.push(Stage { blocks, upsampler });
            at = end + 2;
        }
        let conv_out = Conv2d::load(&w.at(at + 1), channels)?;
        same_channels("the picture", conv_out.channels(), 3)?;
        Ok(Self { conv_in, stages, last: Block::load(&w.at(at), channels)?, conv_out })
    }

    /// Bytes of the largest tensor when a picture of this size is decoded, at `size` bytes a number.
    pub fn largest(&self, width: usize, height: usize, size: usize) -> u64 {
        (width * height * self.conv_in.channels() * size) as u64
    }

    /// Latents (1, h, w, 4), f32 and not scaled, → (1, 8h, 8w, 4) in 0…1.
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        let mut h = relu(&self.conv_in.product(&soft_clamp(latents, latents.gpu().storage())));
        for stage in &self.stages {
            for block in &stage.blocks {
                h = block.forward(&h);
            }
            let size = (h.shape()[1] * 2, h.shape()[2] * 2);
            h = stage.upsampler.upsample(&h, size).tensor;
        }
        self.conv_out.forward(&self.last.forward(&h))
    }
}

impl Block {
    fn load(w: &Weights, channels: usize) -> Result<Self> {
        let conv = |i: usize| Conv2d::load(&w.at("conv").at(i), channels);
        let conv = [conv(0)?, conv(2)?, conv(4)?];
        for conv in &conv {
            same_channels("TAESD", conv.channels(), channels)?;
        }
        Ok(Self { conv })
    }

    /// (B, H, W, C) → (B, H, W, C).
    fn forward(&self, x: &Tensor) -> Tensor {
        let h = relu(&self.conv[0].product(x));
        let h = relu(&self.conv[1].product(&h));
        relu(&Gemm { residual: Some(x), ..self.conv[2].product(&h) })
    }
}

fn relu(product: &Gemm) -> Tensor {
    gemm(&Gemm { activation: Activation::Relu, ..*product })
}
