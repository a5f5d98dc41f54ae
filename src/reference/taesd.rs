//! TAESD's decoder on the CPU; candle-transformers has none.

use candle_core::Tensor;
use candle_nn::{Conv2d, Conv2dConfig, Module, VarBuilder};

use super::loading::Loading;
use super::{numbers, tensor, unfit};
use crate::error::Result;
use crate::files::Checkpoint;

/// Blocks before each doubling, and after the last.
const BLOCKS: [usize; 4] = [3, 3, 3, 1];

/// The decoder: convolutions and blocks of three with a residual, ReLU after each but the last and those that follow a doubling.
pub struct Taesd {
    conv_in: Conv2d,
    stages: Vec<Stage>,
    conv_out: Conv2d,
}

struct Stage {
    blocks: Vec<[Conv2d; 3]>,
    /// After the pixels were doubled; the last stage has none.
    upsampler: Option<Conv2d>,
}

impl Taesd {
    /// Reads the file's arrays, called as [`taesd_file`](crate::files::taesd_file) calls them, and builds the decoder.
    ///
    /// # Errors
    /// What the source answers; [`Code::WrongShape`](crate::Code::WrongShape) when the arrays do not fit together.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let mut arrays = Loading::of(checkpoint, |_| true);
        while arrays.step().await? {}
        Self::build(&arrays.part("taesd.", &[])).map_err(unfit)
    }

    fn build(arrays: &VarBuilder) -> candle_core::Result<Self> {
        let channels = arrays.get_unchecked("0.weight")?.dim(0)?;
        let padded = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let conv = |from, to, at: VarBuilder| candle_nn::conv2d(from, to, 3, padded, at);
        let conv_in = conv(4, channels, arrays.pp(0))?;
        let mut at = 2; // past the convolution and its ReLU
        let mut stages = Vec::new();
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            let block = |at: usize| {
                let conv = |i: usize| conv(channels, channels, arrays.pp(at).pp("conv").pp(i));
                Ok([conv(0)?, conv(2)?, conv(4)?])
            };
            let blocks = (at..at + count).map(block).collect::<candle_core::Result<_>>()?;
            at += count;
            let mut upsampler = None;
            if stage + 1 < BLOCKS.len() {
                upsampler = Some(candle_nn::conv2d_no_bias(channels, channels, 3, padded, arrays.pp(at + 1))?);
                at += 2;
            }
            stages.push(Stage { blocks, upsampler });
        }
        Ok(Self { conv_in, stages, conv_out: conv(channels, 3, arrays.pp(at))? })
    }

    /// Bytes of the largest tensor that decoding latents of h × w makes.
    pub fn largest(&self, h: usize, w: usize) -> u64 {
        // candle convolves by way of a matrix that holds each pixel nine times.
        (9 * 4 * 64 * h * w * self.conv_in.weight().dims()[0]) as u64
    }

    /// Latents (1, 4, h, w), not scaled, → a picture (3, 8h, 8w) in −1…1.
    ///
    /// # Errors
    /// [`Code::Internal`](crate::Code::Internal) when the numbers are not as many as said.
    pub fn decode(&self, latents: &[f32], [h, w]: [usize; 2]) -> Result<Vec<f32>> {
        numbers(self.forward(&tensor(latents, &[1, 4, h, w])?))
    }

    fn forward(&self, latents: &Tensor) -> candle_core::Result<Tensor> {
        let clamped = ((latents / 3.0)?.tanh()? * 3.0)?;
        let mut h = self.conv_in.forward(&clamped)?.relu()?;
        for stage in &self.stages {
            for [first, second, third] in &stage.blocks {
                let inner = second.forward(&first.forward(&h)?.relu()?)?.relu()?;
                h = (third.forward(&inner)? + h)?.relu()?;
            }
            if let Some(upsampler) = &stage.upsampler {
                let (_, _, height, width) = h.dims4()?;
                h = upsampler.forward(&h.upsample_nearest2d(2 * height, 2 * width)?)?;
            }
        }
        self.conv_out.forward(&h)?.affine(2.0, -1.0)
    }
}
