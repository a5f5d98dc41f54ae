//! The gated feed-forward of a transformer block.

use crate::error::Result;
use crate::gpu::Tensor;
use crate::kernels::{Activation, Gemm, gemm};
use crate::weights::Weights;

use super::Linear;

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

    /// `residual` + the layer over `x`, both (B, T, C).
    pub fn forward(&self, x: &Tensor, residual: &Tensor) -> Tensor {
        let h = gemm(&Gemm { activation: Activation::Geglu, ..self.proj.product(x) });
        gemm(&Gemm { residual: Some(residual), ..self.out.product(&h) })
    }
}
