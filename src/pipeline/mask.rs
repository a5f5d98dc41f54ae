//! Which part of a picture is painted anew (inpainting), as each tool sees it, and what lies there before.

use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::{Code, Error, Result};
use crate::samplers::Tool;

use super::init::planes;
use super::{Area, Image, Params};

/// A mask over a picture to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// (height · width), row by row: 1 where the picture is painted anew, 0 where it is kept.
    pub pixels: Vec<f32>,
    /// A1111's "Mask blur": σ in pixels of the Gauss curve that the mask is blurred with.
    pub blur: f64,
    /// What lies under the mask before the first step.
    pub content: MaskedContent,
    /// A1111's inpaint area "Only masked": so many pixels around what is masked are all that is worked on, at the size of the
    /// result, and are put back into the picture, which may have any size. `None` is the whole picture.
    pub only_masked: Option<usize>,
}

/// What lies under the mask before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaskedContent {
    /// The picture.
    #[default]
    Original,
    /// The colours around the mask, smeared over it: A1111's "fill".
    Fill,
    /// Noise, in the latents: A1111's "latent noise".
    LatentNoise,
    /// Zeros, in the latents: A1111's "latent nothing".
    LatentNothing,
    /// Gray, under a mask that reaches some pixels further: ComfyUI's node `VAEEncodeForInpaint` with its usual 6.
    Gray,
}

impl MaskedContent {
    /// All of them.
    pub const ALL: [MaskedContent; 5] = [
        MaskedContent::Original,
        MaskedContent::Fill,
        MaskedContent::LatentNoise,
        MaskedContent::LatentNothing,
        MaskedContent::Gray,
    ];

    /// The name in options and in A1111's infotexts.
    pub fn name(self) -> &'static str {
        match self {
            MaskedContent::Original => "original",
            MaskedContent::Fill => "fill",
            MaskedContent::LatentNoise => "latent noise",
            MaskedContent::LatentNothing => "latent nothing",
            MaskedContent::Gray => "gray",
        }
    }

    /// # Errors
    /// [`Code::BadOption`] for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(Code::BadOption, format!("there is no such masked content; known are: {names}"))
        })
    }
}

impl From<Vec<f32>> for Mask {
    /// A mask as it is, over the picture.
    fn from(pixels: Vec<f32>) -> Self {
        Self { pixels, blur: 0.0, content: MaskedContent::Original, only_masked: None }
    }
}

/// A1111's slider ends at 64.
const MOST_BLUR: f64 = 256.0;
/// How much further `VAEEncodeForInpaint` makes a mask reach: up and left by half, down and right by a pixel less.
const GROW: usize = 6;

impl Mask {
    /// # Errors
    /// [`Code::BadOption`] with what was given and what is expected.
    pub(super) fn check(&self, width: usize, height: usize) -> Result<()> {
        let bad = |sentence: String| Err(Error::new(Code::BadOption, sentence));
        if self.pixels.len() != width * height {
            let (found, expected) = (self.pixels.len(), width * height);
            return bad(format!("the mask has {found} pixels; a picture of {width}×{height} has {expected}"));
        }
        if !self.pixels.iter().all(|m| (0.0..=1.0).contains(m)) {
            return bad("a mask must be numbers from 0 (kept) to 1 (painted anew)".to_string());
        }
        if self.pixels.iter().all(|m| *m == 0.0) {
            return bad("the mask is empty: mark the part of the picture that is to be painted anew".to_string());
        }
        if !(0.0..=MOST_BLUR).contains(&self.blur) {
            return bad(format!("the mask's blur is {}; it must be from 0 to {MOST_BLUR} pixels", self.blur));
        }
        if self.only_masked.is_some() && self.content == MaskedContent::Gray {
            return bad("gray is ComfyUI's way and goes over the whole picture; with only what is masked, choose another masked content".to_string());
        }
        Ok(())
    }

    /// The part of the picture that is worked on, if it is not all of it.
    ///
    /// # Errors
    /// [`Code::BadOption`] if nothing is masked.
    pub(super) fn area(&self, prepared: &[f32], image: &Image, params: &Params) -> Result<Option<Area>> {
        let Some(padding) = self.only_masked else { return Ok(None) };
        let size = [image.height, image.width];
        let area = Area::around(prepared, size, padding, [params.height, params.width]).ok_or_else(|| {
            let sentence = "the mask is too faint: only what is lighter than half gray counts as masked for A1111";
            Error::new(Code::BadOption, sentence)
        })?;
        Ok(Some(area))
    }

    /// The mask that a tool works with, (height · width): A1111 makes it black and white first; then it is blurred, or grown.
    pub fn prepared(&self, [height, width]: [usize; 2], tool: Tool) -> Vec<f32> {
        let mut mask = self.pixels.clone();
        if tool == Tool::A1111 {
            mask.iter_mut().for_each(|m| *m = f32::from(*m > HALF));
        }
        if self.blur > 0.0 {
            mask = blurred(&mask, [height, width], self.blur);
        }
        if self.content == MaskedContent::Gray {
            mask = grown(&mask, [height, width]);
        }
        mask
    }

    /// The mask of latents (h · w) that a tool makes of its mask: ComfyUI interpolates between the four pixels in the middle of each
    /// eight by eight, A1111 shrinks by Pillow's bicubic filter and rounds.
    ///
    /// # Errors
    /// [`Code::Internal`] if the resizing refuses, which it has no reason to.
    pub fn shrunk(prepared: &[f32], size: [usize; 2], tool: Tool) -> Result<Vec<f32>> {
        match tool {
            Tool::A1111 => bicubic(prepared, size),
            Tool::ComfyUi => Ok(middles(prepared, size)),
        }
    }

    /// What the encoder is shown, (3, height, width) in −1…1: the picture, with something else under the mask if that is said
    /// in pixels.
    pub fn filled(&self, image: &Image, prepared: &[f32]) -> Vec<f32> {
        match self.content {
            MaskedContent::Original => planes(image),
            MaskedContent::Gray => {
                let kept = self.pixels.iter().map(|m| 1.0 - m.round()).cycle();
                planes(image).into_iter().zip(kept).map(|(x, kept)| x * kept).collect()
            }
            // A1111 fills the pixels also where the latents are replaced afterwards.
            _ => planes(&smeared(image, prepared)),
        }
    }
}

/// A byte of 128 is still black to A1111.
const HALF: f32 = 128.0 / 255.0;

/// (height, width) → (h, w): the mean of the four pixels in the middle of each eight by eight.
fn middles(mask: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let middle = |(y, x): (usize, usize)| {
        let at = |dy: usize, dx: usize| mask[(y * 8 + dy) * width + x * 8 + dx];
        (at(3, 3) + at(3, 4) + at(4, 3) + at(4, 4)) / 4.0
    };
    (0..height / 8).flat_map(|y| (0..width / 8).map(move |x| (y, x))).map(middle).collect()
}

/// (height, width) → (h, w), zeros and ones.
fn bicubic(mask: &[f32], [height, width]: [usize; 2]) -> Result<Vec<f32>> {
    let failed = |e: String| Error::new(Code::Internal, format!("the mask could not be made smaller: {e}"));
    let bytes: Vec<u8> = mask.iter().flat_map(|m| [(m * 255.0).round() as u8; 4]).collect();
    let from =
        ImageRef::new(width as u32, height as u32, &bytes, PixelType::U8x4).map_err(|e| failed(e.to_string()))?;
    let mut to = Pixels::new((width / 8) as u32, (height / 8) as u32, PixelType::U8x4);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false);
    Resizer::new().resize(&from, &mut to, &options).map_err(|e| failed(e.to_string()))?;
    Ok(to.buffer().iter().step_by(4).map(|&byte| (f32::from(byte) / 255.0).round()).collect())
}

/// OpenCV's `GaussianBlur` of bytes, as A1111 calls it: 2·⌊2.5 σ + ½⌋ + 1 pixels wide, the border mirrored.
fn blurred(mask: &[f32], [height, width]: [usize; 2], sigma: f64) -> Vec<f32> {
    let reach = (2.5 * sigma + 0.5) as isize;
    let weights: Vec<f64> = (-reach..=reach).map(|i| (-((i * i) as f64) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    // BORDER_REFLECT_101: the outermost pixel is not repeated.
    let mirrored = |i: isize, n: isize| {
        let period = (2 * n - 2).max(1);
        let i = i.rem_euclid(period);
        i.min(period - i).min(n - 1) as usize
    };
    let line = |line: &[f32]| {
        let pixel = |at: isize| {
            let around = (-reach..=reach).zip(&weights);
            let sum_of = around.map(|(i, weight)| f64::from(line[mirrored(at + i, line.len() as isize)]) * weight);
            (sum_of.sum::<f64>() / sum) as f32
        };
        (0..line.len() as isize).map(pixel).collect()
    };
    let mut mask = mask.to_vec();
    along_both(&mut mask, [height, width], line);
    mask.into_iter().map(|m| (m * 255.0).round() / 255.0).collect()
}

/// Everything within reach of a masked pixel (ComfyUI's `grow_mask_by`: a window of 6 by 6, padded by 3).
fn grown(mask: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let half = GROW / 2;
    let line = |line: &[f32]| {
        let any = |at: usize| line[at.saturating_sub(half)..(at + half).min(line.len())].contains(&1.0);
        (0..line.len()).map(|at| f32::from(any(at))).collect()
    };
    let mut mask: Vec<f32> = mask.iter().map(|m| m.round()).collect();
    along_both(&mut mask, [height, width], line);
    mask
}

/// Changes the rows of a plane (height · width), then its columns.
fn along_both(plane: &mut [f32], [height, width]: [usize; 2], line: impl Fn(&[f32]) -> Vec<f32>) {
    for row in plane.chunks_exact_mut(width) {
        row.copy_from_slice(&line(row));
    }
    for x in 0..width {
        let column: Vec<f32> = (0..height).map(|y| plane[y * width + x]).collect();
        line(&column).into_iter().enumerate().for_each(|(y, value)| plane[y * width + x] = value);
    }
}

/// Radii and repetitions of the blurs that A1111 lays over each other (modules/masking.py, `fill`).
const SMEARS: [(f64, usize); 6] = [(256.0, 1), (64.0, 1), (16.0, 2), (4.0, 4), (2.0, 2), (0.0, 1)];

/// What is masked is filled with the colours around it: the picture without its masked part, blurred more and less, the less
/// blurred over the more. Numbers are bytes after every part of the work, as Pillow's are.
fn smeared(image: &Image, mask: &[f32]) -> Image {
    let size = [image.height, image.width];
    // Red, green and blue multiplied with what is there of them, and what is there.
    let there: [Vec<f32>; 4] = std::array::from_fn(|c| {
        let pixel = |(pixel, m): (&[u8], &f32)| {
            let kept = 255.0 - (m * 255.0).round();
            if c == 3 { kept } else { (f32::from(pixel[c]) * kept / 255.0).round() }
        };
        image.rgba.chunks_exact(4).zip(mask).map(pixel).collect()
    });
    let mut under = vec![[0.0; 4]; mask.len()];
    for (radius, times) in SMEARS {
        let mut over = there.clone();
        if radius > 0.0 {
            let thrice = |line: &[f32]| (0..3).fold(line.to_vec(), |line, _| box_blurred(&line, radius));
            over.iter_mut().for_each(|plane| along_both(plane, size, thrice));
        }
        for (i, under) in under.iter_mut().enumerate().filter(|(i, _)| over[3][*i] > 0.0) {
            let over =
                [0, 1, 2, 3].map(|c| if c == 3 { over[3][i] } else { (255.0 * over[c][i] / over[3][i]).floor() });
            (0..times).for_each(|_| *under = laid_over(over, *under));
        }
    }
    let mut image = image.clone();
    for (pixel, under) in image.rgba.chunks_exact_mut(4).zip(under) {
        (0..3).for_each(|c| pixel[c] = under[c] as u8);
    }
    image
}

/// A colour with its opacity over another (Porter and Duff 1984), in bytes.
fn laid_over(over: [f32; 4], under: [f32; 4]) -> [f32; 4] {
    let seen = under[3] * (255.0 - over[3]) / 255.0;
    let all = over[3] + seen;
    let mixed = |c: usize| ((over[c] * over[3] + under[c] * seen) / all).round();
    [mixed(0), mixed(1), mixed(2), all.round()]
}

/// One of the three box blurs that Pillow's `GaussianBlur` is made of (Gwosdek et al. 2011, equations 7, 11 and 14): the box
/// ends in parts of pixels, the outermost pixel goes on for ever, results are bytes.
fn box_blurred(line: &[f32], sigma: f64) -> Vec<f32> {
    let variance = sigma * sigma / 3.0;
    let whole = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
    let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    let weight = 1.0 / (2.0 * (whole + part) + 1.0);
    let last = line.len() as isize - 1;
    let at = |i: isize| f64::from(line[i.clamp(0, last) as usize]);
    let reach = whole as isize;
    let mut sum: f64 = (-reach..=reach).map(at).sum();
    let pixel = |x: isize| {
        let found = weight * (sum + part * (at(x - reach - 1) + at(x + reach + 1)));
        sum += at(x + reach + 1) - at(x - reach);
        found.round() as f32
    };
    (0..=last).map(pixel).collect()
}
