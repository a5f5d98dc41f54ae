//! Guidance and one update of the sampler, in place.

use crate::gpu::{Kernel, Tensor};

/// Updates `latents` (1, h, w, 4) from the predicted noise `eps` (1 or 2, h, w, 4); all f32. `step` is (8): index,
/// input scale, σ, cfg, then the sampler's `keep` and `toward`.
pub fn sampler_step(eps: &Tensor, step: &Tensor, latents: &Tensor) {
    let &[_, h, w, _] = latents.shape() else { panic!("sampler_step: {:?}", latents.shape()) };
    let guided = eps.shape()[0] == 2;
    assert_eq!(eps.len(), latents.len() * eps.shape()[0], "sampler_step: {:?}", eps.shape());
    latents.gpu().run(Kernel {
        name: "sampler_step",
        wgsl: &[include_str!("sampler_step.wgsl")],
        constants: &[("GUIDED", guided.into())],
        params: &[("pixels", (h * w).into())],
        uniform: false,
        read: &[Some(eps), Some(step)],
        write: &[latents],
        workgroups: [(h * w).div_ceil(64), 1, 1],
        flops: 0,
    });
}
