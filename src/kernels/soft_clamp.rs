//! Latents, bent softly into −3…3: TAESD's first layer.

use crate::gpu::{Kernel, Storage, Tensor};

/// 3 · tanh(x / 3) of `x` (1, h, w, 4), which is f32, in `storage`.
pub fn soft_clamp(x: &Tensor, storage: Storage) -> Tensor {
    let gpu = x.gpu();
    let vectors = x.len() / 4;
    let result = gpu.result(x.shape(), storage);
    gpu.run(Kernel {
        name: "soft_clamp",
        class: "soft_clamp",
        wgsl: &[wgsl!("soft_clamp.wgsl")],
        constants: &[],
        params: &[("vectors", vectors.into())],
        uniform: false,
        read: &[Some(x)],
        write: &[Some(&result)],
        workgroups: [vectors.div_ceil(64), 1, 1],
        flops: 0,
    });
    result
}
