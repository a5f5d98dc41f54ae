//! The filter of 3×3 that was split into the filters of four phases.

use crate::gpu::{Kernel, Tensor};

/// (4 · 2, 2, C, N), as `pack_weights` splits it, → (3, 3, C, N). Where the storage is halves, sums were rounded in
/// between.
pub fn whole_filter(phases: &Tensor) -> Tensor {
    let &[8, 2, channels, n] = phases.shape() else { panic!("whole_filter: {:?}", phases.shape()) };
    let result = phases.gpu().result(&[3, 3, channels, n], phases.storage());
    let vectors = channels * n / 4;
    let groups = vectors.div_ceil(64);
    let groups_x = groups.min(65535);
    phases.gpu().run(Kernel {
        name: "whole_filter",
        class: "whole_filter",
        wgsl: &[wgsl!("whole_filter.wgsl")],
        constants: &[],
        params: &[("vectors", vectors.into()), ("groups_x", groups_x.into())],
        uniform: true,
        read: &[Some(phases)],
        write: &[Some(&result)],
        workgroups: [groups_x, groups.div_ceil(groups_x), 1],
        flops: 0,
    });
    result
}
