//! Convolution over NHWC.

use crate::error::Result;
use crate::gpu::Tensor;
use crate::kernels::{Activation, Gemm, Geometry, gemm};
use crate::weights::{Columns, Weights};

/// A convolution with a 1×1 or 3×3 filter that keeps the picture's size at stride 1.
pub struct Conv2d {
    weight: Tensor,       // (kernel, kernel, C, N)
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

    /// The convolution at `w`, which takes `channels` and has no bias.
    ///
    /// # Errors
    /// When its weight is missing or has another shape.
    pub fn load_without_bias(w: &Weights, channels: usize) -> Result<Self> {
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
        let kernel = self.weight.shape()[0];
        Gemm {
            input,
            input2: None,
            weight: &self.weight,
            bias: self.bias.as_ref(),
            row_bias: None,
            activation: Activation::None,
            residual: None,
            geometry: Geometry { kernel, stride: 1, padding: kernel / 2, padding_end: kernel / 2, stretched: None },
            out: None,
            strip: None,
        }
    }

    /// (B, H, W, C) → (B, H, W, N).
    pub fn forward(&self, input: &Tensor) -> Tensor {
        gemm(&self.product(input))
    }

    /// (B, H, W, C) → (B, ⌈H/2⌉, ⌈W/2⌉, N).
    pub fn downsample(&self, input: &Tensor) -> Tensor {
        let product = self.product(input);
        let geometry = Geometry { stride: 2, ..product.geometry };
        gemm(&Gemm { geometry, ..product })
    }

    /// (B, H, W, C) → (B, ⌊H/2⌋, ⌊W/2⌋, N), with the zeros behind the input alone: the VAE's way of halving.
    pub fn downsample_at_end(&self, input: &Tensor) -> Tensor {
        let product = self.product(input);
        let geometry = Geometry { stride: 2, padding: 0, padding_end: 1, ..product.geometry };
        gemm(&Gemm { geometry, ..product })
    }

    /// (B, H, W, C), stretched to `size` by repeating pixels, → (B, size, N). The stretched tensor never exists.
    pub fn upsample(&self, input: &Tensor, size: (usize, usize)) -> Tensor {
        let product = self.product(input);
        let geometry = Geometry { stretched: Some(size), ..product.geometry };
        gemm(&Gemm { geometry, ..product })
    }
}
