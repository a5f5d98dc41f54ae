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
//! `group_norm` merges the slabs (each workgroup for itself: they are few) and writes the result.
//!
//! **Reference and test.** `tests/kernels/group_norm.rs` computes the same loop by loop in f64.

use crate::gpu::{Kernel, Storage, Tensor};

/// One normalisation.
pub struct GroupNorm<'a> {
    /// (B, H, W, C).
    pub input: &'a Tensor,
    /// (B, H, W, C2): channels that continue those of `input`.
    pub input2: Option<&'a Tensor>,
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

/// Pixels of a slab: enough slabs to fill a GPU, few enough to merge.
const SLAB_PIXELS: usize = 256;
const MOST_SLABS: usize = 64;

/// The normalised tensor, (B, H, W, C + C2).
pub fn group_norm(args: &GroupNorm) -> Tensor {
    let &[batch, height, width, c1] = args.input.shape() else { panic!("group_norm: {:?}", args.input.shape()) };
    let c2 = args.input2.map_or(0, |input2| input2.shape()[3]);
    let channels = c1 + c2;
    assert_eq!(channels % args.groups, 0, "group_norm: {channels} channels in {} groups", args.groups);
    assert_eq!(args.gamma.len(), channels, "group_norm: gamma {:?}", args.gamma.shape());
    let pixels = height * width;
    let slab_pixels = SLAB_PIXELS.max(pixels.div_ceil(MOST_SLABS)).min(pixels);
    let slabs = pixels.div_ceil(slab_pixels);

    let gpu = args.input.gpu();
    let partial = gpu.result(&[batch, slabs, args.groups, 4], Storage::F32);
    let sizes = [("c1", (c1 / 4).into()), ("c2", (c2 / 4).into()), ("pixels", pixels.into())];
    let shared = [("slabs", slabs.into()), ("group_channels", (channels / args.groups).into())];
    gpu.run(Kernel {
        name: "group_norm_stats",
        wgsl: &[include_str!("group_norm_stats.wgsl")],
        constants: &[("TWO_INPUTS", args.input2.is_some().into())],
        params: &[&sizes[..], &shared, &[("slab_pixels", slab_pixels.into()), ("groups", args.groups.into())]].concat(),
        uniform: false,
        read: &[Some(args.input), args.input2],
        write: &[&partial],
        workgroups: [args.groups, slabs, batch],
        flops: 0,
    });

    let result = gpu.result(&[batch, height, width, channels], args.input.storage());
    let runs = (pixels * channels / 4).div_ceil(64 * 8);
    let groups_x = runs.min(65535);
    gpu.run(Kernel {
        name: "group_norm",
        wgsl: &[include_str!("group_norm.wgsl")],
        constants: &[
            ("TWO_INPUTS", args.input2.is_some().into()),
            ("SILU", args.silu.into()),
            ("GROUPS", args.groups.into()),
        ],
        params: &[&sizes[..], &shared, &[("epsilon", args.epsilon.into()), ("groups_x", groups_x.into())]].concat(),
        uniform: false,
        read: &[Some(args.input), args.input2, Some(&partial), Some(args.gamma), Some(args.beta)],
        write: &[&result],
        workgroups: [groups_x, runs.div_ceil(groups_x), batch],
        flops: 0,
    });
    result
}
