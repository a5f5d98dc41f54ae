use wordbrush::gpu::{Storage, Tensor};
use wordbrush::kernels::{Gemm, GroupNorm, Measure, Measured, Memory, Moments, Tile, gemm_measured_on, group_norm};

use crate::gemm::{convolution, in_slices, measuring, plain};
use crate::support::{Numbers, STORAGES, both, close, gpu, run, tensor};

fn reference(shape: [usize; 3], input: &[f32], affine: [&[f32]; 2], epsilon: f64, silu: bool) -> Vec<f32> {
    let [batch, pixels, groups] = shape;
    let channels = affine[0].len();
    let width = channels / groups;
    let mut result = vec![0.0; input.len()];
    for b in 0..batch {
        for g in 0..groups {
            let at: Vec<usize> = (0..pixels)
                .flat_map(|pixel| (0..width).map(move |i| (b * pixels + pixel) * channels + g * width + i))
                .collect();
            let mean = at.iter().map(|&i| f64::from(input[i])).sum::<f64>() / at.len() as f64;
            let variance = at.iter().map(|&i| (f64::from(input[i]) - mean).powi(2)).sum::<f64>() / at.len() as f64;
            for i in at {
                let c = i % channels;
                let normal = (f64::from(input[i]) - mean) / (variance + epsilon).sqrt();
                let y = normal * f64::from(affine[0][c]) + f64::from(affine[1][c]);
                result[i] = (if silu { y / (1.0 + (-y).exp()) } else { y }) as f32;
            }
        }
    }
    result
}

fn check(size: [usize; 3], c1: usize, c2: usize, groups: usize, silu: bool) {
    let [batch, h, w] = size;
    let channels = c1 + c2;
    for (storage, gpu) in STORAGES.into_iter().flat_map(|storage| both(storage).map(|gpu| (storage, gpu))) {
        let mut numbers = Numbers::new(5);
        // An offset far from zero: the variance must not be lost in the mean's square.
        let round = |x: f32| crate::support::round(x + 7.0, storage);
        let input: Vec<f32> = numbers.take(batch * h * w * channels, storage).into_iter().map(round).collect();
        let gamma = numbers.take(channels, Storage::F32);
        let beta = numbers.take(channels, Storage::F32);
        let expected = reference([batch, h * w, groups], &input, [&gamma, &beta], 1e-5, silu);
        let part = |from: usize, to: usize| -> Vec<f32> {
            input.chunks(channels).flat_map(|pixel| pixel[from..to].to_vec()).collect()
        };
        let x = tensor(&gpu, &[batch, h, w, c1], storage, &part(0, c1));
        let x2 = (c2 > 0).then(|| tensor(&gpu, &[batch, h, w, c2], storage, &part(c1, channels)));
        let gamma = tensor(&gpu, &[channels], Storage::F32, &gamma);
        let beta = tensor(&gpu, &[channels], Storage::F32, &beta);
        let found = run(&gpu, || {
            group_norm(&GroupNorm {
                input: &Measured::from(x.clone()),
                input2: x2.clone().map(Measured::from).as_ref(),
                gamma: &gamma,
                beta: &beta,
                groups,
                epsilon: 1e-5,
                silu,
            })
        });
        close(&format!("group_norm {size:?} {c1}+{c2}/{groups}"), storage, &found, &expected);
    }
}

#[test]
fn one_input() {
    check([1, 1, 1], 32, 0, 4, false);
    check([2, 3, 5], 32, 0, 32, true);
    check([1, 17, 19], 40, 0, 4, true); // ten channels a group: groups begin inside a vector; two slabs
    check([2, 40, 33], 12, 0, 3, false); // six slabs, the last one short
}

#[test]
fn two_inputs_share_groups() {
    check([2, 5, 3], 64, 32, 32, true);
    check([1, 4, 4], 40, 20, 4, false); // fifteen channels a group: one spans both inputs
}

/// A picture that comes in strips has the norm of the whole.
#[test]
fn strips_of_a_picture() {
    let (h, w, c) = (11, 8, 32);
    for (storage, gpu) in STORAGES.into_iter().flat_map(|storage| both(storage).map(|gpu| (storage, gpu))) {
        let mut numbers = Numbers::new(6);
        let x = tensor(&gpu, &[1, h, w, c], storage, &numbers.take(h * w * c, storage));
        let gamma = tensor(&gpu, &[c], Storage::F32, &numbers.take(c, Storage::F32));
        let beta = tensor(&gpu, &[c], Storage::F32, &numbers.take(c, Storage::F32));
        let args =
            |input| GroupNorm { input, input2: None, gamma: &gamma, beta: &beta, groups: 8, epsilon: 1e-5, silu: true };
        let input = Measured::from(x.clone());
        let whole = run(&gpu, || group_norm(&args(&input)));
        let strips = [x.rows(0..4), x.rows(4..8), x.rows(8..11)].map(Measured::from);
        for (i, rows) in strips.iter().enumerate() {
            let found = run(&gpu, || {
                let mut moments = Moments::new(&gpu, 1, 8, h * w, 4 * w);
                strips.iter().for_each(|strip| moments.measure(&args(strip)));
                moments.normalise(&args(rows))
            });
            close("group_norm in strips", storage, &found, &whole[i * 4 * w * c..][..found.len()]);
        }
    }
}

/// A product that measures what it makes, and makes nothing of it but the input: by the identity, as a matrix or as a filter of
/// 3×3, moved by a bias.
fn measured(tile: Tile, x: &Tensor, [matrix, filter]: &[Tensor; 2], bias: &Tensor) -> Measured {
    let transformed = tile.memory == Memory::Transformed;
    let product = if transformed { convolution(x, filter, false, None) } else { plain(x, matrix) };
    gemm_measured_on(tile, &Gemm { bias: Some(bias), ..product }, Measure::Channels)
}

fn check_tiles(size: [usize; 3], c1: usize, c2: usize, groups: usize) {
    let [batch, h, w] = size;
    let channels = c1 + c2;
    for storage in STORAGES {
        let gpu = gpu(storage);
        let mut numbers = Numbers::new(8);
        let gamma = numbers.take(channels, Storage::F32);
        let beta = numbers.take(channels, Storage::F32);
        // Each channel far from zero and from the others: what is squared before the mean is taken off is lost.
        let bias: Vec<f32> = (0..channels).map(|c| 7.0 + (c % 5) as f32 * 0.5).collect();
        let parts = [(0, c1), (c1, channels)].map(|(from, to)| {
            let width = to - from;
            // So that a bias can be added without rounding, which a device may do up or down.
            let x = numbers.take(batch * h * w * width, storage);
            let x: Vec<f32> = x.into_iter().map(|x| (x * 64.0).round() / 64.0).collect();
            let identity: Vec<f32> = (0..width * width).map(|i| f32::from(i % width == i / width)).collect();
            (width > 0).then(|| {
                let stored: Vec<f32> = x.iter().enumerate().map(|(i, x)| x + bias[from + i % width]).collect();
                let stored: Vec<f32> = stored.into_iter().map(|x| crate::support::round(x, storage)).collect();
                let x = tensor(&gpu, &[batch, h, w, width], storage, &x);
                // The middle one of nine taps.
                let nothing = vec![0.0; 4 * width * width];
                let filter = [&nothing[..], &identity[..], &nothing[..]].concat();
                let filter = tensor(&gpu, &[3, 3, width, width], storage, &filter);
                let identity = [tensor(&gpu, &[1, 1, width, width], storage, &identity), filter];
                (stored, x, identity, tensor(&gpu, &[width], Storage::F32, &bias[from..to]))
            })
        });
        let pixel = |i: usize| {
            parts.iter().flatten().flat_map(move |(stored, _, identity, _)| {
                let width = identity[0].shape()[3];
                stored[i * width..][..width].to_vec()
            })
        };
        let input: Vec<f32> = (0..batch * h * w).flat_map(pixel).collect();
        let expected = reference([batch, h * w, groups], &input, [&gamma, &beta], 1e-5, true);
        let gamma = tensor(&gpu, &[channels], Storage::F32, &gamma);
        let beta = tensor(&gpu, &[channels], Storage::F32, &beta);
        let winograd = Tile::WINOGRAD.into_iter().filter(|_| h % 2 == 0 && w % 2 == 0);
        // A tile shape in one of the storages: drivers that are programs on a CPU compile for seconds.
        let all = measuring(&gpu).into_iter().chain(in_slices(&gpu, 2)).chain(winograd);
        let all = all.zip(STORAGES.into_iter().cycle());
        for (tile, _) in all.filter(|(tile, own)| *own == storage || tile.memory == Memory::Cooperative) {
            let found = run(&gpu, || {
                let part = |part: &Option<_>| {
                    part.as_ref().map(|(_, x, one, bias): &(_, _, _, _)| measured(tile, x, one, bias))
                };
                let inputs = parts.each_ref().map(part);
                let [Some(input), input2] = &inputs else { panic!("no input") };
                let input2 = input2.as_ref();
                let (gamma, beta) = (&gamma, &beta);
                group_norm(&GroupNorm { input, input2, gamma, beta, groups, epsilon: 1e-5, silu: true })
            });
            close(&format!("group_norm from tiles, {tile} {size:?} {c1}+{c2}/{groups}"), storage, &found, &expected);
        }
    }
}

#[test]
fn from_what_the_product_measured() {
    check_tiles([1, 1, 1], 32, 0, 4);
    check_tiles([2, 9, 15], 40, 0, 4); // tiles that are cut off at the end of each item, ten channels a group
    check_tiles([2, 8, 8], 68, 0, 17); // columns beyond a tile
    check_tiles([2, 6, 14], 36, 0, 9); // parts of 2×2 that are cut off, in the second tile of an item
    check_tiles([1, 10, 22], 32, 32, 8); // two workgroups of them
    check_tiles([3, 3, 5], 32, 0, 32); // a channel a group, several items in what would be one tile
    check_tiles([2, 12, 11], 40, 20, 4); // a group that spans both inputs
    check_tiles([1, 5, 7], 64, 32, 32);
}
