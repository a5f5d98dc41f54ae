use wordbrush::gpu::Storage;
use wordbrush::kernels::{Gemm, Geometry, Measure, Tile, gemm_measured_on, gemm_on, whole_filter};

use crate::gemm::{convolution, few, in_slices};
use crate::support::{Numbers, STORAGES, close, gpu, run, tensor};

/// The four filters of 2×2 of a filter (3, 3, C, N), as `pack_weights` makes them.
pub fn phases(filter: &[f32], vectors: usize, storage: Storage) -> Vec<f32> {
    // Rows (or columns) of the filter under the two taps of an even and of an odd row of a doubled picture.
    let rows = [[vec![0], vec![1, 2]], [vec![0, 1], vec![2]]];
    let mut result = Vec::new();
    for (py, px) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (ty, tx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for i in 0..vectors {
                let sum = |y: &usize| -> f32 { rows[px][tx].iter().map(|x| filter[(y * 3 + x) * vectors + i]).sum() };
                result.push(crate::support::round(rows[py][ty].iter().map(sum).sum(), storage));
            }
        }
    }
    result
}

/// A doubled picture under a filter of 3×3 is four pictures under filters of 2×2.
#[test]
fn doubled_pictures_in_four_phases() {
    for ([b, h, w], c, n) in [([2, 3, 5], 12, 20), ([1, 1, 1], 4, 4), ([2, 9, 8], 20, 72), ([1, 5, 1], 8, 132)] {
        for storage in STORAGES {
            let gpu = gpu(storage);
            let mut numbers = Numbers::new(13);
            let x = numbers.take(b * h * w * c, storage);
            // Whole numbers: their sums are exact in any storage.
            let filter: Vec<f32> = numbers.take(9 * c * n, Storage::F32).iter().map(|x| (x * 8.0).round()).collect();
            let bias = tensor(&gpu, &[n], Storage::F32, &numbers.take(n, Storage::F32));
            let residual = numbers.take(4 * b * h * w * n, storage);
            let residual = tensor(&gpu, &[b, 2 * h, 2 * w, n], storage, &residual);
            let x = tensor(&gpu, &[b, h, w, c], storage, &x);
            let whole = tensor(&gpu, &[3, 3, c, n], storage, &filter);
            let split = tensor(&gpu, &[8, 2, c, n], storage, &phases(&filter, c * n, storage));
            let (bias, residual) = (Some(&bias), Some(&residual));
            let geometry = Geometry { kernel: 2, phases: 4, stride: 1, padding: 1, padding_end: 1, stretched: None };
            let expected =
                run(&gpu, || gemm_on(Tile::DIRECT, &Gemm { bias, residual, ..convolution(&x, &whole, true, None) }));
            for tile in few(&gpu).into_iter().chain(in_slices(&gpu, 3)) {
                let product = Gemm { bias, residual, geometry, ..convolution(&x, &split, false, None) };
                let found = run(&gpu, || gemm_on(tile, &product));
                close(&format!("{tile} phases of {h}×{w}"), storage, &found, &expected);
                let found = run(&gpu, || gemm_measured_on(tile, &product, Measure::Channels).tensor);
                close(&format!("{tile} measured phases of {h}×{w}"), storage, &found, &expected);
            }
            let found = run(&gpu, || whole_filter(&split));
            assert_eq!(found, filter, "whole_filter {storage:?}");
        }
    }
}
