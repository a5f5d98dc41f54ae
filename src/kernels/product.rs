//! What [`gemm`](super::gemm()) is asked for: a product, its geometry where it is a convolution, and what follows it.

use crate::gpu::{Storage, Tensor};

use super::measured::Measured;

/// What is applied to the product before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// x · sigmoid(x).
    Silu,
    /// x · sigmoid(1.702 x), the GELU of OpenAI's CLIP.
    QuickGelu,
    /// max(x, 0). The only one that follows the residual, as in TAESD's blocks.
    Relu,
    /// value · gelu(gate) over interleaved columns: the result has half the columns.
    Geglu,
}

/// One row per step, added to every row of the product: the time embedding of a ResnetBlock.
#[derive(Clone, Copy)]
pub struct RowBias<'a> {
    /// (steps, N).
    pub rows: &'a Tensor,
    /// (4), f32: the index of the current step, and what else changes with it.
    pub step: &'a Tensor,
}

/// The filter's geometry.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Side of the filter: 1, 2 or 3.
    pub kernel: usize,
    /// 1; or 4 for a result of twice the size, whose pixels of each parity (even and odd rows, in them even and odd
    /// columns) have a filter of their own.
    pub phases: usize,
    /// Distance of output pixels in the input.
    pub stride: usize,
    /// Zeros before the input, at the top and on the left.
    pub padding: usize,
    /// Zeros behind it, at the bottom and on the right.
    pub padding_end: usize,
    /// Size (h, w) to which the input is stretched, nearest neighbour, before it is filtered.
    pub stretched: Option<(usize, usize)>,
}

/// A layer normalisation on the way in.
#[derive(Clone, Copy)]
pub struct Normal<'a> {
    /// The input once more, with its statistics.
    pub input: &'a Measured,
    /// (2, C), f32: gamma, beta.
    pub affine: &'a Tensor,
}

/// A part of a picture that is computed by itself: the input holds the rows it needs, the result goes where it belongs.
#[derive(Clone, Copy)]
pub struct Strip<'a> {
    /// Rows of the (stretched or doubled) input that lie above the first row of the result.
    pub above: usize,
    /// (1, rows, W, N).
    pub out: &'a Tensor,
    /// The result is added to what is there.
    pub add: bool,
}

/// A product with its epilogue.
#[derive(Clone, Copy)]
pub struct Gemm<'a> {
    /// (B, H, W, C), or (B, T, C): T tokens are a picture one pixel high.
    pub input: &'a Tensor,
    /// (B, H, W, C2): channels that continue those of `input`.
    pub input2: Option<&'a Tensor>,
    /// The input's rows are normalised as they are read; only where `input` has the statistics of its rows.
    pub normal: Option<Normal<'a>>,
    /// (phases · kernel, kernel, C + C2, N), as `weights` packs it.
    pub weight: &'a Tensor,
    /// (N), f32.
    pub bias: Option<&'a Tensor>,
    /// Added before the activation.
    pub row_bias: Option<RowBias<'a>>,
    /// What follows.
    pub activation: Activation,
    /// As the result, or an equal part of its batch that is repeated; added last (but for a ReLU).
    pub residual: Option<&'a Tensor>,
    /// Filter geometry.
    pub geometry: Geometry,
    /// Storage of the result; the input's if `None`.
    pub out: Option<Storage>,
    /// A part alone.
    pub strip: Option<Strip<'a>>,
}
