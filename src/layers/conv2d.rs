//! Convolution over NHWC.

use crate::error::Result;
use crate::gpu::Tensor;
use crate::kernels::{Activation, Gemm, Geometry, Measure, Measured, gemm, gemm_measured, whole_filter};
use crate::weights::{Columns, Weights};

/// A convolution with a 1×1 or 3×3 filter that keeps the picture's size at stride 1, or one that follows a doubling.
pub struct Conv2d {
    weight: Tensor,       // (kernel, kernel, C, N); after a doubling (4 · 2, 2, C, N)
    bias: Option<Tensor>, // (N)
    channels: usize,
}

impl Conv2d {
    /// The convolution at `w`, which takes `channels`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize) -> Result<Self> {
        let conv = Self::load_without_bias(w, channels)?;
        let bias = Weights::vector(&[w], "bias", conv.channels, Columns::Plain)?;
        Ok(Self { bias: Some(bias), ..conv })
    }

    /// The convolution at `w`, which takes `channels` of a picture that is doubled before; it may have no bias.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load_upsampler(w: &Weights, channels: usize) -> Result<Self> {
        let weight = w.phases(channels)?;
        let channels = w.shape("weight")?[0];
        let bias = w.has("bias").then(|| Weights::vector(&[w], "bias", channels, Columns::Plain)).transpose()?;
        Ok(Self { weight, bias, channels })
    }

    fn load_without_bias(w: &Weights, channels: usize) -> Result<Self> {
        let shape = w.shape("weight")?;
        let kernel = if shape.get(2) == Some(&3) { 3 } else { 1 };
        let rows = shape.first().copied().unwrap_or(0);
        let weight = Weights::matrix(&[w], channels, kernel, Columns::Plain)?;
        Ok(Self { weight, bias: None, channels: rows })
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The filtered `input` (B, H, W, C), to which callers add an epilogue.
    pub fn product<'a>(&'a self, input: &'a Tensor) -> Gemm<'a> {
        let kernel = self.weight.shape()[1];
        let phases = self.weight.shape()[0] / kernel;
        Gemm {
            input,
            input2: None,
            normal: None,
            weight: &self.weight,
            bias: self.bias.as_ref(),
            row_bias: None,
            activation: Activation::None,
            residual: None,
            geometry: Geometry {
                kernel,
                phases,
                stride: 1,
                padding: kernel / 2,
                padding_end: kernel / 2,
                stretched: None,
            },
            out: None,
            strip: None,
        }
    }

    /// (B, H, W, C) → (B, H, W, N).
    pub fn forward(&self, input: &Tensor) -> Tensor {
        gemm(&self.product(input))
    }

    /// (B, H, W, C) → (B, ⌈H/2⌉, ⌈W/2⌉, N), measured for a group norm.
    pub fn downsample(&self, input: &Tensor) -> Measured {
        let product = self.product(input);
        let geometry = Geometry { stride: 2, ..product.geometry };
        gemm_measured(&Gemm { geometry, ..product }, Measure::Channels)
    }

    /// (B, H, W, C) → (B, ⌊H/2⌋, ⌊W/2⌋, N), with the zeros behind the input alone: the VAE's way of halving.
    pub fn downsample_at_end(&self, input: &Tensor) -> Measured {
        let product = self.product(input);
        let geometry = Geometry { stride: 2, padding: 0, padding_end: 1, ..product.geometry };
        gemm_measured(&Gemm { geometry, ..product }, Measure::Channels)
    }

    /// (B, H, W, C), stretched to `size` by repeating pixels, → (B, size, N), measured for a group norm. The stretched
    /// tensor never exists.
    pub fn upsample(&self, input: &Tensor, size: (usize, usize)) -> Measured {
        let product = self.product(input);
        if size == (input.shape()[1] * 2, input.shape()[2] * 2) {
            return gemm_measured(&product, Measure::Channels);
        }
        // One less than double: its last row and column see zeros where the doubled picture would go on.
        let weight = &whole_filter(&self.weight);
        let geometry = Geometry { kernel: 3, phases: 1, stride: 1, padding: 1, padding_end: 1, stretched: Some(size) };
        gemm_measured(&Gemm { weight, geometry, ..product }, Measure::Channels)
    }
}
