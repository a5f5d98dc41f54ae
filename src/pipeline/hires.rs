//! A second pass at a larger size over a finished picture ("hires fix").

use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::{Code, Error, Result};
use crate::samplers::{Sampler, Schedule};

use super::init::planes;
use super::resample::{Filter, resample};
use super::{Generation, Image, Init, Params, Picture, StableDiffusion};

/// How a picture is made larger before the second pass. A1111 has those with a name of its own; ComfyUI's nodes LatentUpscale
/// and ImageScale those without antialiasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upscaler {
    /// The latents, linearly: A1111's "Latent", ComfyUI's `bilinear`.
    #[default]
    Latent,
    /// The latents, antialiased.
    LatentAntialiased,
    /// The latents, cubically.
    LatentBicubic,
    /// The latents, cubically, antialiased.
    LatentBicubicAntialiased,
    /// The latents, each the one at or before.
    LatentNearest,
    /// The latents, each the nearest.
    LatentNearestExact,
    /// The latents, each the mean of what it covers.
    LatentArea,
    /// The latents, as directions.
    LatentBislerp,
    /// The pixels, by Lanczos' filter with three lobes, as Pillow does: A1111's "Lanczos".
    Lanczos,
    /// The pixels, each the nearest: A1111's "Nearest", ComfyUI's `nearest-exact`.
    Nearest,
    /// The pixels, linearly.
    Bilinear,
    /// The pixels, cubically.
    Bicubic,
    /// The pixels, each the mean of what it covers.
    Area,
}

/// What an upscaler works on.
enum Domain {
    Latents(Filter),
    Pixels(Filter),
    /// Pixels, as bytes.
    Lanczos,
}

impl Upscaler {
    /// All of them.
    pub const ALL: [Upscaler; 13] = [
        Upscaler::Latent,
        Upscaler::LatentAntialiased,
        Upscaler::LatentBicubic,
        Upscaler::LatentBicubicAntialiased,
        Upscaler::LatentNearest,
        Upscaler::LatentNearestExact,
        Upscaler::LatentArea,
        Upscaler::LatentBislerp,
        Upscaler::Lanczos,
        Upscaler::Nearest,
        Upscaler::Bilinear,
        Upscaler::Bicubic,
        Upscaler::Area,
    ];

    /// Name in options, name in A1111's infotexts (its own where it has none), and what it does.
    fn facts(self) -> (&'static str, &'static str, Domain) {
        use Domain::{Latents, Pixels};
        match self {
            Upscaler::Latent => ("latent", "Latent", Latents(Filter::Linear)),
            Upscaler::LatentAntialiased => {
                ("latent-antialiased", "Latent (antialiased)", Latents(Filter::SmoothLinear))
            }
            Upscaler::LatentBicubic => ("latent-bicubic", "Latent (bicubic)", Latents(Filter::Cubic)),
            Upscaler::LatentBicubicAntialiased => {
                ("latent-bicubic-antialiased", "Latent (bicubic antialiased)", Latents(Filter::SmoothCubic))
            }
            Upscaler::LatentNearest => ("latent-nearest", "Latent (nearest)", Latents(Filter::Nearest)),
            Upscaler::LatentNearestExact => {
                ("latent-nearest-exact", "Latent (nearest-exact)", Latents(Filter::NearestExact))
            }
            Upscaler::LatentArea => ("latent-area", "Latent (area)", Latents(Filter::Area)),
            Upscaler::LatentBislerp => ("latent-bislerp", "Latent (bislerp)", Latents(Filter::Spherical)),
            Upscaler::Lanczos => ("lanczos", "Lanczos", Domain::Lanczos),
            Upscaler::Nearest => ("nearest", "Nearest", Pixels(Filter::NearestExact)),
            Upscaler::Bilinear => ("bilinear", "Bilinear", Pixels(Filter::Linear)),
            Upscaler::Bicubic => ("bicubic", "Bicubic", Pixels(Filter::Cubic)),
            Upscaler::Area => ("area", "Area", Pixels(Filter::Area)),
        }
    }

    /// The name in options.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// What A1111's infotexts call it.
    pub fn a1111_name(self) -> &'static str {
        self.facts().1
    }

    /// # Errors
    /// [`Code::BadOption`] for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        // A1111's "None" is no upscaler, but what then brings the picture to its size is Lanczos' filter.
        let name = if name == "None" { Upscaler::Lanczos.name() } else { name };
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
        let picture = Picture::Latents(self.enlarged(first, hires.upscaler, [height, width]).await?);
        let again = hires.params(params, picture, [width, height]);
        let prompts = self.read_prompts(&again, Some(params));
        let mut second = self.start_with(&again, prompts).await?;
        second.enlarged = Some((params.clone(), hires.clone()));
        Ok(second)
    }

    /// The latents of all pictures of a first pass, at another size in pixels.
    async fn enlarged(&self, first: &Generation, upscaler: Upscaler, to: [usize; 2]) -> Result<Vec<f32>> {
        let params = first.params();
        let from = [params.height, params.width];
        let mut latents = Vec::new();
        match upscaler.facts().2 {
            Domain::Latents(filter) => {
                let [from, to] = [from, to].map(|size| size.map(|side| side / 8));
                for picture in first.latents().await?.chunks(4 * from[0] * from[1]) {
                    latents.extend(resample(picture, from, to, filter));
                }
            }
            Domain::Pixels(filter) => {
                for picture in 0..params.batch {
                    let planes = planes(&first.image_of(picture, self).await?);
                    latents.extend(self.networks.encode(&resample(&planes, from, to, filter), to).await?);
                }
            }
            Domain::Lanczos => {
                for picture in 0..params.batch {
                    let image = lanczos(&first.image_of(picture, self).await?, to[1], to[0])?;
                    latents.extend(self.encode(&image).await?);
                }
            }
        }
        Ok(latents)
    }
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
