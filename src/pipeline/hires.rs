//! A second pass at a larger size over a finished picture ("hires fix").

use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::{Code, Error, Result};
use crate::samplers::{Sampler, Schedule};

use super::{Generation, Image, Init, Params, Picture, StableDiffusion};

/// How a picture is made larger before the second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upscaler {
    /// The latents, linearly: A1111's "Latent".
    #[default]
    Latent,
    /// The latents, each the nearest: ComfyUI's `nearest-exact`, A1111's "Latent (nearest-exact)".
    LatentNearestExact,
    /// The pixels, by Lanczos' filter with three lobes, as Pillow does: A1111's "Lanczos".
    Lanczos,
}

impl Upscaler {
    /// All of them.
    pub const ALL: [Upscaler; 3] = [Upscaler::Latent, Upscaler::LatentNearestExact, Upscaler::Lanczos];

    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            Upscaler::Latent => "latent",
            Upscaler::LatentNearestExact => "latent-nearest-exact",
            Upscaler::Lanczos => "lanczos",
        }
    }

    /// What A1111's infotexts call it.
    pub fn a1111_name(self) -> &'static str {
        match self {
            Upscaler::Latent => "Latent",
            Upscaler::LatentNearestExact => "Latent (nearest-exact)",
            Upscaler::Lanczos => "Lanczos",
        }
    }

    /// # Errors
    /// [`Code::BadOption`] for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        let known = |it: &Upscaler| it.name() == name || it.a1111_name() == name;
        Self::ALL.into_iter().find(known).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(Code::BadOption, format!("there is no upscaler of this name; known are: {names}"))
        })
    }
}

/// A second pass. The defaults are A1111's.
#[derive(Debug, Clone, PartialEq)]
pub struct Hires {
    /// Factor of width and height; the results are rounded down to multiples of 8.
    pub scale: f64,
    /// How the first picture is made larger.
    pub upscaler: Upscaler,
    /// Steps of the second pass; `None` is as many as the first has.
    pub steps: Option<usize>,
    /// How much of the way down from noise is run again, over 0 to 1.
    pub denoise: f64,
    /// What it does otherwise than the first pass.
    pub own: Own,
}

/// What a second pass has instead of the first one's; `None` is the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// The prompt.
    pub prompt: Option<String>,
    /// The negative prompt.
    pub negative_prompt: Option<String>,
    /// The seed: in A1111 it is the first one's.
    pub seed: Option<u64>,
    /// The sampler.
    pub sampler: Option<Sampler>,
    /// The noise levels.
    pub schedule: Option<Schedule>,
    /// Strength of guidance.
    pub cfg: Option<f32>,
}

impl Default for Hires {
    fn default() -> Self {
        Self { scale: 2.0, upscaler: Upscaler::Latent, steps: None, denoise: 0.7, own: Own::default() }
    }
}

impl Hires {
    /// The larger size, for a first picture of `width` × `height`.
    ///
    /// # Errors
    /// [`Code::BadOption`] for a factor with which it is no larger.
    pub fn size(&self, width: usize, height: usize) -> Result<[usize; 2]> {
        if !(self.scale > 1.0 && self.scale <= 8.0) {
            let sentence =
                format!("the scale of the second pass is {}; it must be more than 1 and at most 8", self.scale);
            return Err(Error::new(Code::BadOption, sentence));
        }
        // A scale that was divided from sides gives those sides.
        Ok([width, height].map(|side| (side as f64 * self.scale / 8.0 + 1e-6) as usize * 8))
    }

    /// The second pass's parameters, with nothing to start from yet.
    ///
    /// # Errors
    /// As [`size`](Self::size).
    fn params(&self, first: &Params, picture: Picture, [width, height]: [usize; 2]) -> Params {
        // A1111 runs all steps of a second pass, whatever its denoise.
        let init = Init { picture, denoise: self.denoise, mask: None, exact_steps: true };
        let own = self.own.clone();
        Params {
            width,
            height,
            steps: self.steps.unwrap_or(first.steps),
            init: Some(init),
            prompt: own.prompt.unwrap_or_else(|| first.prompt.clone()),
            negative_prompt: own.negative_prompt.unwrap_or_else(|| first.negative_prompt.clone()),
            seed: own.seed.unwrap_or(first.seed),
            sampler: own.sampler.unwrap_or(first.sampler),
            schedule: own.schedule.or(first.schedule),
            cfg: own.cfg.unwrap_or(first.cfg),
            ..first.clone()
        }
    }
}

impl StableDiffusion {
    /// Begins a second pass at a larger size over what a first one made, with the same prompts, seed and sampler
    /// where it has none of its own.
    ///
    /// # Errors
    /// [`Code::BadOption`] for a size, denoise or steps that cannot be used, and whatever the GPU reports.
    pub async fn enlarge(&self, first: &Generation, hires: &Hires) -> Result<Generation> {
        let params = first.params();
        if params.only_masked() {
            let sentence =
                "only the masked part of a picture was painted: a second pass has no whole picture to enlarge";
            return Err(Error::new(Code::BadOption, sentence));
        }
        let [width, height] = hires.size(params.width, params.height)?;
        let (from, to) = ([params.height / 8, params.width / 8], [height / 8, width / 8]);
        let picture = match hires.upscaler {
            Upscaler::Latent => Picture::Latents(linear(&first.latents().await?, from, to)),
            Upscaler::LatentNearestExact => Picture::Latents(nearest(&first.latents().await?, from, to)),
            Upscaler::Lanczos => {
                let mut latents = Vec::new();
                for picture in 0..params.batch {
                    let image = lanczos(&first.image_of(picture, self).await?, width, height)?;
                    latents.extend(self.encode(&image).await?);
                }
                Picture::Latents(latents)
            }
        };
        let again = hires.params(params, picture, [width, height]);
        let prompts = self.read_prompts(&again, Some(params));
        let mut second = self.start_with(&again, prompts).await?;
        second.enlarged = Some((params.clone(), hires.clone()));
        Ok(second)
    }
}

/// Where the middle of pixel `i` of `to` lies among those of `from`.
fn middle(i: usize, from: usize, to: usize) -> f64 {
    (i as f64 + 0.5) * from as f64 / to as f64 - 0.5
}

/// (C, h, w) → (C, h', w'): the nearest to each middle (PyTorch's `nearest-exact`).
fn nearest(latents: &[f32], [h, w]: [usize; 2], [to_h, to_w]: [usize; 2]) -> Vec<f32> {
    let at = |i: usize, from: usize, to: usize| ((middle(i, from, to) + 0.5) as usize).min(from - 1);
    let pixels =
        (0..latents.len() / (h * w)).flat_map(|c| (0..to_h).flat_map(move |y| (0..to_w).map(move |x| (c, y, x))));
    pixels.map(|(c, y, x)| latents[(c * h + at(y, h, to_h)) * w + at(x, w, to_w)]).collect()
}

/// (C, h, w) → (C, h', w'), between the four around each middle (PyTorch's `bilinear`, corners not aligned).
fn linear(latents: &[f32], [h, w]: [usize; 2], [to_h, to_w]: [usize; 2]) -> Vec<f32> {
    let around = |i: usize, from: usize, to: usize| {
        let place = middle(i, from, to).max(0.0);
        let low = place as usize;
        (low, (low + 1).min(from - 1), place.fract() as f32)
    };
    let pixels =
        (0..latents.len() / (h * w)).flat_map(|c| (0..to_h).flat_map(move |y| (0..to_w).map(move |x| (c, y, x))));
    let value = |(c, y, x): (usize, usize, usize)| {
        let ((top, bottom, down), (left, right, along)) = (around(y, h, to_h), around(x, w, to_w));
        let row = |y: usize| {
            let at = |x: usize| latents[(c * h + y) * w + x];
            at(left) * (1.0 - along) + at(right) * along
        };
        row(top) * (1.0 - down) + row(bottom) * down
    };
    pixels.map(value).collect()
}

/// A picture at another size, by Lanczos' filter with three lobes, as Pillow does it.
pub(super) fn lanczos(image: &Image, width: usize, height: usize) -> Result<Image> {
    let failed = |e: String| Error::new(Code::Internal, format!("the picture could not be enlarged: {e}"));
    let from = ImageRef::new(image.width as u32, image.height as u32, &image.rgba, PixelType::U8x4);
    let mut to = Pixels::new(width as u32, height as u32, PixelType::U8x4);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(false);
    let from = from.map_err(|e| failed(e.to_string()))?;
    Resizer::new().resize(&from, &mut to, &options).map_err(|e| failed(e.to_string()))?;
    Ok(Image { width, height, rgba: to.into_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch.nn.functional.interpolate of a ramp 0, 1, 2, … (PyTorch 2.15), the first row of the first channel.
    #[test]
    fn latents_are_enlarged_as_pytorch_does() {
        let ramp: Vec<f32> = (0..4 * 2 * 3).map(|i| i as f32).collect();
        let first = |values: Vec<f32>| values[..5].to_vec();
        assert_eq!(first(nearest(&ramp, [2, 3], [3, 5])), [0.0, 0.0, 1.0, 2.0, 2.0]);
        let found = first(linear(&ramp, [2, 3], [3, 5]));
        let expected = [0.0, 0.4, 1.0, 1.6, 2.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }
}
