use wordbrush::gpu::Storage;
use wordbrush::kernels::{image, sampler_step, scale_latents};

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
fn guidance_and_update() {
    let gpu = gpu(Storage::F32);
    let pixels = 7 * 10;
    for batch in [1, 2, 6] {
        let mut numbers = Numbers::new(4);
        let x = numbers.take(pixels * 4, Storage::F32);
        let eps = numbers.take(batch * pixels * 4, Storage::F32);
        let (sigma, keep, toward) = (2.5f64, 0.75f64, 0.25f64);
        let weights = [99.0f64, 8.0, -1.5, 0.5, 0.0, 2.0]; // the first is never looked at
        let expected: Vec<f32> = (0..pixels * 4)
            .map(|i| {
                let of = |item: usize| f64::from(eps[item * pixels * 4 + i]);
                let e = of(0) + (1..batch).map(|item| weights[item] * (of(item) - of(0))).sum::<f64>();
                let x = f64::from(x[i]);
                (keep * x + toward * (x - sigma * e)) as f32
            })
            .collect();
        let latents = tensor(&gpu, &[1, 7, 10, 4], Storage::F32, &x);
        let eps = tensor(&gpu, &[batch, 7, 10, 4], Storage::F32, &eps);
        let mut step = vec![0.0, 1.0, sigma as f32, 0.0, keep as f32, toward as f32, 0.0, 0.0];
        step.extend(weights.iter().map(|&weight| weight as f32));
        step.extend([0.0; 2]);
        let step = tensor(&gpu, &[16], Storage::F32, &step);
        let (plan, ()) = gpu.record("test", || sampler_step(&eps, &step, &latents));
        plan.run();
        let found = pollster::block_on(latents.read()).expect("read");
        close("sampler_step", Storage::F32, &found, &expected);
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
