//! Only the masked part of a picture painted anew, at the size of the result, and put back: A1111's inpaint area "Only masked".
//!
//! Sizes and roundings are those of A1111's `modules/masking.py` (`get_crop_region_v2`, `expand_crop_region`) and
//! `modules/images.py` (`resize_image`, modes 1 and 2).

use crate::error::Result;

use super::Image;
use super::hires::lanczos;

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Its left side.
    pub x: usize,
    /// Its upper side.
    pub y: usize,
    /// Its width.
    pub width: usize,
    /// Its height.
    pub height: usize,
}

impl Area {
    /// What surrounds all that is masked with `padding` pixels between, grown to the shape of `to` as far as the picture goes;
    /// `None` if nothing is masked. Sizes are (height, width).
    pub fn around(mask: &[f32], [height, width]: [usize; 2], padding: usize, to: [usize; 2]) -> Option<Self> {
        let masked = |(_, m): &(usize, &f32)| **m > 0.0;
        let places = || mask.iter().enumerate().filter(masked).map(|(at, _)| at);
        let (top, bottom) = (places().next()? / width, places().next_back()? / width);
        let (left, right) = (places().map(|at| at % width).min()?, places().map(|at| at % width).max()?);
        let padded = |first: usize, last: usize, side: usize| {
            [first.saturating_sub(padding), (last + 1 + padding).min(side)].map(|at| at as i64)
        };
        let (mut x, mut y) = (padded(left, right, width), padded(top, bottom, height));
        let wanted = to[1] as f64 / to[0] as f64;
        let (w, h) = ((x[1] - x[0]) as f64, (y[1] - y[0]) as f64);
        if w / h > wanted {
            y = grown(y, w / wanted, height as i64);
        } else {
            x = grown(x, h * wanted, width as i64);
        }
        let [from, to] = [0, 1].map(|i| (x[i] as usize, y[i] as usize));
        Some(Self { x: from.0, y: from.1, width: to.0 - from.0, height: to.1 - from.1 })
    }

    /// This part of a picture, brought to the size of a result: whole, its border repeated where its shape is another.
    ///
    /// # Errors
    /// [`Code::Internal`](crate::Code::Internal) if the resizing refuses, which it has no reason to.
    pub fn cut(&self, image: &Image, width: usize, height: usize) -> Result<Image> {
        let rows = (self.y..self.y + self.height).flat_map(|y| {
            let start = (y * image.width + self.x) * 4;
            &image.rgba[start..start + self.width * 4]
        });
        let part = Image { width: self.width, height: self.height, rgba: rows.copied().collect() };
        let wide = width * self.height < self.width * height;
        // The side that fits exactly, and the other by the part's shape.
        let size =
            if wide { [width, self.height * width / self.width] } else { [self.width * height / self.height, height] };
        placed(&part, size, [width, height])
    }

    /// The same of a mask.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn cut_mask(&self, mask: &[f32], picture_width: usize, width: usize, height: usize) -> Result<Vec<f32>> {
        let rgba = mask.iter().flat_map(|m| [(m * 255.0).round() as u8; 4]).collect();
        let image = Image { width: picture_width, height: mask.len() / picture_width, rgba };
        let cut = self.cut(&image, width, height)?;
        Ok(cut.rgba.iter().step_by(4).map(|byte| f32::from(*byte) / 255.0).collect())
    }

    /// What was made of this part, back in its place, as far as the mask over `picture` lets it through.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn put_back(&self, made: &Image, picture: &Image, mask: &[f32]) -> Result<Image> {
        let wide = self.width * made.height > made.width * self.height;
        // As large as covers the area; what reaches out of it is cut off.
        let (w, h) = (self.width, self.height);
        let size = if wide { [w, made.height * w / made.width] } else { [made.width * h / made.height, h] };
        let part = placed(made, size, [w, h])?;
        let mut picture = picture.clone();
        for (y, row) in part.rgba.chunks_exact(w * 4).enumerate() {
            let at = (self.y + y) * picture.width + self.x;
            let under = picture.rgba[at * 4..].chunks_exact_mut(4).zip(&mask[at..]);
            for (new, (old, m)) in row.chunks_exact(4).zip(under) {
                old.iter_mut().zip(new).take(3).for_each(|(old, new)| *old = laid_over(*new, *old, *m));
            }
        }
        Ok(picture)
    }
}

/// A byte over another, as far as it is seen.
pub(super) fn laid_over(new: u8, old: u8, seen: f32) -> u8 {
    (f32::from(new) * seen + f32::from(old) * (1.0 - seen)).round() as u8
}

/// A span grown to a length on both sides, and moved back into `0..side`.
fn grown([mut from, mut to]: [i64; 2], length: f64, side: i64) -> [i64; 2] {
    let more = (length - (to - from) as f64) as i64;
    from -= more / 2;
    to += more - more / 2;
    let over = (to - side).max(0);
    (from, to) = (from - over, to - over);
    let under = (-from).max(0);
    [from + under, (to + under).min(side)]
}

/// A picture, resized by Lanczos' filter, in the middle of another size: cut off, or its border repeated.
fn placed(image: &Image, size: [usize; 2], [width, height]: [usize; 2]) -> Result<Image> {
    let [w, h] = size.map(|side| side.max(1));
    let scaled = lanczos(image, w, h)?;
    let at = |i: usize, to: usize, of: usize| (i + of / 2).saturating_sub(to / 2).min(of - 1);
    let pixel = |(x, y): (usize, usize)| {
        let start = (at(y, height, h) * w + at(x, width, w)) * 4;
        &scaled.rgba[start..start + 4]
    };
    let rgba = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(pixel).copied().collect();
    Ok(Image { width, height, rgba })
}
