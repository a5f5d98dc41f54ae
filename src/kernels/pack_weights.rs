//! Weights from the order of files into the order of the kernels, on the GPU.

use crate::gpu::{Kernel, Tensor};

/// Rows of a file's weight, and where they go.
pub struct PackWeights<'a> {
    /// The slice's bytes, in a tensor of f32 that is only a container.
    pub slice: &'a Tensor,
    /// 0: f32, 1: f16, 2: bf16.
    pub dtype: usize,
    /// First row (output channel) of the slice; a multiple of four.
    pub first: usize,
    /// Rows in the slice.
    pub rows: usize,
    /// Input channels in the file.
    pub channels: usize,
    /// Filter taps: 1 or 9.
    pub taps: usize,
    /// (kernel, kernel, C, N); or (4 · 2, 2, C, N), the filters of the four parities of a doubled picture.
    pub packed: &'a Tensor,
    /// First column of N this weight fills (queries, keys and values share one product).
    pub column: usize,
    /// Interleave the two halves of N (GEGLU): the width of a half, or 0.
    pub half: usize,
}

/// Packs one slice.
pub fn pack_weights(args: &PackWeights) {
    let &[height, width, padded_channels, n] = args.packed.shape() else {
        panic!("pack_weights: {:?}", args.packed.shape())
    };
    assert_eq!(args.first % 4, 0, "pack_weights: slice from row {}", args.first);
    let threads = args.rows.div_ceil(4) * padded_channels * height * width;
    let groups = threads.div_ceil(64);
    let groups_x = groups.min(65535);
    args.packed.gpu().run(Kernel {
        name: "pack_weights",
        class: "pack_weights",
        wgsl: &[wgsl!("pack_weights.wgsl")],
        constants: &[("DTYPE", args.dtype.into()), ("PHASED", (height == 8).into())],
        params: &[
            ("rows", args.rows.into()),
            ("first", args.first.into()),
            ("channels", args.channels.into()),
            ("padded_channels", padded_channels.into()),
            ("taps", args.taps.into()),
            ("packed_taps", (height * width).into()),
            ("n4", (n / 4).into()),
            ("column", (args.column / 4).into()),
            ("half_columns", (args.half / 4).into()),
            ("groups_x", groups_x.into()),
        ],
        uniform: true,
        read: &[Some(args.slice)],
        write: &[Some(args.packed)],
        workgroups: [groups_x, groups.div_ceil(groups_x), 1],
        flops: 0,
    });
}
