use wordbrush::gpu::{Storage, Tensor};
use wordbrush::kernels::{
    ROW, image, image_from_unit, matrix_offset, sampler_step, scale_latents, soft_clamp, step_len,
};

use crate::support::{Numbers, STORAGES, close, gpu, run, tensor};

#[test]
fn scaled_and_repeated() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let x = Numbers::new(1).take(5 * 3 * 4, Storage::F32);
        let latents = tensor(&gpu, &[1, 5, 3, 4], Storage::F32, &x);
        let step = tensor(&gpu, &[4], Storage::F32, &[9.0, 0.25, 0.0, 0.0]);
        let found = run(&gpu, || scale_latents(&latents, &step, 2, storage));
        let once: Vec<f32> = x.iter().map(|x| x * 0.25).collect();
        close("scale_latents", storage, &found, &[once.clone(), once].concat());
    }
}

#[test]
fn bent_softly() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let mut x: Vec<f32> = Numbers::new(2).take(7 * 10 * 4, Storage::F32).iter().map(|x| x * 9.0).collect();
        x[..4].copy_from_slice(&[0.0, 1e6, -1e30, 150.0]);
        let latents = tensor(&gpu, &[1, 7, 10, 4], Storage::F32, &x);
        let found = run(&gpu, || soft_clamp(&latents, storage));
        let expected: Vec<f32> = x.iter().map(|&x| (3.0 * (f64::from(x) / 3.0).tanh()) as f32).collect();
        close("soft_clamp", storage, &found, &expected);
    }
}

/// Guidance over `batch` items (none: a mix alone) and a mix of `r` registers, loop by loop.
fn mixed(r: usize, batch: usize) {
    let gpu = gpu(Storage::F32);
    let numbers_each = 7 * 10 * 4;
    let mut numbers = Numbers::new(4);
    let before = numbers.take(r * numbers_each, Storage::F32);
    let eps = numbers.take(batch * numbers_each, Storage::F32);
    let matrix = numbers.take(r * r, Storage::F32);
    let (skip, out) = (0.75f64, -2.5f64);
    let weights = [99.0f64, 8.0, -1.5, 0.5, 0.0, 2.0]; // the first is never looked at
    let expected: Vec<f32> = (0..r * numbers_each)
        .map(|at| {
            let (row, i) = (at / numbers_each, at % numbers_each);
            let mut old: Vec<f64> = (0..r).map(|k| f64::from(before[k * numbers_each + i])).collect();
            if batch > 0 {
                let of = |item: usize| f64::from(eps[item * numbers_each + i]);
                let e = of(0) + (1..batch).map(|item| weights[item] * (of(item) - of(0))).sum::<f64>();
                old[1] = skip * old[0] + out * e;
            }
            (0..r).map(|k| f64::from(matrix[row * r + k]) * old[k]).sum::<f64>() as f32
        })
        .collect();
    let registers = tensor(&gpu, &[r, 7, 10, 4], Storage::F32, &before);
    let eps = (batch > 0).then(|| tensor(&gpu, &[batch, 7, 10, 4], Storage::F32, &eps));
    let mut step = vec![0.0, 1.0, skip as f32, out as f32];
    step.extend(weights[..batch].iter().map(|&weight| weight as f32));
    step.resize(matrix_offset(batch), f32::NAN); // padding is never looked at
    for row in matrix.chunks(r) {
        step.extend(row);
        step.extend(vec![f32::NAN; ROW - r]);
    }
    let step = tensor(&gpu, &[step_len(batch, r)], Storage::F32, &step);
    let (plan, ()) = gpu.record("test", || sampler_step(eps.as_ref(), &step, &registers));
    plan.run();
    let found = pollster::block_on(registers.read()).expect("read");
    close("sampler_step", Storage::F32, &found, &expected);
}

#[test]
fn guidance_and_registers() {
    for (r, batch) in [(2, 1), (2, 2), (3, 5), (7, 6), (5, 2), (2, 0), (7, 0)] {
        mixed(r, batch);
    }
}

#[test]
fn bytes_of_a_picture() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let (h, w) = (6, 10);
        let x: Vec<f32> = Numbers::new(8).take(h * w * 4, storage).iter().map(|x| x * 1.5).collect();
        let x: Vec<f32> = x.into_iter().map(|x| crate::support::round(x, storage)).collect();
        let tensor = tensor(&gpu, &[1, h, w, 4], storage, &x);
        for (kernel, factor, shift) in [(image as fn(&Tensor) -> Tensor, 0.5, 0.5), (image_from_unit, 1.0, 0.0)] {
            let (plan, rgba) = gpu.record("test", || kernel(&tensor).keep());
            rgba.write(&vec![f32::NAN; rgba.len()]);
            plan.run();
            let found = pollster::block_on(rgba.read_bytes()).expect("read");
            for (pixel, bytes) in x.chunks(4).zip(found.chunks(4)) {
                let byte = |x: f32| ((x * factor + shift).clamp(0.0, 1.0) * 255.0) as u8;
                assert_eq!(bytes, [byte(pixel[0]), byte(pixel[1]), byte(pixel[2]), 255], "{pixel:?}");
            }
        }
    }
}
