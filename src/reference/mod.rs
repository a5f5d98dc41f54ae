//! The second opinion: the same checkpoint run by candle on the CPU, slowly and independently of our kernels.
//!
//! It is the oracle of the tests at run time and an answer to "is it us or the file?". It takes and gives what our own
//! models do: embedding rows, latents and images as plain numbers. candle keeps images as NCHW, so that is the layout here.
//!
//! Two differences to diffusers are candle-transformers' own: its feed-forward uses the tanh form of GELU (diffusers: erf),
//! which moves ε by up to a few 1e-4, and its CLIP knows no activation but quick_gelu.

mod clip;
mod config;
mod weights;

use candle_core::{Device, Tensor};
use candle_transformers::models::stable_diffusion::{unet_2d::UNet2DConditionModel, vae::AutoEncoderKL};

use crate::error::{Code, Error, Result};
use crate::files::Checkpoint;
use clip::TextEncoder;
use weights::Weights;

/// Batch, channels, height, width.
pub type Nchw = [usize; 4];

/// The three networks of a checkpoint in f32 on the CPU: four bytes a parameter, 4.3 GB for SD 1.5.
pub struct Reference {
    text: TextEncoder,
    unet: UNet2DConditionModel,
    vae: AutoEncoderKL,
    width: usize,
}

impl Reference {
    /// Reads every array that txt2img needs (not the token table, not the VAE's encoder) and builds the networks.
    ///
    /// # Errors
    /// What the sources answer, or [`Code::Internal`] with candle's own words when it cannot build the network.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let text = Weights::read(checkpoint, "text_encoder.", &["text_model.embeddings.token_embedding."]).await?;
        let text = TextEncoder::new(text.into_builder(), config::text(checkpoint)?)?;
        let (unet_in, unet_out, unet_config) = config::unet(checkpoint)?;
        let width = unet_config.cross_attention_dim;
        let unet = Weights::read(checkpoint, "unet.", &[]).await?;
        let unet =
            UNet2DConditionModel::new(unet.into_builder(), unet_in, unet_out, false, unet_config).map_err(candle)?;
        let vae_config = config::vae(checkpoint)?;
        let vae = Weights::read(checkpoint, "vae.", &["encoder.", "quant_conv."]).await?;
        let vae = AutoEncoderKL::new(vae.into_builder(), 3, 3, vae_config).map_err(candle)?;
        Ok(Self { text, unet, vae, width })
    }

    /// Rows (windows, 77, width), without positions → conditioning (77·windows, width), after the final norm.
    /// `skip` counts as A1111's "Clip skip" does: 1 is the last layer, 2 the last but one; more than there are is the last.
    ///
    /// # Errors
    /// [`Code::Internal`] when the rows are not as many as said.
    pub fn text(&self, rows: &[f32], windows: usize, skip: usize) -> Result<Vec<f32>> {
        self.text.forward(rows, windows, skip)
    }

    /// Latents scaled for the network (B, 4, H, W) and context (B, tokens, width) → ε (B, 4, H, W). Any H and W will do:
    /// like diffusers, candle's upsamplers follow the skip connections' sizes.
    ///
    /// # Errors
    /// [`Code::Internal`] when the numbers are not as many as said.
    pub fn unet(
        &self,
        latents: &[f32],
        shape: Nchw,
        timestep: f64,
        context: &[f32],
        tokens: usize,
    ) -> Result<Vec<f32>> {
        let latents = tensor(latents, &shape)?;
        let context = tensor(context, &[shape[0], tokens, self.width])?;
        numbers(self.unet.forward(&latents, timestep, &context))
    }

    /// Latents in the VAE's own scale (B, 4, H, W), the sampler's divided by 0.18215, → image (B, 3, 8·H, 8·W), nominally
    /// in −1…1, not clamped.
    ///
    /// # Errors
    /// [`Code::Internal`] when the numbers are not as many as said.
    pub fn decode(&self, latents: &[f32], shape: Nchw) -> Result<Vec<f32>> {
        numbers(self.vae.decode(&tensor(latents, &shape)?))
    }
}

/// candle's errors are our own mistakes: what comes from outside was checked before.
fn candle(error: candle_core::Error) -> Error {
    Error::new(Code::Internal, format!("The reference (candle) failed: {error}"))
}

fn tensor(numbers: &[f32], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(numbers, shape, &Device::Cpu).map_err(candle)
}

fn numbers(tensor: candle_core::Result<Tensor>) -> Result<Vec<f32>> {
    tensor.and_then(|t| t.flatten_all()?.to_vec1()).map_err(candle)
}
