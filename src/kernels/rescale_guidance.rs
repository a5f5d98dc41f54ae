//! How much contrast guidance added to each picture.

use crate::gpu::{Kernel, Storage, Tensor};

/// How guidance is rescaled (Lin et al. 2024, section 3.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescale {
    /// How far: 0 is not at all.
    pub multiplier: f32,
    /// The strength of guidance, which is in the weights of `step`.
    pub cfg: f32,
}

/// For each of `pictures` the factor of its guided output, first of four: (pictures, 4), f32.
///
/// `eps` is (B, n·h, w, 4) for B prompts, `registers` (R, n·h, w, 4), the latents first; both f32. `step` is that of
/// `sampler_step`, which takes the factors; so is `repaint`.
pub fn rescale_guidance(
    eps: &Tensor,
    step: &Tensor,
    repaint: Option<&Tensor>,
    registers: &Tensor,
    pictures: usize,
    rescale: Rescale,
) -> Tensor {
    let &[prompts, height, width, 4] = eps.shape() else { panic!("rescale_guidance: {:?}", eps.shape()) };
    assert_eq!(registers.shape()[1..], [height, width, 4], "rescale_guidance: registers {:?}", registers.shape());
    assert_eq!(height % pictures, 0, "rescale_guidance: {pictures} pictures in {:?}", eps.shape());
    let all = height * width;
    let gpu = eps.gpu();
    let factors = gpu.result(&[pictures, 4], Storage::F32);
    gpu.run(Kernel {
        name: "rescale_guidance",
        class: "rescale_guidance",
        wgsl: &[wgsl!("repaint.wgsl"), wgsl!("rescale_guidance.wgsl")],
        constants: &[("REPAINT", repaint.is_some().into())],
        params: &[
            ("pixels", all.into()),
            ("picture", (all / pictures).into()),
            ("batch", prompts.into()),
            ("multiplier", rescale.multiplier.into()),
            ("cfg", rescale.cfg.into()),
        ],
        // Another strength of guidance is no other program.
        uniform: true,
        read: &[Some(eps), Some(step), repaint, Some(registers)],
        write: &[Some(&factors)],
        workgroups: [pictures, 1, 1],
        flops: 0,
    });
    factors
}
