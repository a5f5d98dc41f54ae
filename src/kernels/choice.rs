//! Which tile shape a product takes: the one that was measured to be the fastest on this device, or a guess.

use std::fmt;

use crate::gpu::{Gpu, Storage, Vendor};

use super::gemm::suits;
use super::product::{Activation, Gemm, Geometry};
use super::tile::{MOST_SLICES, Memory, Tile};

/// Multiplications and additions that are enough to measure a product: those of a convolution of the UNet's at 64×64 latents. The
/// decoder has some of twenty times as many, which take as much more time and memory and say the same.
pub(super) const SAMPLE_FLOPS: u64 = 16_000_000_000;

/// What of a product decides how fast a tile shape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// B, H, W.
    pub input: [usize; 3],
    /// C, C2.
    pub channels: [usize; 2],
    pub n: usize,
    /// Filter, phases, stride.
    pub filter: [usize; 3],
    /// Rows are normalised as they are read.
    pub normal: bool,
}

impl Shape {
    pub fn of(args: &Gemm) -> Self {
        let input = match *args.input.shape() {
            [batch, height, width, _] => [batch, height, width],
            [batch, tokens, _] => [batch, 1, tokens],
            _ => panic!("gemm: input {:?}", args.input.shape()),
        };
        let Geometry { kernel, phases, stride, .. } = args.geometry;
        let c2 = args.input2.map_or(0, |input2| input2.shape()[3]);
        let &[_, _, channels, n] = args.weight.shape() else { panic!("gemm weight is {:?}", args.weight.shape()) };
        Self {
            input,
            channels: [channels - c2, c2],
            n,
            filter: [kernel, phases, stride],
            normal: args.normal.is_some(),
        }
    }

    /// M, N, K of the product, or of all its phases.
    pub fn sizes(&self) -> [usize; 3] {
        let ([batch, height, width], [kernel, phases, stride]) = (self.input, self.filter);
        let rows = batch * height.div_ceil(stride) * width.div_ceil(stride) * phases;
        [rows, self.n, kernel * kernel * (self.channels[0] + self.channels[1])]
    }

    pub fn flops(&self) -> u64 {
        self.sizes().iter().map(|&side| side as u64).product::<u64>() * 2
    }

    /// Winograd's algorithm can compute it.
    pub fn suits_winograd(&self) -> bool {
        let [_, height, width] = self.input;
        self.filter == [3, 1, 1] && height % 2 == 0 && width % 2 == 0 && !self.normal
    }

    /// A part of it that is as fast per row, for measuring: fewer rows of the picture where there are very many.
    pub fn sample(self) -> Self {
        let [batch, height, width] = self.input;
        let rows = (height as u64 * SAMPLE_FLOPS / self.flops().max(1)).max(1) as usize;
        // A whole number of strides.
        let rows = rows.next_multiple_of(4).min(height);
        Self { input: [batch, rows, width], ..self }
    }

    /// What [`to_string`](fmt::Display) made.
    pub fn named(name: &str) -> Option<Self> {
        let numbers = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        let numbers: Vec<usize> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[b, h, w, c1, c2, n, kernel, _, phases, stride] = &numbers[..] else { return None };
        let normal = name.contains("normalised");
        Some(Self { input: [b, h, w], channels: [c1, c2], n, filter: [kernel, phases, stride], normal })
    }
}

/// As in `2×64×64×(320+0)→320, filter 3×3, phases 1, stride 1`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ([b, h, w], [c1, c2], [kernel, phases, stride]) = (self.input, self.channels, self.filter);
        let (n, normal) = (self.n, if self.normal { ", normalised" } else { "" });
        write!(f, "{b}×{h}×{w}×({c1}+{c2})→{n}, filter {kernel}×{kernel}, phases {phases}, stride {stride}{normal}")
    }
}

/// The tile shape of a product.
pub(super) fn tile(args: &Gemm) -> Tile {
    let gpu = args.input.gpu();
    let adapter = gpu.adapter();
    let shape = Shape::of(args);
    if adapter.software {
        let rows = shape.sizes()[0] / shape.filter[1];
        return adapter.lanes().map_or(Tile::DIRECT, |threads| on_lanes(threads, rows, args.activation));
    }
    let measured = gpu.fastest(&shape.to_string(), shape.flops()).and_then(|name| Tile::named(&name));
    measured.filter(|&tile| fits(gpu, tile, &shape) && suits(tile, args)).unwrap_or_else(|| {
        let tile = guess(adapter.vendor, gpu.storage(), shape.sizes());
        // Who asked for matrix units gets them; the deepest chunks have the fewest barriers.
        let cooperative = match tile.teams {
            1 => Tile { memory: Memory::Cooperative, depth: 32, ..tile },
            _ => Tile { slices: tile.slices, ..Tile::COOPERATIVE_TEAMS },
        };
        if fits(gpu, cooperative, &shape) { cooperative } else { tile }
    })
}

/// The tile for a subgroup of so many threads: the highest there is, which loads least for what it multiplies, unless most of its rows
/// would be none. There are few of them, as each is a program to compile.
fn on_lanes(threads: usize, rows: usize, activation: Activation) -> Tile {
    match rows {
        0..=4 if threads <= 4 => Tile::lanes(threads, 2, 4),
        0..=8 => Tile::lanes(threads, 2, 8),
        // Gates lie beside what they multiply: eight columns to a thread.
        _ if rows <= 16 || activation == Activation::Geglu => Tile::lanes(threads, 2, 16),
        _ => Tile::lanes(threads, 1, 32),
    }
}

/// Partial sums of a product take no more than this of a plan's arena.
const PARTIALS: usize = 8 << 20;

/// The device has room for it, and so has the arena.
pub(super) fn fits(gpu: &Gpu, tile: Tile, shape: &Shape) -> bool {
    let [m, n, _] = shape.sizes();
    let slices = tile.slices == 1 || tile.slices * m * n * 4 <= PARTIALS;
    let there =
        tile.memory != Memory::Cooperative || (gpu.storage() == Storage::F16 && gpu.adapter().matrices.is_some());
    slices && there && tile.fits(gpu.storage(), gpu.workgroup_memory())
}

/// k that is deep enough for slices where nothing was measured. Each product in slices is a dispatch more, and a step has
/// 300 at most: so only the deepest of 8×8 latents, 1280 + 1280 channels under a filter of 3×3, are cut.
const DEEP: usize = 16_384;
/// k from which on the sums of teams are soon added up, beside all others.
pub(super) const TEAMWORK: usize = 512;
/// k of a slice at least.
const SLICE: usize = 1440;

/// A tile shape for an adapter that was not measured. The reasons are those of arithmetic, not of measurements; whether Winograd's
/// fewer multiplications make up for its transforms is no arithmetic, so it is taken only where it was measured.
fn guess(vendor: Vendor, storage: Storage, [m, n, k]: [usize; 3]) -> Tile {
    // How many parts of 64×64 keep such a GPU busy: an M2 has room for 20 to 40, an RTX 3060 for 56 to 112, larger ones for more.
    let room = match vendor {
        Vendor::Apple | Vendor::Intel => 40,
        Vendor::Nvidia | Vendor::Amd => 112,
        Vendor::Other => 64,
    };
    // An Apple core reads as many bytes of workgroup memory in a clock as its multipliers take in 32-bit floats, and
    // converts halves on the way for nothing. Others have reads to spare, and would pay for the conversion; pairs are unpacked
    // by instructions everywhere.
    let halves = vendor == Vendor::Apple && storage == Storage::F16;
    let memory = if halves { Memory::Stored } else { Memory::Single };
    let teams = if matches!(vendor, Vendor::Nvidia | Vendor::Amd) { 4 } else { 1 };
    let parts = m.div_ceil(64) * n.div_ceil(64);
    if parts < room && k >= DEEP {
        let slices = (2 * room).div_ceil(parts).min(k / SLICE).clamp(2, MOST_SLICES);
        return Tile { memory, teams, slices, ..Tile::SQUARE };
    }
    // What fills no GPU twice has more threads for each tile: 512 rows of 1280 columns ran at a fifth of an H100's peak with 64.
    if teams > 1 && parts < 2 * room && k >= TEAMWORK {
        return Tile { teams, memory, ..Tile::SQUARE };
    }
    // A higher tile reads a quarter less, but there are half as many of them. A wider one would fit 320 and 960 columns
    // badly, of which most of the work of a UNet is.
    let rows = if parts >= 2 * room && m % 128 == 0 { 128 } else { 64 };
    Tile { rows, memory, ..Tile::SQUARE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F16: Storage = Storage::F16;

    #[test]
    fn names_are_read_back() {
        let filter = [3, 1, 2];
        let shape = Shape { input: [2, 64, 48], channels: [320, 640], n: 1280, filter, normal: false };
        for shape in [shape, Shape { normal: true, filter: [2, 4, 1], ..shape }] {
            assert_eq!(Shape::named(&shape.to_string()), Some(shape));
        }
        assert_eq!((Shape::named("2×64"), Shape::named("99999999999999999999999")), (None, None));
        for tile in Tile::SHARED.into_iter().chain(Tile::TEAMED).chain(Tile::COOPERATIVE) {
            let sliced = Tile { slices: 8, ..tile };
            assert_eq!([Tile::named(&tile.to_string()), Tile::named(&sliced.to_string())], [Some(tile), Some(sliced)]);
        }
        assert_eq!(Tile::WINOGRAD.map(|tile| Tile::named(&tile.to_string())), Tile::WINOGRAD.map(Some));
        assert_eq!(Tile::named("128×32×4 winograd /2"), None);
        for wrong in ["", "64×64×16", "64×64×16 single /0", "64×64×16 single /9", "1×1×1 single", "32×64×4 direct"]
        {
            assert_eq!(Tile::named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_measured_takes_no_longer_than_a_large_convolution_of_the_unet() {
        let unet = Shape { input: [2, 64, 64], channels: [320, 0], n: 320, filter: [3, 1, 1], normal: false };
        assert_eq!(unet.sample(), unet);
        let decoder = Shape { input: [1, 512, 512], channels: [256, 0], n: 256, ..unet };
        assert_eq!(decoder.sample().input, [1, 28, 512]);
        let tokens = Shape { input: [1, 1, 1 << 20], channels: [1280, 0], n: 1280, filter: [1, 1, 1], normal: true };
        assert_eq!(tokens.sample(), tokens, "a picture one pixel high stays one");
    }

    #[test]
    fn what_fills_no_gpu_is_cut_into_slices_and_what_fills_it_twice_has_higher_tiles() {
        let deep = [128, 1280, 23_040];
        assert_eq!(guess(Vendor::Nvidia, F16, deep).to_string(), "64×64×16 single by 4 /6");
        assert_eq!(guess(Vendor::Other, F16, deep).to_string(), "64×64×16 single /4");
        // Forty parts are what an M2 has room for.
        assert_eq!(guess(Vendor::Apple, F16, deep).to_string(), "64×64×16 stored");
        assert_eq!(guess(Vendor::Apple, Storage::Packed, [8192, 320, 2880]).to_string(), "128×64×16 single");
        assert_eq!(guess(Vendor::Nvidia, F16, [512, 1280, 11_520]).to_string(), "64×64×16 single by 4");
        assert_eq!(guess(Vendor::Nvidia, F16, [8192, 320, 2880]).to_string(), "128×64×16 single");
    }

    #[test]
    fn on_lanes_low_products_have_low_tiles_and_gates_lie_beside_what_they_multiply() {
        let tile = |rows, activation| on_lanes(8, rows, activation).to_string();
        assert_eq!(tile(4096, Activation::Silu), "32×32×4 lanes");
        assert_eq!(tile(4096, Activation::Geglu), "16×64×4 lanes");
        assert_eq!(tile(16, Activation::None), "16×64×4 lanes");
        assert_eq!(tile(1, Activation::None), "8×64×4 lanes");
        assert_eq!(on_lanes(4, 1, Activation::None).to_string(), "4×32×4 lanes");
    }

    #[test]
    fn every_guess_fits_what_webgpu_promises() {
        for vendor in [Vendor::Apple, Vendor::Nvidia, Vendor::Amd, Vendor::Intel, Vendor::Other] {
            for storage in [F16, Storage::Packed, Storage::F32] {
                for sizes in [[128, 1280, 23_040], [8192, 320, 2880], [1, 4, 4], [512, 10_240, 1280]] {
                    let tile = guess(vendor, storage, sizes);
                    assert!(tile.fits(storage, 16 << 10) && tile.threads() <= 256, "{vendor:?} {storage:?} {tile}");
                }
            }
        }
    }
}
