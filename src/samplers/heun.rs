//! Heun's method: Karras et al. 2022, algorithm 2; k-diffusion `sampling.py`, `sample_heun`. Two evaluations a step.

use super::program::{K, Reg, X};
use super::writer::{Writer, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (_, next) = p.begin(i);
        let sigma = p.churn(i);
        let dt = next - sigma;
        p.denoise(sigma);
        if next == 0.0 {
            p.set_x(X + slope(sigma) * dt);
        } else {
            p.set(&[(Reg::X, X + slope(sigma) * dt), (Reg::KEPT[0], X + slope(sigma) * (dt / 2.0))]);
            p.denoise(next);
            p.set_x(K[0] + slope(next) * (dt / 2.0));
        }
    }
}
