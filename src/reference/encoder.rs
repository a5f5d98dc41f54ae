//! The VAE's encoder, which only a picture to start from needs.

use candle_core::Tensor;
use candle_transformers::models::stable_diffusion::vae::AutoEncoderKL;

use super::loading::Loading;
use super::{candle, config, numbers, tensor, unfit};
use crate::error::{Code, Error, Result};
use crate::files::Checkpoint;

/// The weight of the last convolution, which gives four means and four logarithms of variances.
const MOMENTS: [&str; 2] = ["vae.quant_conv.weight", "vae.quant_conv.bias"];
/// Of a variance so small nothing is left in f32.
const NO_SPREAD: f64 = -400.0;

/// The VAE's encoder.
pub struct Encoder {
    network: AutoEncoderKL,
    scale: f64,
}

impl Encoder {
    /// Reads the encoder's arrays and builds it.
    ///
    /// # Errors
    /// [`Code::MissingTensors`] for a VAE saved without one; what the sources answer; [`Code::WrongShape`] when the arrays
    /// do not fit together.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Self> {
        if !checkpoint.arrays.contains_key("vae.encoder.conv_in.weight") {
            return Err(Error::new(
                Code::MissingTensors,
                "this VAE was saved without its encoder, which a picture to start from needs: load a VAE file that has one",
            ));
        }
        let config = config::vae(checkpoint)?;
        let mut arrays =
            Loading::of(checkpoint, |name| name.starts_with("vae.encoder.") || name.starts_with("vae.quant_conv."));
        while arrays.step().await? {}
        // candle gives a sample only, not the mean: without its spread a sample is the mean.
        for name in MOMENTS {
            let moments = arrays.take(name)?;
            arrays.put(name, without_spread(&moments).map_err(candle)?);
        }
        let weights = arrays.part("vae.", &["decoder.", "post_quant_conv."]);
        let network = AutoEncoderKL::new(weights, 3, 3, config.network).map_err(unfit)?;
        Ok(Self { network, scale: config.scale })
    }

    /// A picture (1, 3, H, W) in −1…1 → the mean of its latents (1, 4, H/8, W/8), in the sampler's scale.
    ///
    /// # Errors
    /// [`Code::Internal`] when the numbers are not as many as said.
    pub fn encode(&self, picture: &[f32], [h, w]: [usize; 2]) -> Result<Vec<f32>> {
        let picture = tensor(picture, &[1, 3, h, w])?;
        let latents =
            self.network.encode(&picture).and_then(|moments| moments.sample()).and_then(|mean| mean * self.scale);
        numbers(latents)
    }
}

/// The weight or bias of the moments with a constant in the place of the variances.
fn without_spread(moments: &Tensor) -> candle_core::Result<Tensor> {
    let (means, spread) = (moments.narrow(0, 0, 4)?, moments.narrow(0, 4, 4)?);
    let constant = if moments.rank() == 1 { NO_SPREAD } else { 0.0 };
    Tensor::cat(&[means, spread.affine(0.0, constant)?], 0)
}
