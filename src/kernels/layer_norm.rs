//! Layer normalisation (Ba, Kiros and Hinton 2016) over the last axis.

use crate::gpu::{Kernel, Tensor};

/// ε of every layer norm in SD 1.5 (the default of PyTorch, and that of CLIP's configuration).
pub const EPSILON: f32 = 1e-5;

/// The normalised tensor, as `input`; `affine` is gamma and beta (2, C), f32.
pub fn layer_norm(input: &Tensor, affine: &Tensor) -> Tensor {
    let channels = affine.len() / 2;
    assert_eq!(input.shape().last(), Some(&channels), "layer_norm: {:?} by {channels}", input.shape());
    let rows = input.len() / channels;
    let gpu = input.gpu();
    let (wgsl, rows_each) = match gpu.adapter().software {
        true => (wgsl!("layer_norm_rows.wgsl"), 16),
        false => (wgsl!("layer_norm.wgsl"), 1),
    };
    let groups = rows.div_ceil(rows_each);
    let groups_x = groups.min(65535);
    let result = gpu.result(input.shape(), input.storage());
    gpu.run(Kernel {
        name: "layer_norm",
        class: "layer_norm",
        wgsl: &[wgsl],
        constants: &[],
        params: &[
            ("rows", rows.into()),
            ("c", (channels / 4).into()),
            ("groups_x", groups_x.into()),
            ("epsilon", EPSILON.into()),
        ],
        uniform: false,
        read: &[Some(input), Some(affine)],
        write: &[Some(&result)],
        workgroups: [groups_x, groups.div_ceil(groups_x), 1],
        flops: 0,
    });
    result
}
