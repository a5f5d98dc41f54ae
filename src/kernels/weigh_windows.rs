//! Emphasis as A1111 does it: rows multiplied, the mean restored.

use crate::gpu::{Kernel, Tensor};

/// The weighed windows, as `x` (windows, 77, C); `weights` is (windows · 77, 4), f32, with the weight first.
pub fn weigh_windows(x: &Tensor, weights: &Tensor) -> Tensor {
    let &[windows, tokens, width] = x.shape() else { panic!("weigh_windows: {:?}", x.shape()) };
    assert_eq!((tokens, weights.len()), (77, windows * 77 * 4), "weigh_windows: weights {:?}", weights.shape());
    let gpu = x.gpu();
    let result = gpu.result(x.shape(), x.storage());
    gpu.run(Kernel {
        name: "weigh_windows",
        class: "weigh_windows",
        wgsl: &[wgsl!("weigh_windows.wgsl")],
        constants: &[],
        params: &[("c", (width / 4).into())],
        uniform: false,
        read: &[Some(x), Some(weights)],
        write: &[Some(&result)],
        workgroups: [windows, 1, 1],
        flops: 0,
    });
    result
}
