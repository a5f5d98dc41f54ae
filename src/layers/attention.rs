//! Attention with its projections.

use crate::error::{Code, Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Activation, Attention, Gemm, Measure, Measured, Rows, Seen, attention, gemm_measured};
use crate::weights::Weights;

use super::{LayerNorm, Linear};

/// Four rows of a head must fit into 15 KiB of workgroup memory.
const WIDEST_HEAD: usize = 960;

/// Tokens attend to each other.
pub struct SelfAttention {
    qkv: Linear, // (C → 3C): queries, keys and values in one product
    to_out: Linear,
    heads: usize,
    causal: bool,
}

/// Names of the projections, which CLIP and diffusers' attention spell differently.
pub struct Names {
    q: &'static str,
    k: &'static str,
    v: &'static str,
    out: &'static str,
}

const DIFFUSERS: Names = Names { q: "to_q", k: "to_k", v: "to_v", out: "to_out.0" };
const CLIP: Names = Names { q: "q_proj", k: "k_proj", v: "v_proj", out: "out_proj" };

impl SelfAttention {
    /// The attention at `w` over `channels`, in diffusers' names (UNet and VAE).
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize, heads: usize) -> Result<Self> {
        Self::load_named(w, channels, heads, &DIFFUSERS, false)
    }

    /// The causal attention of CLIP's text encoder at `w`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load_clip(w: &Weights, channels: usize, heads: usize) -> Result<Self> {
        Self::load_named(w, channels, heads, &CLIP, true)
    }

    fn load_named(w: &Weights, channels: usize, heads: usize, names: &Names, causal: bool) -> Result<Self> {
        check_heads(channels, heads)?;
        let qkv = Linear::load_joint(&[&w.at(names.q), &w.at(names.k), &w.at(names.v)], channels)?;
        let to_out = Linear::load(&w.at(names.out), channels)?;
        check_width(qkv.width(), 3 * channels)?;
        check_width(to_out.width(), channels)?;
        Ok(Self { qkv, to_out, heads, causal })
    }

    /// `residual` + attention over `x`, both (B, T, C), measured for the next group norm.
    pub fn forward(&self, x: &Tensor, residual: &Tensor) -> Measured {
        let h = self.attend(&self.qkv.forward(x));
        gemm_measured(&Gemm { residual: Some(residual), ..self.to_out.product(&h) }, Measure::Channels)
    }

    /// `x` + attention over `x` normalised (B, T, C), measured for the next layer norm.
    pub fn forward_normal(&self, norm: &LayerNorm, x: &Measured) -> Measured {
        let h = self.attend(&norm.then(x, &self.qkv, Activation::None));
        gemm_measured(&Gemm { residual: Some(&x.tensor), ..self.to_out.product(&h) }, Measure::Rows)
    }

    /// Queries, keys and values (B, T, 3C) → (B, T, C).
    fn attend(&self, qkv: &Tensor) -> Tensor {
        let channels = self.to_out.width();
        let part = |i: usize| Rows { tensor: qkv, offset: i * channels };
        attention(&Attention {
            q: part(0),
            k: part(1),
            v: part(2),
            heads: self.heads,
            head_dim: channels / self.heads,
            seen: None,
            causal: self.causal,
        })
    }
}

/// Tokens attend to the prompt.
pub struct CrossAttention {
    to_q: Linear,
    to_kv: Linear, // (context → 2C): keys and values in one product, once per prompt
    to_out: Linear,
    heads: usize,
}

impl CrossAttention {
    /// The attention at `w` over `channels`, with a prompt of `context` numbers per token.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize, context: usize, heads: usize) -> Result<Self> {
        check_heads(channels, heads)?;
        let to_q = Linear::load(&w.at("to_q"), channels)?;
        let to_kv = Linear::load_joint(&[&w.at("to_k"), &w.at("to_v")], context)?;
        let to_out = Linear::load(&w.at("to_out.0"), channels)?;
        check_width(to_q.width(), channels)?;
        check_width(to_kv.width(), 2 * channels)?;
        check_width(to_out.width(), channels)?;
        Ok(Self { to_q, to_kv, to_out, heads })
    }

    /// Keys and values of a prompt: (B, S, context) → (B, S, 2C). They do not change over the steps.
    pub fn keys_and_values(&self, context: &Tensor) -> Tensor {
        self.to_kv.forward(context)
    }

    /// `x` + attention of `x` normalised (B, T, C) to the prompts' keys and values (prompts, S, 2C), of which each batch
    /// item sees what `seen` says: (seen.times · B, T, C), measured for the next layer norm.
    pub fn forward(&self, norm: &LayerNorm, x: &Measured, kv: &Tensor, seen: Seen) -> Measured {
        let q = norm.then(x, &self.to_q, Activation::None); // (B, T, C)
        let channels = self.to_out.width();
        let h = attention(&Attention {
            q: Rows { tensor: &q, offset: 0 },
            k: Rows { tensor: kv, offset: 0 },
            v: Rows { tensor: kv, offset: channels },
            heads: self.heads,
            head_dim: channels / self.heads,
            seen: Some(seen),
            causal: false,
        });
        gemm_measured(&Gemm { residual: Some(&x.tensor), ..self.to_out.product(&h) }, Measure::Rows)
    }
}

fn check_heads(channels: usize, heads: usize) -> Result<()> {
    if heads == 0 || channels % heads != 0 || channels / heads % 4 != 0 || channels / heads > WIDEST_HEAD {
        let sentence = format!(
            "an attention of this checkpoint has {channels} channels for {heads} heads: a head must be a multiple of four and at most {WIDEST_HEAD} wide"
        );
        return Err(Error::new(Code::WrongShape, sentence));
    }
    Ok(())
}

fn check_width(found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(
        Code::WrongShape,
        format!("an attention of this checkpoint projects to {found} numbers, expected {expected}"),
    ))
}
