//! y = x·Wᵀ + b.

use crate::error::Result;
use crate::gpu::Tensor;
use crate::kernels::{Activation, Gemm, Geometry, gemm};
use crate::weights::{Columns, Weights};

/// A linear layer, or several that share their input, side by side.
pub struct Linear {
    weight: Tensor,       // (1, 1, C, N)
    bias: Option<Tensor>, // (N)
}

const POINTWISE: Geometry = Geometry { kernel: 1, phases: 1, stride: 1, padding: 0, padding_end: 0, stretched: None };

impl Linear {
    /// The layer at `w`, which takes `channels`. A 1×1 convolution is the same thing.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize) -> Result<Self> {
        Self::load_columns(&[w], channels, Columns::Plain)
    }

    /// The layers at `places` as one: their results stand side by side.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load_joint(places: &[&Weights], channels: usize) -> Result<Self> {
        Self::load_columns(places, channels, Columns::Plain)
    }

    /// The layer with its columns arranged for a GEGLU epilogue.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load_geglu(w: &Weights, channels: usize) -> Result<Self> {
        Self::load_columns(&[w], channels, Columns::Geglu)
    }

    fn load_columns(places: &[&Weights], channels: usize, columns: Columns) -> Result<Self> {
        let weight = Weights::matrix(places, channels, 1, columns)?;
        let rows = |place: &&Weights| place.shape("weight").map(|shape| shape[0]);
        let n: usize = places.iter().map(rows).sum::<Result<usize>>()?;
        let bias = places[0].has("bias").then(|| Weights::vector(places, "bias", n, columns)).transpose()?;
        Ok(Self { weight, bias })
    }

    /// N.
    pub fn width(&self) -> usize {
        self.weight.shape()[3]
    }

    /// The product and bias over `input` (…, C), to which callers add an epilogue.
    pub fn product<'a>(&'a self, input: &'a Tensor) -> Gemm<'a> {
        Gemm {
            input,
            input2: None,
            normal: None,
            weight: &self.weight,
            bias: self.bias.as_ref(),
            row_bias: None,
            activation: Activation::None,
            residual: None,
            geometry: POINTWISE,
            out: None,
            strip: None,
        }
    }

    /// (…, C) → (…, N).
    pub fn forward(&self, input: &Tensor) -> Tensor {
        gemm(&self.product(input))
    }
}
