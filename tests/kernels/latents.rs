use wordbrush::gpu::{Gpu, Options, Storage, Tensor};
use wordbrush::kernels::{
    Gemm, ROW, Rescale, conv_out_step, image, image_from_unit, matrix_offset, rescale_guidance, sampler_step,
    scale_latents, soft_clamp, step_len,
};

use crate::gemm::convolution;
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

/// Numbers of two pictures of 7×10.
const EACH: usize = 2 * 7 * 10 * 4;
const SKIP: f64 = 0.75;
const OUT: f64 = -2.5;
const SCALE: f64 = 0.5;
const SIGMA: f64 = 1.75;
/// The first is never looked at.
const WEIGHTS: [f64; 6] = [99.0, 8.0, -1.5, 0.5, 0.0, 2.0];

/// Guidance over the items of `eps` (none: a mix alone) and a mix of registers, loop by loop; with `factors` of the two
/// pictures, rescaled; beside a picture that is kept in parts, where there are its `planes`.
fn advanced(
    before: &[f32],
    eps: &[f64],
    matrix: &[f32],
    factors: Option<[f64; 2]>,
    planes: Option<&[f32]>,
) -> Vec<f32> {
    let (r, prompts) = (before.len() / EACH, eps.len() / EACH);
    let old = |i: usize| {
        let mut old: Vec<f64> = (0..r).map(|k| f64::from(before[k * EACH + i])).collect();
        if prompts > 0 {
            let of = |item: usize| eps[item * EACH + i];
            let e = of(0) + (1..prompts).map(|item| WEIGHTS[item] * (of(item) - of(0))).sum::<f64>();
            let f = factors.map_or(1.0, |factors| factors[i / (EACH / 2)]);
            let k = SCALE * SCALE;
            let plane = |which: usize, i: usize| planes.map_or(0.0, |planes| f64::from(planes[which * EACH + i]));
            let mask = |which: usize| if planes.is_some() { plane(2, i / 4 * 4 + which) } else { 1.0 };
            let seen = mask(0) * old[0] + (1.0 - mask(0)) * (plane(0, i) + SIGMA * plane(1, i));
            old[1] = (k + f * (SKIP - k)) * seen + f * OUT * e;
            old[1] = mask(1) * old[1] + (1.0 - mask(1)) * plane(0, i);
        }
        old
    };
    let mixed = |at: usize| {
        let row = &matrix[at / EACH * r..][..r];
        old(at % EACH).iter().zip(row).map(|(old, factor)| old * f64::from(*factor)).sum::<f64>() as f32
    };
    (0..r * EACH).map(mixed).collect()
}

/// The numbers of `step` for so many prompts; what is never looked at is no number.
fn step_of(gpu: &Gpu, prompts: usize, matrix: &[f32], r: usize) -> Tensor {
    let nan = f32::NAN;
    let mut step = vec![0.0, SCALE as f32, SKIP as f32, OUT as f32, SIGMA as f32, nan, nan, nan];
    step.extend(WEIGHTS[..prompts].iter().map(|&weight| weight as f32));
    step.resize(matrix_offset(prompts), nan);
    for row in matrix.chunks(r) {
        step.extend(row);
        step.extend(vec![nan; ROW - r]);
    }
    tensor(gpu, &[step_len(prompts, r)], Storage::F32, &step)
}

/// Runs what changes `registers`, and reads them.
fn changed(gpu: &Gpu, registers: &Tensor, kernel: impl FnOnce()) -> Vec<f32> {
    let (plan, ()) = gpu.record("test", kernel);
    plan.run();
    pollster::block_on(registers.read()).expect("read")
}

fn mixed(r: usize, batch: usize, factors: Option<[f64; 2]>, painting: bool) {
    let gpu = gpu(Storage::F32);
    let mut numbers = Numbers::new(4);
    let before = numbers.take(r * EACH, Storage::F32);
    let eps = numbers.take(batch * EACH, Storage::F32);
    let matrix = numbers.take(r * r, Storage::F32);
    let planes = Numbers::new(5).take(3 * EACH, Storage::F32);
    let exact: Vec<f64> = eps.iter().copied().map(f64::from).collect();
    let expected = advanced(&before, &exact, &matrix, factors, painting.then_some(&planes));
    let registers = tensor(&gpu, &[r, 14, 10, 4], Storage::F32, &before);
    let eps = (batch > 0).then(|| tensor(&gpu, &[batch, 14, 10, 4], Storage::F32, &eps));
    let step = step_of(&gpu, batch, &matrix, r);
    let repaint = painting.then(|| tensor(&gpu, &[3, 14, 10, 4], Storage::F32, &planes));
    let nan = f32::NAN;
    let factors = factors.map(|[a, b]| {
        // Only the first of four is looked at.
        tensor(&gpu, &[2, 4], Storage::F32, &[a as f32, nan, nan, nan, b as f32, nan, nan, nan])
    });
    let found = changed(&gpu, &registers, || {
        sampler_step(eps.as_ref(), factors.as_ref(), &step, repaint.as_ref(), &registers);
    });
    close("sampler_step", Storage::F32, &found, &expected);
}

/// The convolution of `c` channels before it, of two pictures of 7×10 for each prompt, by loops.
fn convolved(gpu: &Gpu, prompts: usize, c: usize, r: usize, painting: bool) {
    let storage = gpu.storage();
    let mut numbers = Numbers::new(21);
    let before = numbers.take(r * EACH, Storage::F32);
    let matrix = numbers.take(r * r, Storage::F32);
    let h = numbers.take(prompts * EACH / 4 * c, storage);
    let filter = numbers.take(9 * c * 4, storage);
    let bias = numbers.take(4, Storage::F32);
    let planes = Numbers::new(5).take(3 * EACH, Storage::F32);
    let eps: Vec<f64> = (0..prompts * EACH)
        .map(|at| {
            let (item, y, x, n) = (at / 280, at / 40 % 7, at / 4 % 10, at % 4);
            let mut sum = f64::from(bias[n]);
            for (ky, kx) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                let (Some(y), Some(x)) = ((y + ky).checked_sub(1), (x + kx).checked_sub(1)) else { continue };
                if y < 7 && x < 10 {
                    let pixel = &h[((item * 7 + y) * 10 + x) * c..][..c];
                    let taps = filter[(ky * 3 + kx) * c * 4 + n..].iter().step_by(4);
                    sum += pixel.iter().zip(taps).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                }
            }
            sum
        })
        .collect();
    let expected = advanced(&before, &eps, &matrix, None, painting.then_some(&planes));
    let h = tensor(gpu, &[prompts * 2, 7, 10, c], storage, &h);
    let filter = tensor(gpu, &[3, 3, c, 4], storage, &filter);
    let bias = tensor(gpu, &[4], Storage::F32, &bias);
    let registers = tensor(gpu, &[r, 14, 10, 4], Storage::F32, &before);
    let step = step_of(gpu, prompts, &matrix, r);
    let repaint = painting.then(|| tensor(gpu, &[3, 14, 10, 4], Storage::F32, &planes));
    let conv_out = Gemm { bias: Some(&bias), ..convolution(&h, &filter, false, None) };
    let found = changed(gpu, &registers, || conv_out_step(&conv_out, &step, repaint.as_ref(), &registers));
    // Nothing is stored in halves.
    close(&format!("conv_out_step {prompts} of {c}, {storage:?}"), Storage::F32, &found, &expected);
}

#[test]
fn the_last_convolution_and_what_follows() {
    for storage in STORAGES {
        let options = Options { storage: Some(storage), software: Some(false), ..Options::default() };
        let on_gpu = pollster::block_on(Gpu::open(options)).expect("an adapter");
        for gpu in [gpu(storage), on_gpu] {
            convolved(&gpu, 2, 36, 2, false);
            convolved(&gpu, 1, 4, 3, false);
            convolved(&gpu, 5, 20, 7, true);
        }
    }
}

#[test]
fn guidance_and_registers() {
    for (r, batch) in [(2, 1), (2, 2), (3, 5), (7, 6), (5, 2), (2, 0), (7, 0)] {
        mixed(r, batch, None, false);
    }
    mixed(2, 2, Some([0.8, 1.0]), false);
    mixed(5, 6, Some([0.3, 1.2]), false);
    mixed(2, 2, None, true);
    mixed(3, 5, Some([0.6, 1.1]), true);
}

/// The formula of ComfyUI's node on velocities, in f64: each picture's deviations, for pictures of h×w.
fn rescaled(pictures: usize, prompts: usize, [h, w]: [usize; 2], [skip, out]: [f64; 2]) {
    let gpu = gpu(Storage::F32);
    let (each, rescale, sigma) = (h * w * 4, Rescale { multiplier: 0.7, cfg: 7.5 }, 3.0f64);
    let all = pictures * each;
    let mut numbers = Numbers::new(6);
    // Far from a mean of 0, where a sum of squares alone would lose its digits.
    let x: Vec<f32> = numbers.take(2 * all, Storage::F32).iter().map(|x| x * 3.0 + 40.0).collect();
    let eps: Vec<f32> = numbers.take(prompts * all, Storage::F32).iter().map(|x| x + 20.0).collect();
    let parts = [99.0f64, 0.75, 0.5]; // the first is never looked at
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
    };
    let velocities = |picture: usize, cfg: f64| -> Vec<f64> {
        let of = |i: usize| {
            let eps = |prompt: usize| f64::from(eps[prompt * all + i]);
            let e = eps(0) + (1..prompts).map(|prompt| cfg * parts[prompt] * (eps(prompt) - eps(0))).sum::<f64>();
            let denoised = skip * f64::from(x[i]) + out * e;
            (f64::from(x[i]) / (sigma * sigma + 1.0) - denoised) * (sigma * sigma + 1.0).sqrt() / sigma
        };
        (picture * each..(picture + 1) * each).map(of).collect()
    };
    let expected: Vec<f32> = (0..pictures)
        .flat_map(|picture| {
            let ratio = deviation(&velocities(picture, 1.0)) / deviation(&velocities(picture, 7.5));
            [(0.7 * ratio + 0.3) as f32, 0.0, 0.0, 0.0]
        })
        .collect();
    let registers = tensor(&gpu, &[2, pictures * h, w, 4], Storage::F32, &x);
    let eps = tensor(&gpu, &[prompts, pictures * h, w, 4], Storage::F32, &eps);
    let scale = (1.0 / (sigma * sigma + 1.0).sqrt()) as f32;
    let mut step = vec![0.0, scale, skip as f32, out as f32, sigma as f32, 0.0, 0.0, 0.0];
    step.extend(parts[..prompts].iter().map(|part| (part * 7.5) as f32));
    step.resize(step_len(prompts, 2), f32::NAN);
    let step = tensor(&gpu, &[step.len()], Storage::F32, &step);
    let found = run(&gpu, || rescale_guidance(&eps, &step, None, &registers, pictures, rescale));
    close("rescale_guidance", Storage::F32, &found, &expected);
}

#[test]
fn rescaled_guidance() {
    // Predicted noise and predicted velocity, at a noise level of 3.
    for prediction in [[1.0, -3.0], [0.1, -3.0 / 10.0f64.sqrt()]] {
        rescaled(1, 2, [5, 3], prediction);
        rescaled(3, 2, [9, 16], prediction);
        rescaled(2, 3, [7, 10], prediction);
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
