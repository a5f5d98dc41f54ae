//! Normalisations with their affine parameters.

use crate::error::{Code, Error, Result};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{self, Activation, Gemm, Measured, Moments, Normal, gemm};
use crate::weights::{Columns, Weights};

use super::Linear;

/// Mean and scale of each must fit into 8 KiB of workgroup memory.
const MOST_GROUPS: usize = 1024;

/// Group normalisation.
pub struct GroupNorm {
    gamma: Tensor, // (C)
    beta: Tensor,  // (C)
    groups: usize,
    epsilon: f32,
}

impl GroupNorm {
    /// The norm at `w` over `channels` in `groups`.
    ///
    /// # Errors
    /// When tensors are missing, have other shapes, or `channels` cannot be split into `groups`.
    pub fn load(w: &Weights, channels: usize, groups: usize, epsilon: f32) -> Result<Self> {
        if groups > MOST_GROUPS || channels % groups != 0 || channels % 4 != 0 {
            let sentence = format!(
                "a group norm of this checkpoint has {channels} channels, which {groups} groups cannot share: Stable Diffusion 1.5 has multiples of {groups}"
            );
            return Err(Error::new(Code::WrongShape, sentence));
        }
        Ok(Self {
            gamma: Weights::vector(&[w], "weight", channels, Columns::Plain)?,
            beta: Weights::vector(&[w], "bias", channels, Columns::Plain)?,
            groups,
            epsilon,
        })
    }

    /// (B, H, W, C) normalised.
    pub fn forward(&self, input: &Measured) -> Tensor {
        kernels::group_norm(&self.args(input, None, false))
    }

    /// (B, H, W, C) normalised, then SiLU. The channels of `more` continue those of `input`.
    pub fn silu(&self, input: &Measured, more: Option<&Measured>) -> Tensor {
        kernels::group_norm(&self.args(input, more, true))
    }

    /// Room for the statistics of a picture of `pixels` that comes in strips of `strip` pixels.
    pub fn moments(&self, gpu: &Gpu, pixels: usize, strip: usize) -> Moments {
        Moments::new(gpu, 1, self.groups, pixels, strip)
    }

    /// Takes in the next strip (1, rows, W, C).
    pub fn measure(&self, strip: &Tensor, moments: &mut Moments) {
        moments.measure(&self.args(&strip.clone().into(), None, false));
    }

    /// Rows (1, rows, W, C) of a picture with these statistics, normalised, then SiLU.
    pub fn silu_of(&self, rows: &Tensor, moments: &Moments) -> Tensor {
        moments.normalise(&self.args(&rows.clone().into(), None, true))
    }

    fn args<'a>(&'a self, input: &'a Measured, input2: Option<&'a Measured>, silu: bool) -> kernels::GroupNorm<'a> {
        let Self { gamma, beta, groups, epsilon } = self;
        kernels::GroupNorm { input, input2, gamma, beta, groups: *groups, epsilon: *epsilon, silu }
    }
}

/// Layer normalisation.
pub struct LayerNorm {
    affine: Tensor, // (2, C): gamma, beta
}

impl LayerNorm {
    /// The norm at `w` over `channels`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize) -> Result<Self> {
        Ok(Self { affine: w.vectors(["weight", "bias"], channels)? })
    }

    /// (…, C) normalised over the last axis.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        kernels::layer_norm(input, &self.affine)
    }

    /// (…, C) normalised, then `linear` and an activation: in one, where the input's statistics are there.
    pub fn then(&self, input: &Measured, linear: &Linear, activation: Activation) -> Tensor {
        if input.has_rows() {
            let normal = Some(Normal { input, affine: &self.affine });
            return gemm(&Gemm { normal, activation, ..linear.product(&input.tensor) });
        }
        gemm(&Gemm { activation, ..linear.product(&self.forward(&input.tensor)) })
    }
}
