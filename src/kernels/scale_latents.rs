//! Latents, scaled and repeated over the batch, as the input of a network.

use crate::gpu::{Kernel, Storage, Tensor};

/// `latents` (1, h, w, 4) · `step[1]`, repeated to (batch, h, w, 4) in `storage`. All inputs are f32.
///
/// With `repaint`, as [`sampler_step`](super::sampler_step) describes it, the network sees the picture under fresh noise
/// where nothing is to be painted.
pub fn scale_latents(
    latents: &Tensor,
    step: &Tensor,
    repaint: Option<&Tensor>,
    batch: usize,
    storage: Storage,
) -> Tensor {
    let &[_, h, w, channels] = latents.shape() else { panic!("scale_latents: {:?}", latents.shape()) };
    let gpu = latents.gpu();
    let result = gpu.result(&[batch, h, w, channels], storage);
    gpu.run(Kernel {
        name: "scale_latents",
        class: "scale_latents",
        wgsl: &[wgsl!("repaint.wgsl"), wgsl!("scale_latents.wgsl")],
        constants: &[("REPAINT", repaint.is_some().into())],
        params: &[("pixels", (h * w).into()), ("batch", batch.into())],
        uniform: false,
        read: &[Some(latents), Some(step), repaint],
        write: &[Some(&result)],
        workgroups: [(batch * h * w).div_ceil(64), 1, 1],
        flops: 0,
    });
    result
}
