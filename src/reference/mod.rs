//! The same checkpoint run by candle on the CPU, slowly and independently of our kernels.
//!
//! It is the oracle of the tests at run time, an answer to "is it us or the file?", and what makes pictures of small models
//! where there is no GPU. It takes and gives what our own models do: embedding rows, latents and images as plain numbers.
//! candle keeps images as NCHW, so that is the layout here.
//!
//! Two differences to diffusers are candle-transformers' own: its feed-forward uses the tanh form of GELU (diffusers: erf),
//! which moves ε by up to a few 1e-4, and its CLIP knows no activation but quick_gelu.

mod clip;
mod config;
mod denoiser;
mod emphasis;
mod encoder;
mod loading;
mod sampling;
mod taesd;
mod weights;

use std::rc::Rc;

use candle_core::{Device, Tensor};
use candle_transformers::models::clip::text_model::ClipTextConfig;
use candle_transformers::models::stable_diffusion::vae::AutoEncoderKL;

use crate::error::{Code, Error, Result};
use crate::files::Checkpoint;
use clip::TextEncoder;
use loading::Loading;

pub use denoiser::Denoiser;
pub use emphasis::weigh;
pub use encoder::Encoder;
pub use sampling::{guided, mix, rescaled, rgba};
pub use taesd::Taesd;

/// Batch, channels, height, width.
pub type Nchw = [usize; 4];

const TOKEN_TABLE: &str = "text_encoder.text_model.embeddings.token_embedding.weight";

/// The three networks of a checkpoint in f32 on the CPU: four bytes a parameter, 4.3 GB for SD 1.5.
pub struct Reference {
    tokens: Tensor, // (tokens, width)
    text: TextEncoder,
    unet: Rc<Denoiser>,
    vae: Decoder,
}

/// A checkpoint on its way into memory.
pub struct Opening {
    arrays: Loading,
    text: ClipTextConfig,
    unet: config::Unet,
    vae: config::Vae,
}

/// A separate VAE on its way into memory.
pub struct OpeningDecoder {
    arrays: Loading,
    vae: config::Vae,
}

/// The VAE's decoder.
pub struct Decoder {
    network: AutoEncoderKL,
    scale: f64,
    channels: Vec<usize>, // from the finest level on
}

impl Opening {
    /// Looks only at names and shapes; [`load`](Self::load) then reads what txt2img needs (not the VAE's encoder).
    ///
    /// # Errors
    /// [`Code::WrongShape`] or [`Code::WrongFamily`] for what is not Stable Diffusion 1.5's architecture.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self> {
        config::nothing_is_empty(checkpoint)?;
        let text = config::text(checkpoint)?;
        let unet = config::unet(checkpoint, text.embed_dim)?;
        Ok(Self { arrays: Loading::new(checkpoint), text, unet, vae: config::vae(checkpoint)? })
    }

    /// Reads some arrays, about 16 MiB of the file; false once all are there.
    ///
    /// # Errors
    /// What the sources answer.
    pub async fn load(&mut self) -> Result<bool> {
        self.arrays.step().await
    }

    /// Bytes read, and bytes in all.
    pub fn loaded(&self) -> (u64, u64) {
        self.arrays.loaded()
    }

    /// Numbers in all arrays.
    pub fn parameters(&self) -> u64 {
        self.arrays.parameters()
    }

    /// Numbers per token.
    pub fn text_width(&self) -> usize {
        self.text.embed_dim
    }

    /// Builds the networks from what was read.
    ///
    /// # Errors
    /// [`Code::WrongShape`] with candle's own words when the arrays do not fit together.
    pub fn finish(mut self) -> Result<Reference> {
        let tokens = self.arrays.take(TOKEN_TABLE)?;
        let text = TextEncoder::new(self.arrays.part("text_encoder.", &["text_model.embeddings.token_"]), self.text)?;
        let unet = Denoiser::new(self.arrays.take_part("unet."), self.unet)?;
        Ok(Reference { tokens, text, unet: Rc::new(unet), vae: Decoder::new(&mut self.arrays, self.vae)? })
    }
}

impl OpeningDecoder {
    /// Looks only at names and shapes.
    ///
    /// # Errors
    /// [`Code::WrongShape`] for what is not Stable Diffusion 1.5's decoder.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self> {
        config::nothing_is_empty(checkpoint)?;
        Ok(Self { arrays: Loading::new(checkpoint), vae: config::vae(checkpoint)? })
    }

    /// As [`Opening::load`].
    ///
    /// # Errors
    /// What the source answers.
    pub async fn load(&mut self) -> Result<bool> {
        self.arrays.step().await
    }

    /// Bytes read, and bytes in all.
    pub fn loaded(&self) -> (u64, u64) {
        self.arrays.loaded()
    }

    /// Builds the decoder from what was read.
    ///
    /// # Errors
    /// As [`Opening::finish`].
    pub fn finish(mut self) -> Result<Decoder> {
        Decoder::new(&mut self.arrays, self.vae)
    }
}

impl Reference {
    /// Reads every array that txt2img needs and builds the networks.
    ///
    /// # Errors
    /// What the sources answer, or [`Code::WrongShape`] when the arrays do not fit together.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let mut opening = Opening::new(checkpoint)?;
        while opening.load().await? {}
        opening.finish()
    }

    /// The row of a token, before its position is added.
    pub fn token(&self, id: u32) -> Option<Vec<f32>> {
        self.tokens.get(id as usize).and_then(|row| row.to_vec1()).ok()
    }

    /// Rows (windows, 77, width), without positions → conditioning (77·windows, width), after the final norm.
    /// `skip` counts as A1111's "Clip skip" does: 1 is the last layer, 2 the last but one; more than there are is the last.
    ///
    /// # Errors
    /// [`Code::Internal`] when the rows are not as many as said.
    pub fn text(&self, rows: &[f32], windows: usize, skip: usize) -> Result<Vec<f32>> {
        self.text.forward(rows, windows, skip)
    }

    /// The UNet, which a picture in the making keeps.
    pub fn denoiser(&self) -> Rc<Denoiser> {
        self.unet.clone()
    }

    /// [`Denoiser::eps`] of this model.
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
        self.unet.eps(latents, shape, timestep, context, tokens)
    }

    /// Latents in the VAE's own scale (B, 4, H, W), the sampler's divided by 0.18215, → image (B, 3, 8·H, 8·W), nominally
    /// in −1…1, not clamped.
    ///
    /// # Errors
    /// [`Code::Internal`] when the numbers are not as many as said.
    pub fn decode(&self, latents: &[f32], shape: Nchw) -> Result<Vec<f32>> {
        numbers(self.vae.network.decode(&tensor(latents, &shape)?))
    }

    /// What the sampler's latents are multiplied with before decoding.
    pub fn latent_scale(&self) -> f32 {
        (1.0 / self.vae.scale) as f32
    }

    /// Bytes of the largest tensor while a picture of h×w latent pixels is made.
    pub fn largest(&self, h: usize, w: usize) -> u64 {
        self.unet.largest(h, w).max(self.vae.largest(h, w)) * 4
    }

    /// Decodes with another VAE from now on.
    pub fn replace_vae(&mut self, vae: Decoder) {
        self.vae = vae;
    }
}

impl Decoder {
    fn new(arrays: &mut Loading, config: config::Vae) -> Result<Self> {
        let weights = arrays.part("vae.", &["encoder.", "quant_conv."]);
        let channels = config.network.block_out_channels.clone();
        let network = AutoEncoderKL::new(weights, 3, 3, config.network).map_err(unfit)?;
        Ok(Self { network, scale: config.scale, channels })
    }

    /// Numbers in the largest tensor of a decoding: the attention in the middle, or what is as large as the picture.
    fn largest(&self, h: usize, w: usize) -> u64 {
        let pixels = (h * w) as u64;
        let channels = self.channels.iter().take(2).max().copied().unwrap_or(1) as u64;
        (pixels * pixels).max(pixels * 64 * channels)
    }
}

/// candle's errors are our own mistakes: what comes from outside was checked before.
fn candle(error: candle_core::Error) -> Error {
    Error::new(Code::Internal, format!("The reference (candle) failed: {error}"))
}

/// Except while it builds a network: then it is the first to compare the shapes.
fn unfit(error: candle_core::Error) -> Error {
    Error::new(Code::WrongShape, format!("the checkpoint's tensors do not fit together: {error}"))
}

fn tensor(numbers: &[f32], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(numbers, shape, &Device::Cpu).map_err(candle)
}

fn numbers(tensor: candle_core::Result<Tensor>) -> Result<Vec<f32>> {
    tensor.and_then(|t| t.flatten_all()?.to_vec1()).map_err(candle)
}
