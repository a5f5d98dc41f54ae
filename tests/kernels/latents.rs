use wordbrush::gpu::Storage;
use wordbrush::kernels::{ROW, image, matrix_offset, sampler_step, scale_latents, step_len};

use crate::support::{Numbers, STORAGES, close, gpu, run, tensor};

#[test]
fn scaled_and_repeated() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let x = Numbers::new(1).take(5 * 3 * 4, Storage::F32);
        let latents = tensor(&gpu, &[1, 5, 3, 4], Storage::F32, &x);
        let step = tensor(&gpu, &[4], Storage::F32, &[9.0, 0.25, 0.0, 0.0]);
        let found = run(&gpu, || scale_latents(&latents, &step, None, 2, storage));
        let once: Vec<f32> = x.iter().map(|x| x * 0.25).collect();
        close("scale_latents", storage, &found, &[once.clone(), once].concat());
    }
}

/// Where nothing is painted the network sees the picture under noise.
#[test]
fn scaled_beside_a_picture() {
    let n = 5 * 3 * 4;
    for storage in STORAGES {
        let gpu = gpu(storage);
        let (x, planes) = (Numbers::new(1).take(n, Storage::F32), Numbers::new(2).take(3 * n, Storage::F32));
        let latents = tensor(&gpu, &[1, 5, 3, 4], Storage::F32, &x);
        let step = tensor(&gpu, &[8], Storage::F32, &[9.0, 0.25, 0.0, 0.0, 3.0, f32::NAN, f32::NAN, f32::NAN]);
        let repaint = tensor(&gpu, &[3, 5, 3, 4], Storage::F32, &planes);
        let found = run(&gpu, || scale_latents(&latents, &step, Some(&repaint), 2, storage));
        let seen = |i: usize| {
            let (mask, kept) = (planes[2 * n + i / 4 * 4], planes[i] + 3.0 * planes[n + i]);
            (mask * x[i] + (1.0 - mask) * kept) * 0.25
        };
        let once: Vec<f32> = (0..n).map(seen).collect();
        close("scale_latents", storage, &found, &[once.clone(), once].concat());
    }
}

/// Guidance over `batch` items (none: a mix alone) and a mix of `r` registers, loop by loop.
fn mixed(r: usize, batch: usize, painting: bool) {
    let gpu = gpu(Storage::F32);
    let numbers_each = 7 * 10 * 4;
    let mut numbers = Numbers::new(4);
    let before = numbers.take(r * numbers_each, Storage::F32);
    let eps = numbers.take(batch * numbers_each, Storage::F32);
    let matrix = numbers.take(r * r, Storage::F32);
    let (skip, out) = (0.75f64, -2.5f64);
    let planes = Numbers::new(5).take(3 * numbers_each, Storage::F32);
    let sigma = 1.75f64;
    let (picture, noise) = (|i: usize| f64::from(planes[i]), |i: usize| f64::from(planes[numbers_each + i]));
    let mask = |i: usize, which: usize| f64::from(planes[2 * numbers_each + i / 4 * 4 + which]);
    let weights = [99.0f64, 8.0, -1.5, 0.5, 0.0, 2.0]; // the first is never looked at
    let expected: Vec<f32> = (0..r * numbers_each)
        .map(|at| {
            let (row, i) = (at / numbers_each, at % numbers_each);
            let mut old: Vec<f64> = (0..r).map(|k| f64::from(before[k * numbers_each + i])).collect();
            if batch > 0 {
                let of = |item: usize| f64::from(eps[item * numbers_each + i]);
                let e = of(0) + (1..batch).map(|item| weights[item] * (of(item) - of(0))).sum::<f64>();
                let seen = mask(i, 0) * old[0] + (1.0 - mask(i, 0)) * (picture(i) + sigma * noise(i));
                old[1] = skip * if painting { seen } else { old[0] } + out * e;
                if painting {
                    old[1] = mask(i, 1) * old[1] + (1.0 - mask(i, 1)) * picture(i);
                }
            }
            (0..r).map(|k| f64::from(matrix[row * r + k]) * old[k]).sum::<f64>() as f32
        })
        .collect();
    let registers = tensor(&gpu, &[r, 7, 10, 4], Storage::F32, &before);
    let eps = (batch > 0).then(|| tensor(&gpu, &[batch, 7, 10, 4], Storage::F32, &eps));
    let mut step = vec![0.0, 1.0, skip as f32, out as f32, sigma as f32, f32::NAN, f32::NAN, f32::NAN];
    step.extend(weights[..batch].iter().map(|&weight| weight as f32));
    step.resize(matrix_offset(batch), f32::NAN); // padding is never looked at
    for row in matrix.chunks(r) {
        step.extend(row);
        step.extend(vec![f32::NAN; ROW - r]);
    }
    let step = tensor(&gpu, &[step_len(batch, r)], Storage::F32, &step);
    let repaint = painting.then(|| tensor(&gpu, &[3, 7, 10, 4], Storage::F32, &planes));
    let (plan, ()) = gpu.record("test", || sampler_step(eps.as_ref(), &step, repaint.as_ref(), &registers));
    plan.run();
    let found = pollster::block_on(registers.read()).expect("read");
    close("sampler_step", Storage::F32, &found, &expected);
}

#[test]
fn guidance_and_registers() {
    for (r, batch) in [(2, 1), (2, 2), (3, 5), (7, 6), (5, 2), (2, 0), (7, 0)] {
        mixed(r, batch, false);
    }
    for (r, batch) in [(2, 2), (3, 5)] {
        mixed(r, batch, true);
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
        let (plan, rgba) = gpu.record("test", || image(&tensor).keep());
        rgba.write(&vec![f32::NAN; rgba.len()]);
        plan.run();
        let found = pollster::block_on(rgba.read_bytes()).expect("read");
        for (pixel, bytes) in x.chunks(4).zip(found.chunks(4)) {
            let byte = |x: f32| ((x * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0) as u8;
            assert_eq!(bytes, [byte(pixel[0]), byte(pixel[1]), byte(pixel[2]), 255], "{pixel:?}");
        }
    }
}
