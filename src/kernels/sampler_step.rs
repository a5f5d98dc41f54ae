//! Guidance and one update of the sampler, in place.

use crate::gpu::{Kernel, Tensor};

/// Updates `latents` (1, h, w, 4) from the predicted noise `eps` (B, h, w, 4); all f32. `step` is (8 + B, padded to a
/// multiple of four): index, input scale, σ, nothing, the sampler's `keep` and `toward`, twice nothing, then the weight
/// of each batch item against the first.
pub fn sampler_step(eps: &Tensor, step: &Tensor, latents: &Tensor) {
    let &[_, h, w, _] = latents.shape() else { panic!("sampler_step: {:?}", latents.shape()) };
    let batch = eps.shape()[0];
    assert_eq!(eps.len(), latents.len() * batch, "sampler_step: {:?}", eps.shape());
    assert!(step.len() >= 8 + batch, "sampler_step: {batch} items, step {:?}", step.shape());
    latents.gpu().run(Kernel {
        name: "sampler_step",
        wgsl: &[include_str!("sampler_step.wgsl")],
        constants: &[],
        params: &[("pixels", (h * w).into()), ("batch", batch.into())],
        uniform: false,
        read: &[Some(eps), Some(step)],
        write: &[latents],
        workgroups: [(h * w).div_ceil(64), 1, 1],
        flops: 0,
    });
}
