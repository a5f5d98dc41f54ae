//! Between the networks: guidance, the sampler's registers, pixels; the loops that our kernels `sampler_step` and `image` are.

/// The denoised latents of `x` (4, h, w) from the network's output for each batch item, of the same shape:
/// ε = ε₀ + Σ wᵢ · (εᵢ − ε₀) (Ho and Salimans 2022), denoised = skip · x + out · ε.
pub fn guided(x: &[f32], eps: &[Vec<f32>], weights: &[f32], [skip, out]: [f32; 2]) -> Vec<f32> {
    let denoised = |(i, x): (usize, &f32)| {
        let base = eps[0][i];
        let more: f32 = eps.iter().zip(weights).skip(1).map(|(eps, weight)| weight * (eps[i] - base)).sum();
        skip * x + out * (base + more)
    };
    x.iter().enumerate().map(denoised).collect()
}

/// The factors of the latents and of the network's output, `[skip, out]`, with the contrast that guidance adds taken back
/// (Lin et al. 2024, section 3.4), as `rescale_guidance` does. `weights` are those of the prompt alone and the guided ones,
/// `scale` is 1/√(1 + σ²).
pub fn rescaled(
    x: &[f32],
    eps: &[Vec<f32>],
    weights: [&[f32]; 2],
    [skip, out]: [f32; 2],
    scale: f32,
    multiplier: f32,
) -> [f32; 2] {
    let own = scale * scale;
    let [alone, guided] = weights.map(|weights| {
        let denoised = guided(x, eps, weights, [skip, out]);
        deviation(x.iter().zip(denoised).map(|(x, denoised)| f64::from(own * x - denoised)).collect())
    });
    let ratio = if guided > 0.0 { alone / guided } else { 1.0 };
    let factor = multiplier * ratio as f32 + 1.0 - multiplier;
    [own + factor * (skip - own), factor * out]
}

/// Of numbers from their mean.
fn deviation(values: Vec<f64>) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Registers, all of one size, become `matrix` (R, R) · registers.
pub fn mix(registers: &mut [Vec<f32>], matrix: &[f32]) {
    for i in 0..registers[0].len() {
        let old: Vec<f32> = registers.iter().map(|register| register[i]).collect();
        for (register, row) in registers.iter_mut().zip(matrix.chunks(old.len())) {
            register[i] = row.iter().zip(&old).map(|(factor, value)| factor * value).sum();
        }
    }
}

/// A picture (3, H, W) in −1…1 as RGBA bytes (H, W, 4): ×255 and cut off, as ComfyUI saves pictures.
pub fn rgba(image: &[f32]) -> Vec<u8> {
    let pixels = image.len() / 3;
    let byte = |x: f32| ((x * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0) as u8;
    (0..pixels).flat_map(|i| [byte(image[i]), byte(image[pixels + i]), byte(image[2 * pixels + i]), 255]).collect()
}
