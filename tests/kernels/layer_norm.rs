use wordbrush::gpu::Storage;
use wordbrush::kernels::layer_norm;

use crate::support::{Numbers, STORAGES, both, close, round, run, tensor};

#[test]
fn rows_of_awkward_width() {
    for (rows, width) in [(1, 4), (3, 76), (77, 768), (5, 132)] {
        for (storage, gpu) in STORAGES.into_iter().flat_map(|storage| both(storage).map(|gpu| (storage, gpu))) {
            let mut numbers = Numbers::new(11);
            let offset = |x: f32| round(x * 2.0 - 5.0, storage);
            let input: Vec<f32> = numbers.take(rows * width, storage).into_iter().map(offset).collect();
            let gamma = numbers.take(width, Storage::F32);
            let beta = numbers.take(width, Storage::F32);
            let expected: Vec<f32> = input.chunks(width).flat_map(|row| reference(row, &gamma, &beta)).collect();
            let x = tensor(&gpu, &[rows, width], storage, &input);
            let affine = tensor(&gpu, &[2, width], Storage::F32, &[gamma, beta].concat());
            let found = run(&gpu, || layer_norm(&x, &affine));
            close(&format!("layer_norm {rows}×{width}"), storage, &found, &expected);
        }
    }
}

fn reference(row: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f32> {
    let count = row.len() as f64;
    let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let normal = |x: f32| (f64::from(x) - mean) / (variance + 1e-5).sqrt();
    row.iter()
        .zip(gamma.iter().zip(beta))
        .map(|(&x, (&gamma, &beta))| (normal(x) * f64::from(gamma) + f64::from(beta)) as f32)
        .collect()
}
