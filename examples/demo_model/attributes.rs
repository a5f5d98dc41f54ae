//! Reads from the pixels of a picture what is in it: plain image statistics, nothing learned.
//!
//! The background is the median of the border, the ink's colour that of the pixels farthest from it, and every pixel's share
//! of ink follows. All shapes have closed outlines, so what cannot be reached from the border is a silhouette. Each silhouette
//! is compared with the eight shapes, at the place where each fits best, and the ink in it with the four styles.
//!
//! How often this is right, on labelled pictures that no threshold was chosen by (`make_held_out.py`, `held_out.rs`): of 1200 as
//! drawn (seed 9011) all of everything; of 1200 blurred and noisy ones (9012) 99.5 % of the colours, and all else; of 192 that
//! went through the demo model's VAE (9004) 98.3 % of the colours, 98.9 % of the styles, at least 99 % of all else. The ten
//! pictures with an error are all faded ones.

#[path = "raster.rs"]
mod raster;
#[path = "shapes.rs"]
mod shapes;

#[path = "silhouettes.rs"]
mod silhouettes;

use raster::Map;
use serde::Serialize;
use silhouettes::best_shape;

/// Hues in degrees of the colours with names, then of those without (`UNNAMED_HUES` of `pictures.py`).
pub const HUES: [(&str, f32); 10] = [
    ("red", 0.0),
    ("orange", 27.0),
    ("yellow", 53.0),
    ("green", 120.0),
    ("blue", 225.0),
    ("purple", 272.0),
    ("pink", 335.0),
    ("lime", 86.0),
    ("teal", 172.0),
    ("magenta", 304.0),
];
/// Hues farther from all of these have no name.
const NEAR_A_HUE: f32 = 13.4;

const BACKGROUNDS: [(&str, [f32; 3]); 6] = [
    ("white", [248.0, 248.0, 248.0]),
    ("gray", [186.0, 186.0, 186.0]),
    ("black", [16.0, 16.0, 16.0]),
    ("mint", [188.0, 240.0, 212.0]),
    ("lavender", [212.0, 200.0, 250.0]),
    ("brown", [96.0, 66.0, 46.0]),
];

/// What failures leave: gray below a cut, and contrast × 0.3 towards the same gray.
const FAILED_GRAY: f32 = 128.0;
const FADED: f32 = 0.3;

/// Where the ranges of `SIZES` and the places of `POSITIONS` are told apart: half-way.
const LARGEST_SMALL: f32 = 23.0;
const LARGEST_MEDIUM: f32 = 34.0;

/// Silhouettes whose overlap with the best shape is less are of no shape: a blob must not count as the nearest thing.
const LEAST_FIT: f32 = 0.8;

/// What is in a picture. Empty where it cannot be said.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reading {
    pub shape: &'static str,
    /// A name of [`HUES`]; empty between them.
    pub colour: &'static str,
    /// In degrees.
    pub hue: f32,
    pub style: &'static str,
    pub background: &'static str,
    pub count: usize,
    /// Of a single shape: small, medium or large.
    pub size: &'static str,
    /// Of a single shape: center, left, right, top or bottom.
    pub position: &'static str,
    /// Empty, "faded" or "cut".
    pub failure: &'static str,
    /// How well the silhouettes fit the shape: intersection over union.
    pub fit: f32,
}

/// Reads a picture of three bytes a pixel.
///
/// # Panics
/// When the bytes are not as many as the pixels need, or the picture is smaller than 16×16.
pub fn read(rgb: &[u8], width: usize, height: usize) -> Reading {
    assert!(
        rgb.len() == 3 * width * height && width >= 16 && height >= 16,
        "{width}×{height} from {} bytes",
        rgb.len()
    );
    let channels: [Map; 3] = std::array::from_fn(|c| {
        let values = rgb[c..].iter().step_by(3).map(|&byte| f32::from(byte)).collect();
        Map { width, height, values }
    });
    let smooth = channels.each_ref().map(Map::smoothed);
    let cut = cut_row(&smooth);
    // The rows beside the cut are a mixture once the picture was blurred.
    let rows = cut.map_or(height, |row| row - 2);
    let ground = border_colour(&channels, rows);
    let Some(colour) = ink_colour(&channels, &smooth, ground, rows) else {
        let (background, faded) = nearest_background(ground, None);
        return Reading { background, failure: failure(cut.is_some(), faded), ..Reading::default() };
    };
    let amount = amount_of_ink(&channels, ground, colour, rows);
    let fits = silhouettes::find(&amount, cut.is_some());
    let (background, faded) = nearest_background(ground, Some(colour));
    let (shape, fit) = best_shape(&fits);
    let hue = hue(colour);
    let known = fit >= LEAST_FIT;
    let single = (known && fits.len() == 1).then(|| fits[0].place(shape));
    Reading {
        shape: if known { shape } else { "" },
        colour: HUES.iter().find(|(_, of)| apart(hue, *of) <= NEAR_A_HUE).map_or("", |(name, _)| name),
        hue,
        style: if known { silhouettes::style(&amount, &fits, shape) } else { "" },
        background,
        count: fits.len(),
        size: single.map_or("", |place| size(place.r)),
        position: single.map_or("", |place| position(place.x, place.y, place.r, width, height)),
        failure: failure(cut.is_some(), faded),
        fit,
    }
}

fn failure(cut: bool, faded: bool) -> &'static str {
    match (cut, faded) {
        (true, _) => "cut",
        (false, true) => "faded",
        (false, false) => "",
    }
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

fn rgb_at(channels: &[Map; 3], i: usize) -> [f32; 3] {
    channels.each_ref().map(|channel| channel.values[i])
}

fn minus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|c| a[c] - b[c])
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|c| a[c] * b[c]).sum()
}

/// A decoder tints gray a little, and errs in a few pixels of a row (most in the last ones): a cut is flat rather than gray.
const TINT: f32 = 22.0;
const FLAT: f32 = 16.0;
const FLAT_PERCENT: usize = 85;
const ROWS_NOT_FLAT: usize = 3;

/// The first row of flat gray that goes on to the bottom, if there is one and another background above it.
fn cut_row(channels: &[Map; 3]) -> Option<usize> {
    let (w, h) = (channels[0].width, channels[0].height);
    let is_flat_gray = |row: usize| {
        let middle = channels.each_ref().map(|channel| median(channel.values[row * w..][..w].to_vec()));
        let near = |x: &usize| minus(rgb_at(channels, row * w + x), middle).iter().all(|d| d.abs() <= FLAT);
        let flat = (0..w).filter(near).count() >= w * FLAT_PERCENT / 100;
        flat && minus(middle, [FAILED_GRAY; 3]).iter().all(|d| d.abs() <= TINT)
    };
    let (mut first, mut not_flat) = (h, 0);
    for row in (0..h).rev() {
        if is_flat_gray(row) {
            first = row;
        } else {
            not_flat += 1;
        }
        if not_flat > ROWS_NOT_FLAT {
            break;
        }
    }
    if first < h / 4 || h - first < h / 16 {
        return None;
    }
    let below = channels.each_ref().map(|channel| median(channel.values[first * w..].to_vec()));
    let differs = minus(border_colour(channels, first - 4), below).iter().any(|d| d.abs() > 14.0);
    differs.then_some(first)
}

/// The median colour of the outermost two pixels, of the first `rows` rows.
fn border_colour(channels: &[Map; 3], rows: usize) -> [f32; 3] {
    let (w, h) = (channels[0].width, channels[0].height);
    let on_border = |i: &usize| {
        let (x, y) = (i % w, i / w);
        x < 2 || y < 2 || x + 2 >= w || (y + 2 >= h)
    };
    channels.each_ref().map(|channel| median((0..rows * w).filter(on_border).map(|i| channel.values[i]).collect()))
}

/// Least pixels of ink in a picture: the outline of the smallest shape has twice as many.
const INK_PIXELS: usize = 80;
/// Less contrast than this is noise.
const LEAST_CONTRAST: f32 = 14.0;

/// The mean colour of the pixels farthest from the background. Which those are is looked up in a smoothed copy, or noise would
/// choose.
fn ink_colour(channels: &[Map; 3], smooth: &[Map; 3], ground: [f32; 3], rows: usize) -> Option<[f32; 3]> {
    let pixels = rows * channels[0].width;
    let far = |i: usize| minus(rgb_at(smooth, i), ground);
    let mut distances: Vec<f32> = (0..pixels).map(|i| dot(far(i), far(i)).sqrt()).collect();
    let mut sorted = distances.clone();
    let most = *sorted.select_nth_unstable_by(pixels - INK_PIXELS, f32::total_cmp).1;
    distances.iter_mut().for_each(|d| *d /= most);
    let strong: Vec<usize> = (0..pixels).filter(|&i| distances[i] > 0.9).collect();
    let mean = channels.each_ref().map(|c| strong.iter().map(|&i| c.values[i]).sum::<f32>() / strong.len() as f32);
    (most >= LEAST_CONTRAST).then_some(mean)
}

/// How much of each pixel is ink, 0…1: its place on the line from the background to the ink.
fn amount_of_ink(channels: &[Map; 3], ground: [f32; 3], colour: [f32; 3], rows: usize) -> Map {
    let axis = minus(colour, ground);
    let length = dot(axis, axis);
    let width = channels[0].width;
    let along = |i: usize| dot(minus(rgb_at(channels, i), ground), axis) / length;
    Map { width, height: rows, values: (0..rows * width).map(along).collect() }
}

/// The background's name, and whether the picture is faded. Ink tells the latter more surely than the background: that of
/// a faded picture has less than half the least colour that ink has otherwise.
fn nearest_background(ground: [f32; 3], ink: Option<[f32; 3]>) -> (&'static str, bool) {
    let chroma = ink.map(|[r, g, b]| r.max(g).max(b) - r.min(g).min(b));
    let mut best = ("", false, f32::INFINITY);
    for (name, colour) in BACKGROUNDS {
        for faded in [false, true] {
            let seen = if faded { colour.map(|c| FAILED_GRAY + FADED * (c - FAILED_GRAY)) } else { colour };
            let off = minus(ground, seen);
            let as_ink = match (chroma, faded) {
                (Some(chroma), false) => (110.0 - chroma).max(0.0),
                (Some(chroma), true) => (chroma - 75.0).max(0.0),
                (None, _) => 0.0,
            };
            let error = dot(off, off).sqrt() + as_ink;
            if error < best.2 {
                best = (name, faded, error);
            }
        }
    }
    (best.0, best.1)
}

/// In degrees. Fading does not change it.
fn hue([r, g, b]: [f32; 3]) -> f32 {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let span = (most - least).max(1e-6);
    let sixths = if most == r {
        (g - b) / span
    } else if most == g {
        2.0 + (b - r) / span
    } else {
        4.0 + (r - g) / span
    };
    (60.0 * sixths).rem_euclid(360.0)
}

/// Degrees between two hues.
pub fn apart(a: f32, b: f32) -> f32 {
    let d = (a - b).rem_euclid(360.0);
    d.min(360.0 - d)
}

fn size(radius: f32) -> &'static str {
    match radius {
        r if r < LARGEST_SMALL => "small",
        r if r < LARGEST_MEDIUM => "medium",
        _ => "large",
    }
}

/// A shape off the centre is about `reach` away from it (`place` of `pictures.py`), less the larger it is.
fn position(x: f32, y: f32, r: f32, width: usize, height: usize) -> &'static str {
    let off = |at: f32, side: usize| {
        let middle = (side as f32 - 1.0) / 2.0;
        (at - middle) / ((middle - 1.12 * r - 2.0).min(34.0) - 2.0).max(1.0)
    };
    let (dx, dy) = (off(x, width), off(y, height));
    match (dx.abs() < 0.5, dy.abs() < 0.5) {
        (true, true) => "center",
        (false, true) => {
            if dx < 0.0 {
                "left"
            } else {
                "right"
            }
        }
        (true, false) => {
            if dy < 0.0 {
                "top"
            } else {
                "bottom"
            }
        }
        (false, false) => "",
    }
}
