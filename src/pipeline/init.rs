//! A picture to start from (image to image).

use crate::error::{Code, Error, Result};
use crate::samplers::Tool;

use super::networks::Networks;
use super::{Image, Mask, Params};

/// A picture to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct Init {
    /// The picture.
    pub picture: Picture,
    /// How much of the way down from noise is run, over 0 to 1: 1 leaves nothing of the picture.
    pub denoise: f64,
    /// Which part of it is painted anew; `None`: all of it.
    pub mask: Option<Mask>,
    /// A1111 runs `steps · denoise` steps; with this it runs them all, as its hires second pass with steps of its own does.
    /// ComfyUI always does.
    pub exact_steps: bool,
}

/// Where latents to start from come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// A picture of the size of the result, for the VAE's encoder. Transparency is not looked at.
    Pixels(Image),
    /// Latents (4, height/8, width/8), as a sampler left them, or as many of them as pictures are made at once.
    Latents(Vec<f32>),
}

/// What a run starts from, as latents.
pub(super) struct Begin {
    /// (4, h, w), in the sampler's scale.
    pub latents: Vec<f32>,
    /// (h, w), if there is a mask.
    pub mask: Option<Vec<f32>>,
}

impl Init {
    /// # Errors
    /// [`Code::BadOption`] with what was given and what is expected.
    pub fn check(&self, width: usize, height: usize, batch: usize) -> Result<()> {
        let bad = |sentence: String| Err(Error::new(Code::BadOption, sentence));
        if !(self.denoise > 0.0 && self.denoise <= 1.0) {
            return bad(format!("denoise is {}; it must be more than 0 and at most 1", self.denoise));
        }
        let each = width / 8 * (height / 8) * 4;
        match &self.picture {
            Picture::Pixels(image) if (image.width, image.height) != (width, height) => {
                let (w, h) = (image.width, image.height);
                return bad(format!(
                    "the picture to start from is {w}×{h}, and the result was to be {width}×{height}: they must be alike"
                ));
            }
            Picture::Pixels(image) if image.rgba.len() != width * height * 4 => {
                return bad(format!(
                    "the picture to start from has {} bytes; {width}×{height} have {}",
                    image.rgba.len(),
                    width * height * 4
                ));
            }
            Picture::Latents(latents) if ![each, each * batch].contains(&latents.len()) => {
                return bad(format!("there are {} latents to start from; {width}×{height} have {each}", latents.len()));
            }
            _ => {}
        }
        self.mask.as_ref().map_or(Ok(()), |mask| mask.check(width, height))
    }

    pub(super) async fn begin(&self, networks: &dyn Networks, params: &Params) -> Result<Begin> {
        let size = [params.height, params.width];
        let latents = match (&self.picture, &self.mask) {
            (Picture::Latents(latents), _) => latents.clone(),
            (Picture::Pixels(image), None) => encode(networks, image).await?,
            (Picture::Pixels(image), Some(mask)) => networks.encode(&mask.filled(image, params.tool), size).await?,
        };
        let mask = self.mask.as_ref().map(|mask| mask.shrunk(size, params.tool)).transpose()?;
        Ok(Begin { latents, mask })
    }

    /// A picture with what was to be kept put back, pixel by pixel, as A1111 does; ComfyUI leaves it as decoded.
    pub(super) fn paste(&self, image: &mut Image) {
        let (Picture::Pixels(original), Some(mask)) = (&self.picture, &self.mask) else { return };
        let mask = mask.prepared([image.height, image.width], Tool::A1111);
        for ((new, old), m) in image.rgba.chunks_exact_mut(4).zip(original.rgba.chunks_exact(4)).zip(mask) {
            // Only the outer half of a blurred edge is mixed.
            let m = (2.0 * m).min(1.0);
            for (new, old) in new.iter_mut().zip(old).take(3) {
                *new = (f32::from(*new) * m + f32::from(*old) * (1.0 - m)).round() as u8;
            }
        }
    }
}

/// The latents of a picture.
pub(super) async fn encode(networks: &dyn Networks, image: &Image) -> Result<Vec<f32>> {
    networks.encode(&planes(image), [image.height, image.width]).await
}

/// What a network for inpainting sees besides the latents, (5, h, w): the mask, and the latents of the picture with gray
/// where the mask is (diffusers' `StableDiffusionInpaintPipeline`, `prepare_mask_latents`). Without a picture all is masked.
pub(super) async fn condition(networks: &dyn Networks, params: &Params) -> Result<Vec<f32>> {
    let size = [params.height, params.width];
    let gray = vec![0.0; 3 * params.height * params.width];
    let (mask, masked) = match &params.init {
        Some(Init { picture: Picture::Pixels(image), mask: Some(mask), .. }) => {
            let pixels = mask.prepared(size, params.tool);
            let kept = pixels.iter().cycle().map(|m| f32::from(*m < 0.5));
            let masked = planes(image).iter().zip(kept).map(|(x, kept)| x * kept).collect();
            (mask.shrunk(size, params.tool)?.iter().map(|m| m.round()).collect(), masked)
        }
        _ => (vec![1.0; params.height / 8 * (params.width / 8)], gray),
    };
    Ok([mask, networks.encode(&masked, size).await?].concat())
}

/// RGBA bytes as (3, height, width) in −1…1.
pub(super) fn planes(image: &Image) -> Vec<f32> {
    let channel = |c: usize| image.rgba[c..].iter().step_by(4).map(|&byte| f32::from(byte) / 127.5 - 1.0);
    (0..3).flat_map(channel).collect()
}
