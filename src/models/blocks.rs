//! Blocks that the UNet and the VAE share, and the UNet's transformer.

use crate::error::{Code, Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Gemm, Measure, Measured, RowBias, Seen, gemm, gemm_measured};
use crate::layers::{Conv2d, CrossAttention, FeedForward, GroupNorm, LayerNorm, Linear, SelfAttention};
use crate::weights::Weights;

mod strips;

pub use strips::{Picture, Room, around, split};

/// Two convolutions around a residual (He et al. 2016), with the time embedding between them in the UNet.
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>, // the VAE has none
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>, // where the number of channels changes
}

impl ResnetBlock {
    /// The block at `w`, which takes `channels`; `time` is the time embedding's width.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize, time: Option<usize>, groups: usize, epsilon: f32) -> Result<Self> {
        let conv1 = Conv2d::load(&w.at("conv1"), channels)?;
        let conv2 = Conv2d::load(&w.at("conv2"), conv1.channels())?;
        let time_emb_proj = time.map(|time| Linear::load(&w.at("time_emb_proj"), time)).transpose()?;
        let conv_shortcut =
            w.has("conv_shortcut").then(|| Conv2d::load(&w.at("conv_shortcut"), channels)).transpose()?;
        let residual = conv_shortcut.as_ref().map_or(channels, Conv2d::channels);
        same_channels("a residual", residual, conv2.channels())?;
        if let Some(proj) = &time_emb_proj {
            same_channels("a time embedding", proj.width(), conv1.channels())?;
        }
        Ok(Self {
            norm1: GroupNorm::load(&w.at("norm1"), channels, groups, epsilon)?,
            norm2: GroupNorm::load(&w.at("norm2"), conv1.channels(), groups, epsilon)?,
            conv1,
            time_emb_proj,
            conv2,
            conv_shortcut,
        })
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.conv2.channels()
    }

    /// The block's share of the time embeddings: silu(temb) (1, steps, time) → (1, steps, N).
    pub fn time_rows(&self, silu_temb: &Tensor) -> Option<Tensor> {
        self.time_emb_proj.as_ref().map(|proj| proj.forward(silu_temb))
    }

    /// (B, H, W, C) → (B, H, W, N), measured for the next group norm. `skip` continues the channels of `x`; `time` is this
    /// block's rows.
    pub fn forward(&self, x: &Measured, skip: Option<&Measured>, time: Option<RowBias>) -> Measured {
        let h = self.norm1.silu(x, skip);
        let h = gemm_measured(&Gemm { row_bias: time, ..self.conv1.product(&h) }, Measure::Channels);
        // The shortcut comes before the second norm: what it is made of, often the largest there is, then goes earlier.
        let input2 = skip.map(|skip| &skip.tensor);
        let shortcut = self.conv_shortcut.as_ref().map(|conv| gemm(&Gemm { input2, ..conv.product(&x.tensor) }));
        let h = self.norm2.silu(&h, None);
        let residual = Some(shortcut.as_ref().unwrap_or(&x.tensor));
        gemm_measured(&Gemm { residual, ..self.conv2.product(&h) }, Measure::Channels)
    }
}

/// Self-attention, cross-attention to the prompt, feed-forward; each with its norm and residual.
pub struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: SelfAttention,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl BasicTransformerBlock {
    fn load(w: &Weights, channels: usize, context: usize, heads: usize) -> Result<Self> {
        Ok(Self {
            norm1: LayerNorm::load(&w.at("norm1"), channels)?,
            attn1: SelfAttention::load(&w.at("attn1"), channels, heads)?,
            norm2: LayerNorm::load(&w.at("norm2"), channels)?,
            attn2: CrossAttention::load(&w.at("attn2"), channels, context, heads)?,
            norm3: LayerNorm::load(&w.at("norm3"), channels)?,
            ff: FeedForward::load(&w.at("ff"), channels)?,
        })
    }

    /// (B, T, C) → (seen.times · B, T, C).
    fn forward(&self, x: &Measured, kv: &Tensor, seen: Seen) -> Measured {
        let x = self.attn1.forward_normal(&self.norm1, x);
        let x = self.attn2.forward(&self.norm2, &x, kv, seen);
        self.ff.forward(&self.norm3, &x)
    }
}

/// Transformer blocks over the pixels of a feature map (Rombach et al. 2022, section 3.3).
pub struct Transformer2d {
    norm: GroupNorm,
    proj_in: Conv2d,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: Conv2d,
}

impl Transformer2d {
    /// ε of the norm before the projection; the norms of ResnetBlocks have 1e-5 (CompVis, attention.py `Normalize`).
    const EPSILON: f32 = 1e-6;

    /// The transformer at `w` over `channels`, with a prompt of `context` numbers per token.
    ///
    /// # Errors
    /// When tensors are missing or have other shapes.
    pub fn load(w: &Weights, channels: usize, context: usize, heads: usize, groups: usize) -> Result<Self> {
        let proj_in = Conv2d::load(&w.at("proj_in"), channels)?;
        let inner = proj_in.channels();
        let blocks = w.list("transformer_blocks");
        let proj_out = Conv2d::load(&w.at("proj_out"), inner)?;
        same_channels("a transformer", proj_out.channels(), channels)?;
        Ok(Self {
            norm: GroupNorm::load(&w.at("norm"), channels, groups, Self::EPSILON)?,
            proj_in,
            transformer_blocks: blocks
                .iter()
                .map(|block| BasicTransformerBlock::load(block, inner, context, heads))
                .collect::<Result<_>>()?,
            proj_out,
        })
    }

    /// Keys and values of the prompts for each block: (B, S, context) → (B, S, 2C).
    pub fn keys_and_values(&self, context: &Tensor) -> Vec<Tensor> {
        self.transformer_blocks.iter().map(|block| block.attn2.keys_and_values(context)).collect()
    }

    /// (B, H, W, C) → (seen.times · B, H, W, C), measured for the next group norm.
    pub fn forward(&self, x: &Measured, kv: &[Tensor], seen: Seen) -> Measured {
        let &[batch, height, width, _] = x.tensor.shape() else { panic!("transformer: {:?}", x.tensor.shape()) };
        let h = gemm_measured(&self.proj_in.product(&self.norm.forward(x)), Measure::Rows);
        let inner = self.proj_in.channels();
        let mut h = h.reshape(&[batch, height * width, inner]); // (B, T, C)
        let mut seen_so = seen;
        for (block, kv) in self.transformer_blocks.iter().zip(kv) {
            h = block.forward(&h, kv, seen_so);
            seen_so.times = 1;
        }
        let h = h.tensor.reshape(&[batch * seen.times, height, width, inner]);
        gemm_measured(&Gemm { residual: Some(&x.tensor), ..self.proj_out.product(&h) }, Measure::Channels)
    }
}

/// Two numbers of channels that must agree.
pub fn same_channels(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let sentence = format!("{what} of this checkpoint has {found} channels where {expected} are expected");
    Err(Error::new(Code::WrongShape, sentence))
}
