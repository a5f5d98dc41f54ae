//! CLIP's text encoder on candle, from embedding rows instead of token numbers: candle's own model starts from numbers.

use candle_core::{Device, Tensor};
use candle_nn::{LayerNorm, Module, VarBuilder, layer_norm};
use candle_transformers::models::clip::EncoderConfig;
use candle_transformers::models::clip::text_model::{ClipEncoder, ClipTextConfig};

use super::{numbers, tensor, unfit};
use crate::error::Result;

/// candle's encoder layers between our rows and the final norm.
pub struct TextEncoder {
    positions: Tensor, // (77, width)
    layers: ClipEncoder,
    norm: LayerNorm,
    tokens: usize,
    width: usize,
}

impl TextEncoder {
    /// Takes its weights from `weights` under `text_model.`.
    pub fn new(weights: VarBuilder, config: ClipTextConfig) -> Result<Self> {
        let weights = weights.pp("text_model");
        let (tokens, width) = (config.max_position_embeddings, config.embed_dim);
        let positions = weights.get((tokens, width), "embeddings.position_embedding.weight").map_err(unfit)?;
        let norm = layer_norm(width, 1e-5, weights.pp("final_layer_norm")).map_err(unfit)?;
        let layers = ClipEncoder::new(weights.pp("encoder"), &EncoderConfig::Text(config)).map_err(unfit)?;
        Ok(Self { positions, layers, norm, tokens, width })
    }

    /// Rows (windows, 77, width) → the final norm of a layer's output (windows, 77, width), `skip` 1 being the last layer.
    pub fn forward(&self, rows: &[f32], windows: usize, skip: usize) -> Result<Vec<f32>> {
        let rows = tensor(rows, &[windows, self.tokens, self.width])?;
        let run = || {
            let states =
                self.layers.output_hidden_states(&rows.broadcast_add(&self.positions)?, Some(&self.causal_mask()?))?;
            let chosen = states.iter().nth_back(skip.saturating_sub(1)).or(states.last());
            self.norm.forward(chosen.unwrap_or(&rows))
        };
        numbers(run())
    }

    /// (1, 1, 77, 77): a token looks at itself and those before it.
    fn causal_mask(&self) -> candle_core::Result<Tensor> {
        let n = self.tokens;
        let mask: Vec<f32> = (0..n * n).map(|i| if i % n > i / n { f32::MIN } else { 0.0 }).collect();
        Tensor::from_vec(mask, (1, 1, n, n), &Device::Cpu)
    }
}
