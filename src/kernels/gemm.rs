//! The matrix product under every linear layer and every convolution, with what follows it.

use crate::gpu::{Kernel, Storage, Tensor, Value};

use super::choice;
use super::layer_norm::EPSILON;
use super::measured::{self, Measure, Measured, Moments};
use super::product::{Activation, Gemm, Geometry, Strip};
use super::tile::{Memory, Tile};

const SHARED: &str = wgsl!("gemm.wgsl");
const DIRECT: &str = wgsl!("gemm_direct.wgsl");
const LANES: &str = wgsl!("gemm_lanes.wgsl");
const PART: &str = wgsl!("gemm_part.wgsl");
const TILED: &str = wgsl!("gemm_tiled.wgsl");
const REDUCE: &str = wgsl!("gemm_reduce.wgsl");
const WINOGRAD: &str = wgsl!("gemm_winograd.wgsl");
// No browser has matrix units, so that a page need not download this.
#[cfg(not(target_arch = "wasm32"))]
const COOPERATIVE: &str = wgsl!("gemm_cooperative.wgsl");
#[cfg(target_arch = "wasm32")]
const COOPERATIVE: &str = "";

/// The matrices of an adapter whose matrix units multiply those of this side: they are types, which no constant can choose.
pub fn matrices(side: usize) -> &'static str {
    match side {
        8 => "alias Left = coop_mat8x8<f16, A>; alias Right = coop_mat8x8<f16, B>; alias Sum = coop_mat8x8<f32, C>;\n",
        16 => {
            "alias Left = coop_mat16x16<f16, A>; alias Right = coop_mat16x16<f16, B>; alias Sum = coop_mat16x16<f32, C>;\n"
        }
        _ => panic!("matrices of {side} × {side}"),
    }
}

/// The product, on the tile shape that suits the adapter.
pub fn gemm(args: &Gemm) -> Tensor {
    gemm_on(choice::tile(args), args)
}

/// The product, with its statistics where the adapter's tile shape keeps them.
pub fn gemm_measured(args: &Gemm, measure: Measure) -> Measured {
    gemm_measured_on(choice::tile(args), args, measure)
}

/// The tile shape can compute the product.
pub(super) fn suits(tile: Tile, args: &Gemm) -> bool {
    Problem::of(args).suits(tile, args)
}

/// The product on a given tile shape.
pub fn gemm_on(tile: Tile, args: &Gemm) -> Tensor {
    Problem::of(args).run(tile, args, None).tensor
}

/// The product with its statistics on a given tile shape.
pub fn gemm_measured_on(tile: Tile, args: &Gemm, measure: Measure) -> Measured {
    Problem::of(args).run(tile, args, Some(measure))
}

/// The most tiles of a picture whose statistics the next normalisation can merge on its way.
const MOST_TILES: usize = 512;

/// The sizes of a product.
struct Problem {
    batch: usize,
    input: [usize; 2], // H, W
    stretched: [usize; 2],
    channels: [usize; 2], // C, C2
    /// Rows and columns of pixels of the result, of one parity.
    run: [usize; 2],
    n: usize,
    /// Columns of the result.
    width: usize,
    /// Shape of the result.
    shape: Vec<usize>,
}

impl Problem {
    fn of(args: &Gemm) -> Self {
        let (batch, in_h, in_w, c1) = match *args.input.shape() {
            [batch, height, width, channels] => (batch, height, width, channels),
            [batch, tokens, channels] => (batch, 1, tokens, channels),
            _ => panic!("gemm: input {:?}", args.input.shape()),
        };
        let c2 = args.input2.map_or(0, |input2| input2.shape()[3]);
        let &[side, kernel, channels, n] = args.weight.shape() else {
            panic!("gemm weight is {:?}", args.weight.shape())
        };
        assert_eq!(channels, c1 + c2, "gemm: weight for {channels} channels, input of {c1} + {c2}");
        let Geometry { stride, padding, padding_end, stretched, phases, .. } = args.geometry;
        assert_eq!((kernel, side), (args.geometry.kernel, phases * kernel), "gemm: filter of side {kernel}");
        let stretched = stretched.map_or([in_h, in_w], |(h, w)| [h, w]);
        let side = |from: usize| if phases == 4 { from } else { (from + padding + padding_end - kernel) / stride + 1 };
        let factor = if phases == 4 { 2 } else { 1 };
        let run_h = args.strip.map_or(side(stretched[0]), |strip| strip.out.shape()[1] / factor);
        let run = [run_h, side(stretched[1])];
        let width = if args.activation == Activation::Geglu { n / 2 } else { n };
        let [out_h, out_w] = run.map(|side| side * factor);
        let shape =
            if args.input.shape().len() == 3 { vec![batch, out_w, width] } else { vec![batch, out_h, out_w, width] };
        Self { batch, input: [in_h, in_w], stretched, channels: [c1, c2], run, n, width, shape }
    }

    /// The tensor that the product is written to.
    fn result(&self, args: &Gemm) -> Tensor {
        let out = match args.strip {
            Some(strip) => strip.out.clone(),
            None => args.input.gpu().result(&self.shape, args.out.unwrap_or(args.input.storage())),
        };
        assert_eq!(out.shape(), self.shape, "gemm: a strip from {:?}", args.input.shape());
        if let Some(residual) = args.residual {
            assert_eq!(out.len() % residual.len(), 0, "gemm: residual {:?} onto {:?}", residual.shape(), out.shape());
        }
        out
    }

    /// Room for the statistics, if they are kept.
    fn moments(&self, tile: Tile, args: &Gemm, measure: Option<Measure>) -> Option<Moments> {
        let run: usize = self.run.iter().product();
        let tiles = args.geometry.phases * run.div_ceil(measured::TILE);
        let of = measure.filter(|&of| match tile.memory {
            Memory::None | Memory::Lanes(_) => false,
            // Its workgroups compute no 64 neighbouring columns.
            Memory::Transformed if of == Measure::Rows => false,
            _ => of == Measure::Rows || tiles <= MOST_TILES,
        })?;
        let shape = match of {
            Measure::Channels => [self.batch * tiles, 2, self.width],
            Measure::Rows => [self.width.div_ceil(measured::TILE), 2, (self.batch * run).next_multiple_of(4)],
        };
        Some(Moments { of, tensor: args.input.gpu().result(&shape, Storage::F32), run })
    }

    fn run(&self, tile: Tile, args: &Gemm, measure: Option<Measure>) -> Measured {
        let (out, moments) = (self.result(args), self.moments(tile, args, measure));
        if tile.slices == 1 {
            self.multiply(tile, args, &out, moments.as_ref());
        } else {
            let shape = [tile.slices, args.geometry.phases * self.rows(), self.n];
            let partials = args.input.gpu().result(&shape, Storage::F32);
            let strip = args.strip.map(|strip| Strip { add: false, ..strip });
            let (bias, row_bias, activation, residual) = (None, None, Activation::None, None);
            self.multiply(tile, &Gemm { bias, row_bias, activation, residual, strip, ..*args }, &partials, None);
            self.reduce(tile.slices, args, &partials, &out, moments.as_ref());
        }
        Measured { tensor: out, moments }
    }

    /// The tile shape can compute it.
    fn suits(&self, tile: Tile, args: &Gemm) -> bool {
        let Geometry { kernel, phases, stride, .. } = args.geometry;
        let filter = (kernel, phases, stride) == (3, 1, 1) && self.stretched == self.input;
        let even = self.run.iter().all(|side| side % 2 == 0);
        tile.memory != Memory::Transformed || (filter && even && args.normal.is_none() && tile.slices == 1)
    }

    /// The product itself, into the result or, in slices, into `out` (slices, phases · rows, N).
    fn multiply(&self, tile: Tile, args: &Gemm, out: &Tensor, moments: Option<&Moments>) {
        let normal = args.normal.map(|normal| (normal.input.moments(Measure::Rows), normal.affine));
        let normal = normal.map(|(moments, affine)| (&moments.expect("gemm: rows without statistics").tensor, affine));
        let direct = matches!(tile.memory, Memory::None | Memory::Lanes(_));
        let side = args.input.gpu().adapter().matrices.unwrap_or(0);
        assert!(self.suits(tile, args), "gemm: {tile} for {:?}", args.geometry);
        let halves = args.input.storage() == Storage::F16;
        assert!(tile.memory != Memory::Cooperative || (halves && side > 0), "gemm: {tile} without matrix units");
        let subgroups = args.input.gpu().adapter().subgroups;
        assert!(
            !matches!(tile.memory, Memory::Lanes(threads) if threads > subgroups),
            "gemm: {tile} on subgroups of {subgroups}"
        );
        let narrow = matches!(tile.memory, Memory::Lanes(threads) if tile.columns == 4 * threads);
        assert!(!narrow || args.activation != Activation::Geglu, "gemm: {tile} knows no gates");
        assert!(!direct || (normal.is_none() && tile.slices == 1), "gemm: {tile} knows no norm and no slices");
        let (run_rows, row_groups) = self.row_groups(args, moments, tile.rows);
        let groups_y = row_groups.min(65535);
        let z = if tile.slices == 1 { row_groups.div_ceil(groups_y) } else { tile.slices };
        assert!(tile.slices == 1 || row_groups == groups_y, "gemm: slices of {row_groups} tiles of rows");
        let flops = 2 * self.rows() as u64 * args.weight.len() as u64;
        let (wgsl, flops): (&[&str], u64) = match tile.memory {
            Memory::None => (&[SHARED, DIRECT], flops),
            Memory::Lanes(_) => (&[SHARED, LANES], flops),
            Memory::Single | Memory::Stored => (&[SHARED, PART, TILED], flops),
            Memory::Transformed => (&[SHARED, WINOGRAD], flops / 9 * 4),
            Memory::Cooperative => (&[SHARED, PART, matrices(side), COOPERATIVE], flops),
        };
        args.input.gpu().run(Kernel {
            name: "gemm",
            class: class(args),
            wgsl,
            constants: &constants(args, moments, tile, side),
            params: &self.params(args, run_rows, groups_y),
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
                normal.map(|(moments, _)| moments),
                normal.map(|(_, affine)| affine),
                None,
            ],
            write: &[Some(out), moments.map(|moments| &moments.tensor)],
            workgroups: [self.n.div_ceil(tile.columns), groups_y, z],
            flops,
        });
    }

    /// Adds up the slices and does what follows.
    fn reduce(&self, slices: usize, args: &Gemm, partials: &Tensor, out: &Tensor, moments: Option<&Moments>) {
        let [rows, columns] =
            if moments.is_some_and(|moments| moments.of == Measure::Rows) { [16, 64] } else { [64, 16] };
        let tile = Tile { slices, ..Tile::SQUARE };
        let (run_rows, row_groups) = self.row_groups(args, moments, rows);
        let groups_y = row_groups.min(65535);
        args.input.gpu().run(Kernel {
            name: "gemm_reduce",
            class: "sums of slices",
            wgsl: &[SHARED, REDUCE],
            constants: &constants(&Gemm { normal: None, input2: None, ..*args }, moments, tile, 0),
            params: &self.params(args, run_rows, groups_y),
            uniform: args.strip.is_some(),
            read: &[
                None,
                None,
                None,
                args.bias,
                args.row_bias.map(|bias| bias.rows),
                args.row_bias.map(|bias| bias.step),
                args.residual,
                None,
                None,
                Some(partials),
            ],
            write: &[Some(out), moments.map(|moments| &moments.tensor)],
            workgroups: [self.n.div_ceil(columns), groups_y, row_groups.div_ceil(groups_y)],
            flops: 0,
        });
    }

    /// Rows that follow each other without another's between them, and how many workgroups of `height` rows there are.
    fn row_groups(&self, args: &Gemm, moments: Option<&Moments>, height: usize) -> (usize, usize) {
        let rows = self.rows();
        let channels = moments.is_some_and(|moments| moments.of == Measure::Channels);
        let run_rows = if channels { rows / self.batch } else { rows };
        (run_rows, rows / run_rows * args.geometry.phases * run_rows.div_ceil(height))
    }

    /// Rows of the product, of one parity.
    fn rows(&self) -> usize {
        self.batch * self.run[0] * self.run[1]
    }

    fn params(&self, args: &Gemm, run_rows: usize, groups_y: usize) -> [(&'static str, Value); 18] {
        let Self { input, stretched, channels, run, .. } = *self;
        let above = args.strip.map_or(0, |strip| strip.above);
        [
            ("rows", self.rows().into()),
            ("run_rows", run_rows.into()),
            ("moment_rows", self.rows().next_multiple_of(4).into()),
            ("groups_y", groups_y.into()),
            ("c1", (channels[0] / 4).into()),
            ("c2", (channels[1] / 4).into()),
            ("n4", (self.n / 4).into()),
            ("residuals", (args.residual.map_or(4, Tensor::len) / 4).into()),
            ("in_h", input[0].into()),
            ("in_w", input[1].into()),
            ("up_h", stretched[0].into()),
            ("up_w", stretched[1].into()),
            ("run_h", run[0].into()),
            ("run_w", run[1].into()),
            ("stride", args.geometry.stride.into()),
            ("pad", args.geometry.padding.into()),
            ("above", if args.geometry.phases == 4 { above / 2 } else { above }.into()),
            ("epsilon", EPSILON.into()),
        ]
    }
}

/// `side` is that of the adapter's matrices.
fn constants(args: &Gemm, moments: Option<&Moments>, tile: Tile, side: usize) -> [(&'static str, Value); 23] {
    let Geometry { kernel, phases, stride, stretched, .. } = args.geometry;
    let lanes = if let Memory::Lanes(threads) = tile.memory { threads } else { 1 };
    let vectors = if lanes > 1 { tile.columns / 4 / lanes } else { 2 };
    let measure: usize = match moments.map(|moments| moments.of) {
        None => 0,
        Some(Measure::Channels) => 1,
        Some(Measure::Rows) => 2,
    };
    [
        ("ROWS", tile.rows.into()),
        ("COLUMNS", tile.columns.into()),
        ("DEPTH", tile.depth.into()),
        ("STORED", (tile.memory == Memory::Stored).into()),
        ("SLICES", tile.slices.into()),
        ("SIDE", side.into()),
        ("TEAMS", tile.teams.into()),
        ("LANES", lanes.into()),
        ("VECTORS", vectors.into()),
        ("BRINGS", (tile.rows / lanes).into()),
        ("KERNEL", kernel.into()),
        ("PHASES", phases.into()),
        ("POINTWISE", (kernel == 1 && stride == 1 && stretched.is_none()).into()),
        ("STRETCHED", stretched.is_some().into()),
        ("TWO_INPUTS", args.input2.is_some().into()),
        ("NORMAL", args.normal.is_some().into()),
        ("BIAS", args.bias.is_some().into()),
        ("ROW_BIAS", args.row_bias.is_some().into()),
        ("RESIDUAL", args.residual.is_some().into()),
        ("ADD", args.strip.is_some_and(|strip| strip.add).into()),
        ("GEGLU", (args.activation == Activation::Geglu).into()),
        ("ACTIVATION", activation_number(args.activation).into()),
        ("MEASURE", measure.into()),
    ]
}

/// What the product is in the work model.
fn class(args: &Gemm) -> &'static str {
    match args.geometry {
        Geometry { kernel: 1, .. } if args.input.shape().len() == 3 => "linear",
        Geometry { kernel: 1, .. } => "conv 1×1",
        Geometry { stride: 2, .. } => "conv 3×3, stride 2",
        Geometry { phases: 4, .. } => "conv 2×2 in four phases",
        Geometry { stretched: Some(_), .. } => "conv 3×3 of the stretched",
        _ => "conv 3×3",
    }
}

fn activation_number(activation: Activation) -> usize {
    match activation {
        Activation::None | Activation::Geglu => 0,
        Activation::Silu => 1,
        Activation::QuickGelu => 2,
        Activation::Relu => 3,
    }
}
