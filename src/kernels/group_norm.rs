//! Group normalisation (Wu and He 2018), with SiLU if wanted.
//!
//! This file explains one kernel from end to end; the others are built alike and may be terse.
//!
//! **Maths.** The channels of a pixel are split into `groups` equal runs. For each batch item and group, mean and
//! variance are taken over all pixels and the group's channels; every number becomes
//! `(x − mean) / √(variance + ε) · gamma[channel] + beta[channel]`.
//!
//! **Shapes.** `x` is (B, H, W, C). A second input continues its channels: in the UNet's up blocks the skip
//! connection is normalised together with `x`, and the concatenation of the two never exists in memory except as
//! this kernel's result.
//!
//! **Workgroups.** A group's numbers are spread over the whole picture, so one pass cannot do it. `group_norm_stats`
//! has a workgroup for each (group, slab of pixels, batch item) and leaves count, mean and squared deviations;
//! `group_norm` merges the slabs (each workgroup for itself: they are few) and writes the result. On GPUs the product
//! that made the input has left the statistics of its tiles ([`Measured`]) where they are few enough, and
//! `group_norm_tiles` is all there is to do.
//!
//! Adapters that are programs on a CPU have kernels of the same two steps in which no thread waits for another
//! (`group_norm_each_stats`, `group_norm_columns`).
//!
//! **Reference and test.** `tests/kernels/group_norm.rs` computes the same loop by loop in f64.

use crate::gpu::{Gpu, Kernel, Storage, Tensor};

use super::measured::{self, Measure, Measured, TILE};

/// One normalisation.
pub struct GroupNorm<'a> {
    /// (B, H, W, C).
    pub input: &'a Measured,
    /// (B, H, W, C2): channels that continue those of `input`.
    pub input2: Option<&'a Measured>,
    /// (C + C2), f32.
    pub gamma: &'a Tensor,
    /// (C + C2), f32.
    pub beta: &'a Tensor,
    /// Number of groups.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Apply SiLU to the result.
    pub silu: bool,
}

const INPUT: &str = wgsl!("group_norm_input.wgsl");

/// Pixels of a slab: enough slabs to fill a GPU, few enough to merge.
const SLAB_PIXELS: usize = 256;
const MOST_SLABS: usize = 64;
/// Pixels of a thread on adapters that are programs on a CPU.
const RUN: usize = 64;
/// Channels that a workgroup normalises at least, where it has the statistics of tiles.
const BLOCK_CHANNELS: usize = 32;

/// Count, mean and squared deviations of each group in each slab of pixels. A picture may come in strips, one call each.
pub struct Moments {
    partial: Tensor, // (B, slabs, groups, 4), f32
    slab_pixels: usize,
    taken: usize,
    in_strips: bool,
}

impl Moments {
    /// Room for those of `batch` pictures of `pixels` that come in strips of `strip` pixels, the last with what is left.
    pub fn new(gpu: &Gpu, batch: usize, groups: usize, pixels: usize, strip: usize) -> Self {
        let strips = pixels.div_ceil(strip);
        let slab_pixels = SLAB_PIXELS.max(strip.div_ceil((MOST_SLABS / strips).max(1))).min(strip);
        let slabs = pixels / strip * strip.div_ceil(slab_pixels) + (pixels % strip).div_ceil(slab_pixels);
        let partial = gpu.result(&[batch, slabs, groups, 4], Storage::F32);
        Self { partial, slab_pixels, taken: 0, in_strips: strips > 1 }
    }

    fn slabs(&self) -> usize {
        self.partial.shape()[1]
    }

    /// Takes in the picture, or its next strip.
    pub fn measure(&mut self, args: &GroupNorm) {
        let Sizes { batch, pixels, c1, c2 } = args.sizes();
        let slabs = pixels.div_ceil(self.slab_pixels);
        assert!(self.taken + slabs <= self.slabs(), "group_norm: a strip more than there is room for");
        let (wgsl, groups) = match args.gpu().adapter().software {
            true => (wgsl!("group_norm_each_stats.wgsl"), args.groups.div_ceil(32)),
            false => (wgsl!("group_norm_stats.wgsl"), args.groups),
        };
        args.gpu().run(Kernel {
            name: "group_norm_stats",
            class: "group_norm_stats",
            wgsl: &[INPUT, wgsl],
            constants: &[("TWO_INPUTS", args.input2.is_some().into())],
            params: &[
                ("c1", (c1 / 4).into()),
                ("c2", (c2 / 4).into()),
                ("pixels", pixels.into()),
                ("slabs", self.slabs().into()),
                ("group_channels", ((c1 + c2) / args.groups).into()),
                ("slab_pixels", self.slab_pixels.into()),
                ("first_slab", self.taken.into()),
                ("groups", args.groups.into()),
            ],
            uniform: self.in_strips,
            read: &args.inputs(),
            write: &[Some(&self.partial)],
            workgroups: [groups, slabs, batch],
            flops: 0,
        });
        self.taken += slabs;
    }

    /// The picture, or some rows of it, normalised with the statistics of all of it.
    pub fn normalise(&self, args: &GroupNorm) -> Tensor {
        assert_eq!(self.taken, self.slabs(), "group_norm: strips are missing");
        let Sizes { batch, pixels, c1, c2 } = args.sizes();
        let (result, [x, x2]) = (args.result(), args.inputs());
        let vectors = (c1 + c2) / 4;
        let (wgsl, workgroups) = match args.gpu().adapter().software {
            true => (wgsl!("group_norm_columns.wgsl"), (vectors * pixels.div_ceil(RUN)).div_ceil(32)),
            false => (wgsl!("group_norm.wgsl"), (pixels * vectors).div_ceil(64 * 8)),
        };
        let groups_x = workgroups.min(65535);
        args.gpu().run(Kernel {
            name: "group_norm",
            class: "group_norm",
            wgsl: &[INPUT, wgsl],
            constants: &[
                ("TWO_INPUTS", args.input2.is_some().into()),
                ("SILU", args.silu.into()),
                ("GROUPS", args.groups.into()),
                ("RUN", RUN.into()),
            ],
            params: &[
                ("c1", (c1 / 4).into()),
                ("c2", (c2 / 4).into()),
                ("pixels", pixels.into()),
                ("slabs", self.slabs().into()),
                ("group_channels", ((c1 + c2) / args.groups).into()),
                ("epsilon", args.epsilon.into()),
                ("groups_x", groups_x.into()),
            ],
            uniform: self.in_strips,
            read: &[x, x2, Some(&self.partial), Some(args.gamma), Some(args.beta)],
            write: &[Some(&result)],
            workgroups: [groups_x, workgroups.div_ceil(groups_x), batch],
            flops: 0,
        });
        result
    }
}

struct Sizes {
    batch: usize,
    pixels: usize,
    c1: usize,
    c2: usize,
}

impl GroupNorm<'_> {
    fn gpu(&self) -> &Gpu {
        self.input.tensor.gpu()
    }

    fn inputs(&self) -> [Option<&Tensor>; 2] {
        [Some(&self.input.tensor), self.input2.map(|input2| &input2.tensor)]
    }

    fn sizes(&self) -> Sizes {
        let shape = self.input.tensor.shape();
        let &[batch, height, width, c1] = shape else { panic!("group_norm: {shape:?}") };
        let c2 = self.input2.map_or(0, |input2| input2.tensor.shape()[3]);
        assert_eq!((c1 + c2) % self.groups, 0, "group_norm: {} channels in {} groups", c1 + c2, self.groups);
        assert_eq!(self.gamma.len(), c1 + c2, "group_norm: gamma {:?}", self.gamma.shape());
        Sizes { batch, pixels: height * width, c1, c2 }
    }

    fn result(&self) -> Tensor {
        let (x, channels) = (&self.input.tensor, self.gamma.len());
        self.gpu().result(&[x.shape()[0], x.shape()[1], x.shape()[2], channels], x.storage())
    }

    /// From the statistics that the products before it left, if all did.
    fn merge_tiles(&self) -> Option<Tensor> {
        let moments = self.input.moments(Measure::Channels)?;
        let moments2 = match self.input2 {
            Some(input2) => Some(input2.moments(Measure::Channels)?),
            None => None,
        };
        let Sizes { batch, pixels, c1, c2 } = self.sizes();
        let group_channels = (c1 + c2) / self.groups;
        // Whole vectors, and enough of them side by side to be read at once.
        let whole = |groups: &usize| groups * group_channels % 4 == 0 && groups * group_channels >= BLOCK_CHANNELS;
        let block_groups = (1..self.groups).find(whole).unwrap_or(self.groups);
        let tiles = |moments: &measured::Moments| moments.tensor.shape()[0] / batch;
        let (tiles1, tiles2) = (tiles(moments), moments2.map_or(0, tiles));
        // Merging the tiles takes as long as normalising that many pixels, or less.
        let block_pixels = (4 * tiles1.max(tiles2)).max(TILE);
        let (result, [x, x2]) = (self.result(), self.inputs());
        self.gpu().run(Kernel {
            name: "group_norm",
            class: "group_norm",
            wgsl: &[INPUT, wgsl!("group_norm_tiles.wgsl")],
            constants: &[
                ("TWO_INPUTS", self.input2.is_some().into()),
                ("SILU", self.silu.into()),
                ("TEAMS", block_groups.next_power_of_two().into()),
            ],
            params: &[
                ("c1", (c1 / 4).into()),
                ("c2", (c2 / 4).into()),
                ("pixels", pixels.into()),
                ("groups", self.groups.into()),
                ("group_channels", group_channels.into()),
                ("block_groups", block_groups.into()),
                ("block_pixels", block_pixels.into()),
                ("tiles", tiles1.into()),
                ("tiles2", tiles2.into()),
                ("run", moments.run.into()),
                ("run2", moments2.map_or(1, |moments| moments.run).into()),
                ("epsilon", self.epsilon.into()),
            ],
            uniform: false,
            read: &[
                x,
                x2,
                Some(&moments.tensor),
                moments2.map(|moments| &moments.tensor),
                Some(self.gamma),
                Some(self.beta),
            ],
            write: &[Some(&result)],
            workgroups: [self.groups.div_ceil(block_groups), pixels.div_ceil(block_pixels), batch],
            flops: 0,
        });
        Some(result)
    }
}

/// The normalised tensor, (B, H, W, C + C2).
pub fn group_norm(args: &GroupNorm) -> Tensor {
    args.merge_tiles().unwrap_or_else(|| {
        let Sizes { batch, pixels, .. } = args.sizes();
        let mut moments = Moments::new(args.gpu(), batch, args.groups, pixels, pixels);
        moments.measure(args);
        moments.normalise(args)
    })
}
