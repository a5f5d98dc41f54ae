//! DPM-Solver++ (stochastic): Lu et al. 2022 (arXiv 2211.01095); k-diffusion `sampling.py`, `sample_dpmpp_sde` with
//! r = 1/2. Two evaluations and two draws a step.

use super::program::{D, K, Reg, X};
use super::writer::{Writer, ancestral, middle};

pub(super) fn write(p: &mut Writer<'_>) {
    let eta = p.options.eta(1.0);
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        if next == 0.0 {
            p.set_x(D);
            continue;
        }
        // The Brownian motion is asked at times that went through f32 logarithms and back.
        let (t, t_next) = (-libm::logf(sigma as f32), -libm::logf(next as f32));
        let times = [t, t + (t_next - t) * 0.5, t_next].map(|t| libm::expf(-t));
        let mid = middle(sigma, next);
        let (down, up) = ancestral(sigma, mid, eta);
        let noise = p.noise(times[0], times[1], up);
        p.set(&[(Reg::X, X * (down / sigma) + D * (1.0 - down / sigma) + noise), (Reg::KEPT[0], X)]);
        p.denoise(mid);
        let (down, up) = ancestral(sigma, next, eta);
        let noise = p.noise(times[0], times[2], up);
        p.set_x(K[0] * (down / sigma) + D * (1.0 - down / sigma) + noise);
    }
}
