//! Pictures of unfinished latents, the quick way: one linear map from a latent pixel's four numbers to its colour.
//!
//! ComfyUI and A1111 carry such factors for the VAE of SD 1.5. Here they are fitted to what the VAE in use makes of a small
//! probe, so that they suit every VAE there is, also those of small models.

use std::rc::Rc;

use crate::error::Result;
use crate::samplers::torch_randn;

use super::generation::FACTOR;
use super::{Generation, Image, Params, StableDiffusion};

/// Side of the probe in latent pixels: the decoding of 128×128 pixels, a tenth of a step of 512×512, once.
const SIDE: usize = 16;
/// Side of its patches of one value: what surrounds a pixel is mostly like it, as in pictures.
const PATCH: usize = 2;
/// Spread of the values: the denoised latents' own.
const DEVIATION: f32 = 1.0;
/// Keeps the equations solvable whatever the decoder answers.
const RIDGE: f64 = 1e-4;

/// From latents to colours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Preview {
    /// What each channel adds to red, green and blue (0…255), then what there is without any.
    factors: [[f32; 3]; 5],
}

impl Preview {
    /// The map nearest to `colours` (pixels, 3) of `latents` (4, pixels), by least squares.
    fn fit(latents: &[f32], colours: &[[f32; 3]]) -> Self {
        let pixels = colours.len();
        let number = |k: usize, i: usize| if k < 4 { f64::from(latents[k * pixels + i]) } else { 1.0 };
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
            row[k] += RIDGE * pixels as f64;
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

/// Latents (4, SIDE, SIDE) of random patches, the same at every call.
fn probe() -> Vec<f32> {
    let patches = SIDE / PATCH;
    let values = torch_randn(0, 4 * patches * patches);
    let at = |i: usize| (i / (SIDE * SIDE), i / SIDE % SIDE / PATCH, i % SIDE / PATCH);
    let value = |i| {
        let (channel, y, x) = at(i);
        values[(channel * patches + y) * patches + x] * DEVIATION
    };
    (0..4 * SIDE * SIDE).map(value).collect()
}

/// The mean colour of each latent pixel's part of a picture.
fn means(rgba: &[u8]) -> Vec<[f32; 3]> {
    let mut sums = vec![[0.0; 3]; SIDE * SIDE];
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
        let latents = probe();
        let picture = self.networks.decode(&latents, [SIDE; 2], false).await?;
        let fitted = Rc::new(Preview::fit(&latents, &means(&picture)));
        self.preview.replace(Some(fitted.clone()));
        Ok(fitted)
    }
}

impl Generation {
    /// What the picture, or the first of a batch, is going to be, as the last step saw it: a pixel for every 8×8 of the picture. The first preview
    /// with a VAE also decodes a small probe with it.
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
        let latents = probe();
        let pixels = SIDE * SIDE;
        let colours: Vec<[f32; 3]> = (0..pixels)
            .map(|i| {
                [0, 1, 2].map(|c| factors[4][c] + (0..4).map(|k| factors[k][c] * latents[k * pixels + i]).sum::<f32>())
            })
            .collect();
        let found = Preview::fit(&latents, &colours);
        for (found, expected) in found.factors.iter().flatten().zip(factors.iter().flatten()) {
            assert!((found - expected).abs() < 0.05, "{found} for {expected}");
        }
        let drawn = found.draw(&[0.0; 8], [1, 2]);
        assert_eq!((drawn.width, drawn.height), (2, 1));
        assert!(drawn.rgba[0].abs_diff(128) <= 1 && drawn.rgba[3] == 255, "{drawn:?}");
    }

    #[test]
    fn a_decoder_that_answers_nothing_gives_one_colour() {
        let found = Preview::fit(&[0.0; 4 * 4], &[[7.0, 8.0, 9.0]; 4]);
        assert_eq!(found.draw(&[1.0, -2.0, 3.0, -4.0], [1, 1]).rgba, [7, 8, 9, 255]);
    }
}
