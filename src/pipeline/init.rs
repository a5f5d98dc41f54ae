//! A picture to start from (image to image).

use std::borrow::Cow;

use crate::error::{Code, Error, Result};
use crate::samplers::Tool;

use super::masked_area::laid_over;
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
    /// A picture of the size of the result, for the VAE's encoder; of any size where only what is masked is painted.
    /// Transparency is not looked at.
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
        let part = self.mask.as_ref().is_some_and(|mask| mask.only_masked.is_some());
        match &self.picture {
            Picture::Pixels(image) if !part && (image.width, image.height) != (width, height) => {
                let (w, h) = (image.width, image.height);
                return bad(format!(
                    "the picture to start from is {w}×{h}, and the result was to be {width}×{height}: they must be alike"
                ));
            }
            Picture::Pixels(Image { width, height, rgba }) if rgba.len() != width * height * 4 => {
                let (found, expected) = (rgba.len(), width * height * 4);
                return bad(format!("the picture to start from has {found} bytes; {width}×{height} have {expected}"));
            }
            Picture::Latents(_) if part => {
                return bad("only what is masked can be painted of a picture, not of latents".to_string());
            }
            Picture::Latents(latents) if ![each, each * batch].contains(&latents.len()) => {
                return bad(format!("there are {} latents to start from; {width}×{height} have {each}", latents.len()));
            }
            _ => {}
        }
        let (width, height) = match &self.picture {
            Picture::Pixels(image) => (image.width, image.height),
            Picture::Latents(_) => (width, height),
        };
        self.mask.as_ref().map_or(Ok(()), |mask| mask.check(width, height))
    }

    /// The picture and its mask as a run works on them, at the size of the result.
    fn masked(&self, params: &Params) -> Result<Option<(Cow<'_, Image>, Vec<f32>)>> {
        let (Picture::Pixels(image), Some(mask)) = (&self.picture, &self.mask) else { return Ok(None) };
        let prepared = mask.prepared([image.height, image.width], params.tool);
        let Some(area) = mask.area(&prepared, image, params)? else {
            return Ok(Some((Cow::Borrowed(image), prepared)));
        };
        let (width, height) = (params.width, params.height);
        let prepared = area.cut_mask(&prepared, image.width, width, height)?;
        Ok(Some((Cow::Owned(area.cut(image, width, height)?), prepared)))
    }

    pub(super) async fn begin(&self, networks: &dyn Networks, params: &Params) -> Result<Begin> {
        let size = [params.height, params.width];
        let (latents, prepared) = match (&self.picture, &self.mask, self.masked(params)?) {
            (Picture::Latents(latents), mask, _) => {
                (latents.clone(), mask.as_ref().map(|mask| mask.prepared(size, params.tool)))
            }
            (_, Some(mask), Some((image, prepared))) => {
                (networks.encode(&mask.filled(&image, &prepared), size).await?, Some(prepared))
            }
            (Picture::Pixels(image), ..) => (encode(networks, image).await?, None),
        };
        let mask = prepared.map(|prepared| Mask::shrunk(&prepared, size, params.tool)).transpose()?;
        Ok(Begin { latents, mask })
    }

    /// A picture with what was to be kept put back, pixel by pixel, as A1111 does; ComfyUI leaves it as decoded.
    pub(super) fn paste(&self, mut made: Image, params: &Params) -> Result<Image> {
        let (Picture::Pixels(original), Some(mask)) = (&self.picture, &self.mask) else { return Ok(made) };
        let prepared = mask.prepared([original.height, original.width], Tool::A1111);
        if let Some(area) = mask.area(&prepared, original, params)? {
            return area.put_back(&made, original, &prepared);
        }
        for ((new, old), m) in made.rgba.chunks_exact_mut(4).zip(original.rgba.chunks_exact(4)).zip(prepared) {
            // Only the outer half of a blurred edge is mixed.
            let m = (2.0 * m).min(1.0);
            new.iter_mut().zip(old).take(3).for_each(|(new, old)| *new = laid_over(*new, *old, m));
        }
        Ok(made)
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
    let prepared = params.init.as_ref().map(|init| init.masked(params)).transpose()?.flatten();
    let (mask, masked) = match prepared {
        Some((image, mask)) => {
            let kept = mask.iter().cycle().map(|m| f32::from(*m < 0.5));
            let masked = planes(&image).iter().zip(kept).map(|(x, kept)| x * kept).collect();
            (Mask::shrunk(&mask, size, params.tool)?.iter().map(|m| m.round()).collect(), masked)
        }
        None => (vec![1.0; params.height / 8 * (params.width / 8)], gray),
    };
    Ok([mask, networks.encode(&masked, size).await?].concat())
}

/// RGBA bytes as (3, height, width) in −1…1.
pub(super) fn planes(image: &Image) -> Vec<f32> {
    let channel = |c: usize| image.rgba[c..].iter().step_by(4).map(|&byte| f32::from(byte) / 127.5 - 1.0);
    (0..3).flat_map(channel).collect()
}
