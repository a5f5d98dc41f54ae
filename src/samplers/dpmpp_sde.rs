//! DPM-Solver++ (stochastic): Lu et al. 2022 (arXiv 2211.01095); k-diffusion `sampling.py`, `sample_dpmpp_sde` with
//! r = 1/2. Two evaluations and two draws a step.

use super::program::{D, K, Reg, X};
use super::writer::{Writer, ancestral, middle, middle_time};

pub(super) fn write(p: &mut Writer<'_>) {
    let eta = p.options.eta(1.0);
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        if next == 0.0 {
            p.set_x(D);
            continue;
        }
        let (mid, time) = (middle(sigma, next), middle_time(sigma as f32, next as f32));
        let (down, up) = ancestral(sigma, mid, eta);
        let noise = p.noise(sigma as f32, time, up);
        p.set(&[(Reg::X, X * (down / sigma) + D * (1.0 - down / sigma) + noise), (Reg::KEPT[0], X)]);
        p.denoise(mid);
        let (down, up) = ancestral(sigma, next, eta);
        let noise = p.step_noise(i, up);
        p.set_x(K[0] * (down / sigma) + D * (1.0 - down / sigma) + noise);
    }
}
