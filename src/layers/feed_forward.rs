//! The gated feed-forward of a transformer block.

use crate::error::Result;
use crate::kernels::{Activation, Gemm, Measure, Measured, gemm_measured};
use crate::weights::Weights;

use super::{LayerNorm, Linear};

/// Linear, GEGLU (Shazeer 2020), linear.
pub struct FeedForward {
    proj: Linear, // net.0.proj, C → 2·4C, values and gates interleaved
    out: Linear,  // net.2, 4C → C
}

impl FeedForward {
    /// The layer at `w` over `channels`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize) -> Result<Self> {
        let net = w.at("net");
        let proj = Linear::load_geglu(&net.at("0.proj"), channels)?;
        let out = Linear::load(&net.at("2"), proj.width() / 2)?;
        Ok(Self { proj, out })
    }

    /// `x` + the layer over `x` normalised (B, T, C), measured for the next layer norm.
    pub fn forward(&self, norm: &LayerNorm, x: &Measured) -> Measured {
        let h = norm.then(x, &self.proj, Activation::Geglu);
        gemm_measured(&Gemm { residual: Some(&x.tensor), ..self.out.product(&h) }, Measure::Rows)
    }
}
