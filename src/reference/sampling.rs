//! Between the networks: guidance, the sampler's update, pixels; the loops that our kernels `sampler_step` and `image` are.

use crate::samplers::Update;

/// Updates `latents` (4, h, w) from the predicted noise of each batch item, of the same shape:
/// ε = ε₀ + Σ wᵢ · (εᵢ − ε₀) (Ho and Salimans 2022), denoised = x − σ ε, x ← keep · x + toward · denoised.
pub fn sampler_step(latents: &mut [f32], eps: &[Vec<f32>], weights: &[f32], sigma: f32, update: Update) {
    for (i, x) in latents.iter_mut().enumerate() {
        let base = eps[0][i];
        let more: f32 = eps.iter().zip(weights).skip(1).map(|(eps, weight)| weight * (eps[i] - base)).sum();
        let denoised = *x - sigma * (base + more);
        *x = update.keep * *x + update.toward * denoised;
    }
}

/// A picture (3, H, W) in −1…1 as RGBA bytes (H, W, 4): ×255 and cut off, as ComfyUI saves pictures.
pub fn rgba(image: &[f32]) -> Vec<u8> {
    let pixels = image.len() / 3;
    let byte = |x: f32| ((x * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0) as u8;
    (0..pixels).flat_map(|i| [byte(image[i]), byte(image[pixels + i]), byte(image[2 * pixels + i]), 255]).collect()
}
