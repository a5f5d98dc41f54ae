//! From the decoder's result to the bytes of a picture.

use crate::gpu::{Kernel, Storage, Tensor};

/// (1, H, W, 4) in −1…1 as RGBA bytes: a tensor of (H · W) 32-bit numbers, to be read with `read_bytes`.
pub fn image(x: &Tensor) -> Tensor {
    bytes(x, false)
}

/// The same of numbers in 0…1.
pub fn image_from_unit(x: &Tensor) -> Tensor {
    bytes(x, true)
}

fn bytes(x: &Tensor, unit: bool) -> Tensor {
    let &[_, height, width, _] = x.shape() else { panic!("image: {:?}", x.shape()) };
    let pixels = height * width;
    let groups = (pixels / 4).div_ceil(64);
    let groups_x = groups.min(65535);
    let gpu = x.gpu();
    let rgba = gpu.result(&[pixels], Storage::F32);
    gpu.run(Kernel {
        name: "image",
        class: "image",
        wgsl: &[wgsl!("image.wgsl")],
        constants: &[("UNIT", unit.into())],
        params: &[("pixels", pixels.into()), ("groups_x", groups_x.into())],
        uniform: false,
        read: &[Some(x)],
        write: &[Some(&rgba)],
        workgroups: [groups_x, groups.div_ceil(groups_x), 1],
        flops: 0,
    });
    rgba
}
