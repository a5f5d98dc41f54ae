//! CLIP's text encoder (Radford et al. 2021; transformers' `CLIPTextModel`, ViT-L/14).

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Activation, Gemm, Measure, Measured, gemm_measured};
use crate::layers::{LayerNorm, Linear, SelfAttention};
use crate::weights::{Rows, Weights};

/// Tokens in a window: the encoder's context length.
pub const WINDOW: usize = 77;

/// Every CLIP text encoder has heads 64 wide.
const HEAD_DIM: usize = 64;

struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    fc1: Linear, // mlp
    fc2: Linear,
}

/// What tokens are to the text encoder: rows, looked up on the CPU, so that an embedding's vectors are simply more rows.
pub struct ClipEmbeddings {
    token_embedding: Rc<RefCell<Rows>>,    // (49408, width)
    position_embedding: Rc<RefCell<Rows>>, // (77, width)
    width: usize,
}

impl ClipEmbeddings {
    /// Those of the encoder at `w`.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights) -> Result<Self> {
        let w = w.at("text_model.embeddings");
        let width = *w.shape("token_embedding.weight")?.last().unwrap_or(&0);
        Ok(Self {
            token_embedding: w.rows("token_embedding.weight", width)?,
            position_embedding: w.rows("position_embedding.weight", width)?,
            width,
        })
    }

    /// Numbers per token: the width an embedding must have.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The row of a token, before its position is added.
    pub fn token(&self, id: u32) -> Option<Vec<f32>> {
        self.token_embedding.borrow().row(id as usize)
    }

    /// A row from an embedding, with the precision of this model's own.
    pub fn word(&self, row: &[f32]) -> Vec<f32> {
        self.token_embedding.borrow().alike(row)
    }

    /// The row added at a position of a window.
    pub fn position(&self, position: usize) -> Option<Vec<f32>> {
        self.position_embedding.borrow().row(position)
    }
}

/// The text encoder's layers.
pub struct Clip {
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
}

impl Clip {
    /// The encoder at `w`, for rows so wide; an activation other than CLIP's quick GELU is refused.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, width: usize) -> Result<Self> {
        let config = w.checkpoint().config.clone();
        if let Some(other) = config.text_activation.filter(|name| name != "quick_gelu") {
            let sentence = format!(
                "the text encoder's activation is {other}; Stable Diffusion 1.5 has quick_gelu (SD 2.x has gelu)"
            );
            return Err(Error::new(Code::WrongFamily, sentence));
        }
        let w = w.at("text_model");
        let heads = config.text_heads.unwrap_or((width / HEAD_DIM).max(1));
        let layers = w.at("encoder").list("layers");
        Ok(Self {
            layers: layers.iter().map(|w| EncoderLayer::load(w, width, heads)).collect::<Result<_>>()?,
            final_layer_norm: LayerNorm::load(&w.at("final_layer_norm"), width)?,
        })
    }

    /// Hidden states of windows of rows, with positions added already: (windows, 77, C) → (windows, 77, C).
    ///
    /// `clip_skip` 1 is the last layer, 2 the one before it, …; the final norm follows in any case. As in ComfyUI a
    /// number beyond the first layer means the last.
    pub fn forward(&self, rows: &Tensor, clip_skip: usize) -> Tensor {
        let skipped = clip_skip.saturating_sub(1);
        let layers = if skipped < self.layers.len() { self.layers.len() - skipped } else { self.layers.len() };
        let mut x = Measured::from(rows.clone());
        for layer in &self.layers[..layers] {
            x = layer.forward(&x);
        }
        self.final_layer_norm.forward(&x.tensor)
    }
}

impl EncoderLayer {
    fn load(w: &Weights, width: usize, heads: usize) -> Result<Self> {
        let mlp = w.at("mlp");
        let fc1 = Linear::load(&mlp.at("fc1"), width)?;
        Ok(Self {
            layer_norm1: LayerNorm::load(&w.at("layer_norm1"), width)?,
            self_attn: SelfAttention::load_clip(&w.at("self_attn"), width, heads)?,
            layer_norm2: LayerNorm::load(&w.at("layer_norm2"), width)?,
            fc2: Linear::load(&mlp.at("fc2"), fc1.width())?,
            fc1,
        })
    }

    /// (windows, 77, C) → (windows, 77, C).
    fn forward(&self, x: &Measured) -> Measured {
        let x = self.self_attn.forward_normal(&self.layer_norm1, x);
        let h = self.layer_norm2.then(&x, &self.fc1, Activation::QuickGelu);
        gemm_measured(&Gemm { residual: Some(&x.tensor), ..self.fc2.product(&h) }, Measure::Rows)
    }
}
