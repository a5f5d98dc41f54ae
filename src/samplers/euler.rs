//! Euler's method: Karras et al. 2022, algorithm 2 without churn; k-diffusion's `sample_euler`.

use super::Update;

/// `x + (x − denoised)/σ · (σ' − σ)`, sorted by x and denoised.
pub(super) fn update(sigma: f32, next: f32) -> Update {
    let keep = f64::from(next) / f64::from(sigma);
    Update { keep: keep as f32, toward: (1.0 - keep) as f32 }
}
