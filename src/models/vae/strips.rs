//! The decoder within little memory.

use crate::gpu::Tensor;
use crate::kernels::{Gemm, Measure, Measured, Strip, gemm, gemm_measured};

use super::super::blocks::{Picture, Room, around, split};
use super::Vae;

impl Vae {
    /// Bytes of the largest tensor that [`decode_in`](Self::decode_in) has to keep whole, as [`largest`](Self::largest).
    pub fn largest_kept(&self, width: usize, height: usize, size: usize) -> u64 {
        let mut pixels = (width / 8 * (height / 8)) as u64;
        let mut largest = pixels * self.conv_in.channels() as u64;
        for block in &self.up_blocks {
            let kept = block.resnets.iter().map(|resnet| pixels * resnet.channels() as u64).max();
            largest = largest.max(kept.unwrap_or(0));
            if block.upsampler.is_some() {
                pixels *= 4;
            }
        }
        largest * size as u64
    }

    /// Bytes of the two tensors that cannot be avoided: what a level begins with, of half its size, and what it makes of it.
    fn least(&self, latents: &Tensor) -> u64 {
        let mut pixels = (latents.len() / latents.shape()[3]) as u64;
        let (mut doubled, mut least) = (0, 0);
        for block in &self.up_blocks {
            let channels = block.resnets.last().map_or(0, |resnet| resnet.channels() as u64);
            least = least.max(doubled + pixels * channels);
            doubled = pixels * channels;
            if block.upsampler.is_some() {
                pixels *= 4;
            }
        }
        least * latents.storage().size() as u64
    }

    /// [`decode`](Self::decode), in strips of rows as far as `room` demands.
    pub fn decode_in(&self, latents: &Tensor, room: &Room) -> Tensor {
        // Where what must be had at the end is more than all there is, nothing is gained by saving before.
        let room = &room.at_least(self.least(latents));

        // 1. in
        let h = self.post_quant_conv.forward(latents);
        let h = gemm_measured(&self.conv_in.product(&h), Measure::Channels);

        // 2. middle
        let mut h = self.mid_block.forward(&h);

        // 3. up
        let mut doubling = None;
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                let x = match doubling.take() {
                    Some(conv) => room.double(&h.tensor, conv, resnet.channels()),
                    None => Picture::Whole(h),
                };
                h = resnet.forward_in(&x, room);
            }
            doubling = block.upsampler.as_ref();
        }

        // 4. out
        self.out_in(&h, room)
    }

    fn out_in(&self, h: &Measured, room: &Room) -> Tensor {
        let shape = h.tensor.shape();
        let &[_, height, width, channels] = shape else { panic!("vae: {shape:?}") };
        if room.is_enough_for([height, width, channels], h.tensor.storage().size()) {
            return self.conv_out.forward(&self.conv_norm_out.silu(h, None));
        }
        let h = &h.tensor;
        let gpu = h.gpu();
        let rows = room.rows(h.row_bytes(), h.bytes());
        let mut moments = self.conv_norm_out.moments(gpu, height * width, rows * width);
        for rows in split(height, rows) {
            self.conv_norm_out.measure(&h.rows(rows), &mut moments);
        }
        let out = gpu.result(&[1, height, width, 4], h.storage());
        for rows in split(height, rows) {
            let needed = around(&rows, 1, height);
            let normal = self.conv_norm_out.silu_of(&h.rows(needed.clone()), &moments);
            let strip = Strip { above: rows.start - needed.start, out: &out.rows(rows.clone()), add: false };
            gemm(&Gemm { strip: Some(strip), ..self.conv_out.product(&normal) });
        }
        out
    }
}
