//! A batch that comes several times.

use crate::gpu::{Kernel, Tensor};

/// (B, …) → (times · B, …).
pub fn repeat(x: &Tensor, times: usize) -> Tensor {
    let mut shape = x.shape().to_vec();
    shape[0] *= times;
    let result = x.gpu().result(&shape, x.storage());
    let groups = (result.len() / 4).div_ceil(64);
    let groups_x = groups.min(65535);
    x.gpu().run(Kernel {
        name: "repeat",
        class: "repeat",
        wgsl: &[wgsl!("repeat.wgsl")],
        constants: &[],
        params: &[("vectors", (x.len() / 4).into()), ("times", times.into()), ("groups_x", groups_x.into())],
        uniform: false,
        read: &[Some(x)],
        write: &[Some(&result)],
        workgroups: [groups_x, groups.div_ceil(groups_x), 1],
        flops: 0,
    });
    result
}
