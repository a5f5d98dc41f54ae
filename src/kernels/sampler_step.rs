//! Guidance, and what a sampler makes of its result: all registers mixed at once, in place.

use crate::gpu::{Kernel, Tensor, Value};

/// Numbers of `step` before the weights.
pub const HEAD: usize = 8;

/// Where the matrix begins in `step`: behind [`HEAD`] numbers and a weight for each of `batch` items.
pub fn matrix_offset(batch: usize) -> usize {
    HEAD + batch.next_multiple_of(4)
}

/// Numbers of `step` for so many batch items and registers.
pub fn step_len(batch: usize, registers: usize) -> usize {
    matrix_offset(batch) + registers * ROW
}

/// A row of the matrix, padded.
pub const ROW: usize = 8;

/// Updates `registers` (R, h, w, 4), the latents first, from the network's output `eps` (B, h, w, 4); all f32.
///
/// Register 1 becomes `skip · latents + out · guided eps`, then all become matrix · registers. Without `eps` they are
/// only mixed. With the `factors` (n, 4) of `rescale_guidance`, one for each of n pictures among the pixels, the guided
/// output is rescaled. `step` holds [`step_len`] numbers: index, input scale, skip, out; σ and three of nothing; the weight of
/// each batch item against the first, padded to a multiple of four; R rows of the matrix, each padded to [`ROW`].
///
/// `repaint` (3, h, w, 4) is for inpainting: the latents of a picture; unit noise; a mask for the network's input and one
/// for its output, in the first two channels, 1 where the picture is painted anew. Where it is 0 the network sees the
/// picture under noise of the level σ, and the denoised latents are the picture's.
pub fn sampler_step(
    eps: Option<&Tensor>,
    factors: Option<&Tensor>,
    step: &Tensor,
    repaint: Option<&Tensor>,
    registers: &Tensor,
) {
    let &[r, h, w, _] = registers.shape() else { panic!("sampler_step: {:?}", registers.shape()) };
    let batch = eps.map_or(0, |eps| eps.shape()[0]);
    let pictures = factors.map_or(1, |factors| factors.shape()[0]);
    assert_eq!(h % pictures, 0, "sampler_step: {pictures} pictures in {:?}", registers.shape());
    assert!((2..=ROW).contains(&r), "sampler_step: {r} registers");
    assert_eq!(eps.map_or(0, Tensor::len), batch * 4 * h * w, "sampler_step: {:?}", eps.map(Tensor::shape));
    assert!(step.len() >= step_len(batch, r), "sampler_step: {batch} items, {r} registers, step {:?}", step.shape());
    registers.gpu().run(Kernel {
        name: "sampler_step",
        class: "sampler_step",
        wgsl: &[wgsl!("repaint.wgsl"), wgsl!("guidance.wgsl"), wgsl!("sampler_step.wgsl")],
        constants: &[
            ("REGISTERS", Value::U32(r as u32)),
            ("EVALUATED", Value::Bool(eps.is_some())),
            ("RESCALED", Value::Bool(factors.is_some())),
            ("REPAINT", Value::Bool(repaint.is_some())),
        ],
        params: &[("pixels", (h * w).into()), ("prompts", batch.into()), ("picture", (h * w / pictures).into())],
        uniform: false,
        read: &[eps, Some(step), repaint, factors],
        write: &[Some(registers)],
        workgroups: [(h * w).div_ceil(64), 1, 1],
        flops: 0,
    });
}
