//! The UNet's last convolution with what follows it: guidance, and what a sampler makes of its result.

use crate::gpu::{Kernel, Tensor, Value};

use super::product::Gemm;
use super::sampler_step::{ROW, step_len};

/// Threads that share a pixel on a GPU: 64×64 latents then have 32 768.
const LANES: usize = 8;

/// What [`sampler_step`](super::sampler_step()) does with the result of `conv_out`, the convolution 3×3 of (prompts · pictures, h, w, C) to the four
/// channels of the noise: the first prompt's pictures, then the second's, …. The result itself is never stored.
///
/// `step`, `repaint` and `registers` (R, pictures · h, w, 4) are those of `sampler_step`.
pub fn conv_out_step(conv_out: &Gemm, step: &Tensor, repaint: Option<&Tensor>, registers: &Tensor) {
    let &[items, h, w, c] = conv_out.input.shape() else { panic!("conv_out_step: {:?}", conv_out.input.shape()) };
    let &[r, rows, width, _] = registers.shape() else { panic!("conv_out_step: {:?}", registers.shape()) };
    assert_eq!((width, rows % h), (w, 0), "conv_out_step: {:?} for {:?}", conv_out.input.shape(), registers.shape());
    let pictures = rows / h;
    assert_eq!(items % pictures, 0, "conv_out_step: {items} items of {pictures} pictures");
    let prompts = items / pictures;
    assert_eq!(conv_out.weight.shape(), [3, 3, c, 4], "conv_out_step: the filter");
    assert!(conv_out.bias.is_some() && conv_out.input2.is_none() && conv_out.geometry.stride == 1);
    assert!((2..=ROW).contains(&r), "conv_out_step: {r} registers");
    assert!(step.len() >= step_len(prompts, r), "conv_out_step: {prompts} prompts, {r} registers, {:?}", step.shape());
    let gpu = registers.gpu();
    let lanes = if gpu.adapter().software { 1 } else { LANES };
    let pixels = rows * w;
    gpu.run(Kernel {
        name: "conv_out_step",
        class: "conv 3×3",
        wgsl: &[wgsl!("repaint.wgsl"), wgsl!("guidance.wgsl"), wgsl!("conv_out_step.wgsl")],
        constants: &[
            ("LANES", lanes.into()),
            ("REGISTERS", Value::U32(r as u32)),
            ("EVALUATED", Value::Bool(true)),
            ("RESCALED", Value::Bool(false)),
            ("REPAINT", Value::Bool(repaint.is_some())),
        ],
        params: &[
            ("pixels", pixels.into()),
            ("picture", (h * w).into()),
            ("prompts", prompts.into()),
            ("height", h.into()),
            ("width", w.into()),
            ("c4", (c / 4).into()),
        ],
        uniform: false,
        read: &[Some(conv_out.input), Some(conv_out.weight), conv_out.bias, Some(step), repaint, None],
        write: &[Some(registers)],
        workgroups: [pixels.div_ceil(64 / lanes), 1, 1],
        flops: (2 * pixels * conv_out.weight.len()) as u64,
    });
}
