//! The matrix product under every linear layer and every convolution, with what follows it.

use crate::gpu::{Kernel, Storage, Tensor};

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
    /// Side of the filter: 1 or 3.
    pub kernel: usize,
    /// Distance of output pixels in the input.
    pub stride: usize,
    /// Zeros before the input, at the top and on the left.
    pub padding: usize,
    /// Zeros behind it, at the bottom and on the right.
    pub padding_end: usize,
    /// Size (h, w) to which the input is stretched, nearest neighbour, before it is filtered.
    pub stretched: Option<(usize, usize)>,
}

/// A part of a picture that is computed by itself: the input holds the rows it needs, the result goes where it belongs.
#[derive(Clone, Copy)]
pub struct Strip<'a> {
    /// Rows of the (stretched) input that lie above the first row of the result.
    pub above: usize,
    /// (1, rows, W, N).
    pub out: &'a Tensor,
    /// The result is added to what is there.
    pub add: bool,
}

/// A product with its epilogue.
pub struct Gemm<'a> {
    /// (B, H, W, C), or (B, T, C): T tokens are a picture one pixel high.
    pub input: &'a Tensor,
    /// (B, H, W, C2): channels that continue those of `input`.
    pub input2: Option<&'a Tensor>,
    /// (kernel, kernel, C + C2, N), as `weights` packs it.
    pub weight: &'a Tensor,
    /// (N), f32.
    pub bias: Option<&'a Tensor>,
    /// Added before the activation.
    pub row_bias: Option<RowBias<'a>>,
    /// What follows.
    pub activation: Activation,
    /// As the result; added last (but for a ReLU).
    pub residual: Option<&'a Tensor>,
    /// Filter geometry.
    pub geometry: Geometry,
    /// Storage of the result; the input's if `None`.
    pub out: Option<Storage>,
    /// A part alone.
    pub strip: Option<Strip<'a>>,
}

const SHARED: &str = include_str!("gemm.wgsl");
const DIRECT: &str = include_str!("gemm_direct.wgsl");
const TILED: &str = include_str!("gemm_tiled.wgsl");

/// The tile shape of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 4×8 per thread, no workgroup memory: for software adapters.
    Direct,
    /// 64×64 per workgroup through workgroup memory.
    Tiled,
}

/// The product, on the tile shape that suits the adapter.
pub fn gemm(args: &Gemm) -> Tensor {
    let tile = if args.input.gpu().adapter().software { Tile::Direct } else { Tile::Tiled };
    gemm_on(tile, args)
}

/// The product on a given tile shape.
pub fn gemm_on(tile: Tile, args: &Gemm) -> Tensor {
    let (batch, in_h, in_w, c1) = match *args.input.shape() {
        [batch, height, width, channels] => (batch, height, width, channels),
        [batch, tokens, channels] => (batch, 1, tokens, channels),
        _ => panic!("gemm: input {:?}", args.input.shape()),
    };
    let c2 = args.input2.map_or(0, |input2| input2.shape()[3]);
    let &[kernel, _, channels, n] = args.weight.shape() else { panic!("gemm weight is {:?}", args.weight.shape()) };
    assert_eq!(channels, c1 + c2, "gemm: weight for {channels} channels, input of {c1} + {c2}");
    let Geometry { stride, padding, padding_end, stretched, .. } = args.geometry;
    assert_eq!(kernel, args.geometry.kernel, "gemm: filter of side {kernel}");
    let (up_h, up_w) = stretched.unwrap_or((in_h, in_w));
    let all_h = (up_h + padding + padding_end - kernel) / stride + 1;
    let out_h = args.strip.map_or(all_h, |strip| strip.out.shape()[1]);
    let out_w = (up_w + padding + padding_end - kernel) / stride + 1;
    let rows = batch * out_h * out_w;
    let geglu = args.activation == Activation::Geglu;
    let out_n = if geglu { n / 2 } else { n };

    let gpu = args.input.gpu();
    let shape: &[usize] =
        if args.input.shape().len() == 3 { &[batch, out_w, out_n] } else { &[batch, out_h, out_w, out_n] };
    let out = match args.strip {
        Some(strip) => strip.out.clone(),
        None => gpu.result(shape, args.out.unwrap_or(args.input.storage())),
    };
    assert_eq!(out.shape(), shape, "gemm: a strip from {:?}", args.input.shape());
    if let Some(residual) = args.residual {
        assert_eq!(residual.len(), out.len(), "gemm: residual {:?} onto {:?}", residual.shape(), out.shape());
    }
    let (wgsl, rows_per_group, columns_per_group) = match tile {
        Tile::Direct => (DIRECT, 32, 64),
        Tile::Tiled => (TILED, 64, 64),
    };
    let row_groups = rows.div_ceil(rows_per_group);
    let groups_y = row_groups.min(65535);
    gpu.run(Kernel {
        name: "gemm",
        wgsl: &[SHARED, wgsl],
        constants: &[
            ("KERNEL", kernel.into()),
            ("POINTWISE", (kernel == 1 && stride == 1 && stretched.is_none()).into()),
            ("TWO_INPUTS", args.input2.is_some().into()),
            ("BIAS", args.bias.is_some().into()),
            ("ROW_BIAS", args.row_bias.is_some().into()),
            ("RESIDUAL", args.residual.is_some().into()),
            ("ADD", args.strip.is_some_and(|strip| strip.add).into()),
            ("GEGLU", geglu.into()),
            ("ACTIVATION", activation_number(args.activation).into()),
        ],
        params: &[
            ("rows", rows.into()),
            ("groups_y", groups_y.into()),
            ("c1", (c1 / 4).into()),
            ("c2", (c2 / 4).into()),
            ("n4", (n / 4).into()),
            ("in_h", in_h.into()),
            ("in_w", in_w.into()),
            ("up_h", up_h.into()),
            ("up_w", up_w.into()),
            ("out_h", out_h.into()),
            ("out_w", out_w.into()),
            ("stride", stride.into()),
            ("pad", padding.into()),
            ("above", args.strip.map_or(0, |strip| strip.above).into()),
        ],
        // The strips of a picture differ in their sizes, but a pipeline for each would cost more than it gains.
        uniform: args.strip.is_some(),
        read: &[
            Some(args.input),
            args.input2,
            Some(args.weight),
            args.bias,
            args.row_bias.map(|bias| bias.rows),
            args.row_bias.map(|bias| bias.step),
            args.residual,
        ],
        write: &[&out],
        workgroups: [n.div_ceil(columns_per_group), groups_y, row_groups.div_ceil(groups_y)],
        flops: 2 * rows as u64 * (n * kernel * kernel * channels) as u64,
    });
    out
}

fn activation_number(activation: Activation) -> usize {
    match activation {
        Activation::None | Activation::Geglu => 0,
        Activation::Silu => 1,
        Activation::QuickGelu => 2,
        Activation::Relu => 3,
    }
}
