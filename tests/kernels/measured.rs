use wordbrush::gpu::Storage;
use wordbrush::kernels::{Gemm, Measure, Normal, gemm_measured_on, gemm_on};

use crate::gemm::{in_slices, measuring, plain};
use crate::support::{Numbers, STORAGES, close, gpu, run, tensor};

/// A product that leaves the statistics of its rows, then one that normalises them on its way in.
#[test]
fn rows_are_normalised_on_the_way_in() {
    for (rows, c, n) in [(1, 4, 4), (70, 132, 72), (65, 64, 20), (9, 200, 12)] {
        for storage in STORAGES {
            let gpu = gpu(storage);
            let mut numbers = Numbers::new(12);
            let x = numbers.take(rows * c, storage);
            let identity: Vec<f32> = (0..c * c).map(|i| f32::from(i % c == i / c)).collect();
            // Far from zero: the variance must not be lost in the mean's square.
            let bias: Vec<f32> = (0..c).map(|i| -9.0 + (i % 3) as f32).collect();
            let affine = numbers.take(2 * c, Storage::F32);
            let weight = numbers.take(c * n, storage);
            let stored: Vec<f32> = x.iter().enumerate().map(|(i, x)| x + bias[i % c]).collect();
            let stored: Vec<f32> = stored.into_iter().map(|x| crate::support::round(x, storage)).collect();
            let mut expected = Vec::new();
            for row in stored.chunks(c) {
                let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / c as f64;
                let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / c as f64;
                let normal = |i: usize| {
                    let normal = (f64::from(row[i]) - mean) / (variance + 1e-5).sqrt();
                    normal * f64::from(affine[i]) + f64::from(affine[c + i])
                };
                let column = |column: usize| (0..c).map(|i| normal(i) * f64::from(weight[i * n + column])).sum::<f64>();
                expected.extend((0..n).map(|i| column(i) as f32));
            }
            let x = tensor(&gpu, &[1, rows, c], storage, &x);
            let identity = tensor(&gpu, &[1, 1, c, c], storage, &identity);
            let bias = tensor(&gpu, &[c], Storage::F32, &bias);
            let affine = tensor(&gpu, &[2, c], Storage::F32, &affine);
            let weight = tensor(&gpu, &[1, 1, c, n], storage, &weight);
            for tile in measuring(&gpu).into_iter().chain(in_slices(&gpu, 3)) {
                let found = run(&gpu, || {
                    let product = Gemm { bias: Some(&bias), ..plain(&x, &identity) };
                    let input = &gemm_measured_on(tile, &product, Measure::Rows);
                    let normal = Some(Normal { input, affine: &affine });
                    gemm_on(tile, &Gemm { normal, ..plain(&input.tensor, &weight) })
                });
                close(&format!("{tile} normalised {rows}×{c}→{n}"), storage, &found, &expected);
            }
        }
    }
}
