//! Measures which variants are the fastest for the products and attentions of a model, on the device at hand.

use web_time::Instant;

use crate::error::Result;
use crate::gpu::{Gpu, Preparing, Storage, Tensor};

use super::attention::{Attention, Heads, Rows, Seen, Split, attention_on, guess};
use super::choice::{Shape, TEAMWORK, fits};
use super::gemm::gemm_on;
use super::measured::{Measure, Measured, Moments, TILE};
use super::product::{Activation, Gemm, Geometry, Normal};
use super::tile::{Memory, Tile};

/// Nothing new is measured after so many seconds: what is left is taken from what is most alike.
const SECONDS: f64 = 5.0;

/// A device that waited for its shaders is kept busy for so long before anything is measured on it.
const WARM: f64 = 0.03;

/// Slices that are tried, where one product does not fill the device.
const SLICES: [usize; 3] = [2, 4, 8];
const FEW_PARTS: usize = 256;
const DEEP: usize = 1024;

/// Multiplications and additions from which on it is worth to compile what seldom pays, or pays little.
const LARGE: u64 = 500_000_000;

/// Measures the products and attentions that `calls` poses and that are not in the device's table, those with the most work
/// first, and notes the fastest variant of each. Does nothing where measuring is off, and on software adapters, which have one
/// variant.
///
/// # Errors
/// Out of memory, a lost device, or a refused command.
pub async fn tune<T>(gpu: &Gpu, calls: impl Fn() -> T) -> Result<()> {
    if !gpu.measuring() || gpu.adapter().software {
        return Ok(());
    }
    let problems = gpu.survey(calls);
    // What is the same for all networks is compiled once: it is much of what the page downloads.
    measure(gpu, problems).await
}

async fn measure(gpu: &Gpu, problems: Vec<(String, u64)>) -> Result<()> {
    let begun = Instant::now();
    let in_time = || begun.elapsed().as_secs_f64() < SECONDS;
    let mut measured: Vec<(Shape, Tile)> = Vec::new();
    for (i, (name, _)) in problems.iter().enumerate() {
        if in_time() {
            gpu.tell(Preparing::Measuring, i, problems.len());
        }
        let found = match (Shape::named(name), Heads::named(name)) {
            (Some(shape), _) if in_time() => {
                let tile = fastest(gpu, &shape, in_time).await?;
                measured.push((shape, tile));
                Some(tile.to_string())
            }
            (Some(shape), _) => {
                nearest(&measured, &shape).filter(|&tile| fits(gpu, tile, &shape)).map(|tile| tile.to_string())
            }
            (None, Some(heads)) if in_time() && heads.flops() >= LARGE => {
                Some(fastest_split(gpu, &heads, in_time).await?.to_string())
            }
            (None, heads) => heads.map(|heads| guess(gpu, &heads).to_string()),
        };
        if let Some(variant) = found {
            gpu.note_fastest(name.clone(), variant);
        }
    }
    Ok(())
}

/// The fastest of the plans that could be measured `in_time`, each recorded when its turn comes.
async fn fastest_of<T: Copy>(gpu: &Gpu, variants: &[T], record: impl Fn(T), in_time: impl Fn() -> bool) -> Result<T> {
    gpu.prepare_silently(|| variants.iter().for_each(|&variant| record(variant))).await?;
    let mut best = (f64::INFINITY, variants[0]);
    for (i, &variant) in variants.iter().enumerate() {
        let (plan, ()) = gpu.record("tune", || record(variant));
        if i == 0 {
            gpu.warm(&plan, WARM).await?;
        }
        let seconds = gpu.seconds(&plan, 2.0 * best.0).await?;
        if seconds < best.0 {
            best = (seconds, variant);
        }
        if !in_time() {
            break;
        }
    }
    Ok(best.1)
}

/// The fastest way to split an attention.
async fn fastest_split(gpu: &Gpu, heads: &Heads, in_time: impl Fn() -> bool) -> Result<Split> {
    let Heads { heads: count, head_dim, cross, .. } = *heads;
    let suits = |split: &Split| split.fits(head_dim) && split.runs_on(gpu);
    let splits: Vec<Split> = Split::TILED.into_iter().chain(Split::SHUFFLED).filter(suits).collect();
    if splits.len() < 2 {
        return Ok(splits.first().copied().unwrap_or(Split::TILED[0]));
    }
    let [batch, queries, keys] = heads.sample().tokens;
    let rows = |tokens| gpu.empty("tune", &[batch, tokens, count * head_dim], gpu.storage());
    let (q, k, v) = (rows(queries), rows(keys), rows(keys));
    // As many keys as there are rows of them: prompts seldom fill their last window, but that is the same for all.
    let lengths =
        gpu.upload("tune", &[batch.next_multiple_of(4)], Storage::F32, &vec![keys as f32; batch.next_multiple_of(4)]);
    let part = |tensor| Rows { tensor, offset: 0 };
    let seen = cross.then_some(Seen { lengths: &lengths, first: 0, each: 1, times: 1 });
    let args = Attention { q: part(&q), k: part(&k), v: part(&v), heads: count, head_dim, seen, causal: false };
    fastest_of(gpu, &splits, |split| drop(attention_on(split, &args)), in_time).await
}

/// The tile shapes worth a try.
fn candidates(gpu: &Gpu, shape: &Shape) -> Vec<Tile> {
    // Packed pairs would be unpacked at each of the eight reads.
    let memories = |tile: &Tile| tile.memory == Memory::Single || gpu.storage() == Storage::F16;
    let mut tiles: Vec<Tile> = Tile::SHARED.into_iter().filter(memories).collect();
    let [m, n, k] = shape.sizes();
    let parts = m.div_ceil(64) * n.div_ceil(64);
    if parts <= 2 * FEW_PARTS && k >= TEAMWORK && shape.flops() >= LARGE {
        tiles.extend(Tile::TEAMED.into_iter().filter(memories));
    }
    if parts <= FEW_PARTS && k >= DEEP {
        tiles.extend(SLICES.map(|slices| Tile { slices, ..Tile::SQUARE }));
        if shape.flops() >= LARGE {
            tiles.extend(SLICES.map(|slices| Tile { slices, ..Tile::TEAMED[0] }));
        }
        tiles.extend(SLICES.map(|slices| Tile { slices, ..Tile::COOPERATIVE[0] }));
        tiles.extend(SLICES.map(|slices| Tile { slices, ..Tile::COOPERATIVE_TEAMS }));
    }
    if shape.suits_winograd() && shape.flops() >= LARGE {
        tiles.extend(Tile::WINOGRAD);
    }
    tiles.extend(Tile::COOPERATIVE);
    tiles.retain(|&tile| fits(gpu, tile, shape));
    tiles
}

/// The fastest of those that could be measured `in_time`.
async fn fastest(gpu: &Gpu, shape: &Shape, in_time: impl Fn() -> bool) -> Result<Tile> {
    let product = Product::new(gpu, &shape.sample());
    fastest_of(gpu, &candidates(gpu, shape), |tile| drop(gemm_on(tile, &product.args())), in_time).await
}

/// What was the fastest for the product that is most alike: in the ratios of its sides.
fn nearest(measured: &[(Shape, Tile)], shape: &Shape) -> Option<Tile> {
    let distance = |other: &Shape| -> f64 {
        let ratios = other.sizes().into_iter().zip(shape.sizes()).map(|(a, b)| (a as f64 / b as f64).ln().abs());
        ratios.sum::<f64>() + if other.filter == shape.filter { 0.0 } else { 1.0 }
    };
    measured.iter().min_by(|a, b| distance(&a.0).total_cmp(&distance(&b.0))).map(|(_, tile)| *tile)
}

/// A product of zeros, which take as long as any numbers.
struct Product {
    shape: Shape,
    input: Measured,
    input2: Option<Tensor>,
    weight: Tensor,
    affine: Tensor,
    bias: Tensor,
}

impl Product {
    fn new(gpu: &Gpu, shape: &Shape) -> Self {
        let storage = gpu.storage();
        let ([b, h, w], [c1, c2], [kernel, phases, _]) = (shape.input, shape.channels, shape.filter);
        let empty = |shape: &[usize], storage| gpu.empty("tune", shape, storage);
        let rows = (b * h * w).next_multiple_of(4);
        let moments = shape.normal.then(|| Moments {
            of: Measure::Rows,
            tensor: empty(&[c1.div_ceil(TILE), 2, rows], Storage::F32),
            run: h * w,
        });
        Self {
            shape: *shape,
            input: Measured { tensor: empty(&[b, h, w, c1], storage), moments },
            input2: (c2 > 0).then(|| empty(&[b, h, w, c2], storage)),
            weight: empty(&[phases * kernel, kernel, c1 + c2, shape.n], storage),
            affine: empty(&[2, c1], Storage::F32),
            bias: empty(&[shape.n], Storage::F32),
        }
    }

    fn args(&self) -> Gemm<'_> {
        let [kernel, phases, stride] = self.shape.filter;
        let padding = kernel / 2;
        Gemm {
            input: &self.input.tensor,
            input2: self.input2.as_ref(),
            normal: self.shape.normal.then_some(Normal { input: &self.input, affine: &self.affine }),
            weight: &self.weight,
            bias: Some(&self.bias),
            row_bias: None,
            activation: Activation::None,
            residual: None,
            geometry: Geometry { kernel, phases, stride, padding, padding_end: padding, stretched: None },
            out: None,
            strip: None,
        }
    }
}
