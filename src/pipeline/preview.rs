//! Pictures of unfinished latents, the quick way: one linear map from a latent pixel's four numbers to its colour.
//!
//! ComfyUI and A1111 carry such factors for the VAE of SD 1.5. Here they are fitted to what the VAE in use makes of small
//! probes, so that they suit every VAE there is, also those of small models.

use std::rc::Rc;

use crate::error::Result;
use crate::samplers::torch_randn;

use super::generation::FACTOR;
use super::{Generation, Image, Params, StableDiffusion};

/// Side of a probe in latent pixels.
const SIDE: usize = 8;
/// Their number. Decoding them is a fifth of a step of 512×512, once; twice as many were hardly better.
const PROBES: usize = 8;
/// Pixels of a probe.
const PIXELS: usize = SIDE * SIDE;
/// Spread of their values: between that of SD 1.5's latents and the demo model's.
const DEVIATION: f32 = 0.7;
/// Keeps the equations solvable whatever the decoder answers.
const RIDGE: f64 = 1e-4;

/// From latents to colours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Preview {
    /// What each channel adds to red, green and blue (0…255), then what there is without any.
    factors: [[f32; 3]; 5],
}

impl Preview {
    /// The map nearest to `colours` of as many `pixels` of latents, by least squares.
    fn fit(pixels: &[[f32; 4]], colours: &[[f32; 3]]) -> Self {
        let number = |k: usize, i: usize| if k < 4 { f64::from(pixels[i][k]) } else { 1.0 };
        // The normal equations: five unknowns, three right-hand sides.
        let mut rows = [[0.0; 8]; 5];
        for (k, row) in rows.iter_mut().enumerate() {
            for (i, colour) in colours.iter().enumerate() {
                for (j, sum) in row[..5].iter_mut().enumerate() {
                    *sum += number(k, i) * number(j, i);
                }
                for (sum, &x) in row[5..].iter_mut().zip(colour) {
                    *sum += number(k, i) * f64::from(x);
                }
            }
            row[k] += RIDGE * pixels.len() as f64;
        }
        eliminate(&mut rows);
        Self { factors: rows.map(|row| [row[5], row[6], row[7]].map(|x| x as f32)) }
    }

    /// Latents (4, h, w) as a picture of h×w pixels.
    fn draw(&self, latents: &[f32], [height, width]: [usize; 2]) -> Image {
        let pixels = height * width;
        let colour = |i: usize| {
            let [reds, greens, blues] = [0, 1, 2].map(|c| {
                let sum: f32 = (0..4).map(|k| self.factors[k][c] * latents[k * pixels + i]).sum();
                (self.factors[4][c] + sum).clamp(0.0, 255.0).round() as u8
            });
            [reds, greens, blues, 255]
        };
        Image { width, height, rgba: (0..pixels).flat_map(colour).collect() }
    }
}

/// Gauss–Jordan on a positive definite matrix, which needs no pivots: the last three columns become the solutions.
fn eliminate(rows: &mut [[f64; 8]; 5]) {
    for k in 0..5 {
        let pivot = rows[k].map(|x| x / rows[k][k]);
        for (j, row) in rows.iter_mut().enumerate() {
            let factor = row[k];
            for (x, p) in row.iter_mut().zip(pivot) {
                *x = if j == k { p } else { *x - factor * p };
            }
        }
    }
}

/// Latents (4, SIDE, SIDE) of one random value each, but for another in their middle; the same at every call. A decoder's
/// colours depend on what surrounds a pixel, and most of it is alike in pictures: maps that were fitted to latents of one random
/// value a pixel were 3 dB further from the demo model's pictures.
fn probe(which: usize) -> Vec<f32> {
    let values = &torch_randn(0, PROBES * 8)[which * 8..][..8];
    let inner = |x: usize| (SIDE / 4..SIDE - SIDE / 4).contains(&x);
    let value = |i: usize| {
        let middle = inner(i / SIDE % SIDE) && inner(i % SIDE);
        values[i / PIXELS + if middle { 4 } else { 0 }] * DEVIATION
    };
    (0..4 * PIXELS).map(value).collect()
}

/// (4, PIXELS) → (PIXELS, 4).
fn pixels_of(latents: &[f32]) -> impl Iterator<Item = [f32; 4]> {
    (0..PIXELS).map(|i| [0, 1, 2, 3].map(|k| latents[k * PIXELS + i]))
}

/// The mean colour of each latent pixel's part of a probe's picture.
fn means(rgba: &[u8]) -> Vec<[f32; 3]> {
    let mut sums = vec![[0.0; 3]; PIXELS];
    for (i, pixel) in rgba.chunks_exact(4).enumerate() {
        let (y, x) = (i / (SIDE * FACTOR) / FACTOR, i % (SIDE * FACTOR) / FACTOR);
        for (sum, &byte) in sums[y * SIDE + x].iter_mut().zip(pixel) {
            *sum += f32::from(byte) / (FACTOR * FACTOR) as f32;
        }
    }
    sums
}

impl StableDiffusion {
    /// The map that suits the VAE in use: fitted when first asked for.
    async fn previews(&self) -> Result<Rc<Preview>> {
        if let Some(known) = self.preview.borrow().clone() {
            return Ok(known);
        }
        let (mut pixels, mut colours) = (Vec::new(), Vec::new());
        for latents in (0..PROBES).map(probe) {
            colours.extend(means(&self.networks.decode(&latents, [SIDE; 2], false).await?));
            pixels.extend(pixels_of(&latents));
        }
        let fitted = Rc::new(Preview::fit(&pixels, &colours));
        self.preview.replace(Some(fitted.clone()));
        Ok(fitted)
    }
}

impl Generation {
    /// What the picture, or the first of a batch, is going to be, as the last step saw it: a pixel for every 8×8. The first
    /// preview with a VAE also decodes some small probes with it.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn preview(&self, sd: &StableDiffusion) -> Result<Image> {
        let [h, w] = self.latent_size();
        let denoised = self.denoised().await?;
        Ok(sd.previews().await?.draw(&denoised[..4 * h * w], [h, w]))
    }

    /// The same in full size, by TAESD.
    ///
    /// # Errors
    /// [`Code::BadOption`](crate::Code::BadOption) without a TAESD, and whatever the GPU reports.
    pub async fn preview_by_taesd(&self, sd: &StableDiffusion) -> Result<Image> {
        let Params { width, height, .. } = *self.params();
        sd.networks.check_taesd(width, height)?;
        let [h, w] = self.latent_size();
        let denoised = self.denoised().await?;
        let rgba = sd.networks.decode_by_taesd(&denoised[..4 * h * w], [h, w]).await?;
        Ok(Image { width, height, rgba })
    }

    fn latent_size(&self) -> [usize; 2] {
        [self.params().height / FACTOR, self.params().width / FACTOR]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_decoder_is_found() {
        let factors = [[10.0, -20.0, 3.0], [5.0, 4.0, -30.0], [-8.0, 9.0, 1.0], [2.0, 7.0, 6.0], [128.0, 100.0, 90.0]];
        let pixels: Vec<[f32; 4]> = (0..PROBES).flat_map(|i| pixels_of(&probe(i)).collect::<Vec<_>>()).collect();
        let colour =
            |pixel: &[f32; 4]| [0, 1, 2].map(|c| factors[4][c] + (0..4).map(|k| factors[k][c] * pixel[k]).sum::<f32>());
        let found = Preview::fit(&pixels, &pixels.iter().map(colour).collect::<Vec<_>>());
        for (found, expected) in found.factors.iter().flatten().zip(factors.iter().flatten()) {
            assert!((found - expected).abs() < 0.05, "{found} for {expected}");
        }
        let drawn = found.draw(&[0.0; 8], [1, 2]);
        assert_eq!((drawn.width, drawn.height), (2, 1));
        assert!(drawn.rgba[0].abs_diff(128) <= 1 && drawn.rgba[3] == 255, "{drawn:?}");
    }

    #[test]
    fn a_decoder_that_answers_nothing_gives_one_colour() {
        let found = Preview::fit(&[[0.0; 4]; 4], &[[7.0, 8.0, 9.0]; 4]);
        assert_eq!(found.draw(&[1.0, -2.0, 3.0, -4.0], [1, 1]).rgba, [7, 8, 9, 255]);
    }
}
