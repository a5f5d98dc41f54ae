//! DPM-Solver++(2S) with ancestral noise: Lu et al. 2022 (arXiv 2211.01095); k-diffusion `sampling.py`,
//! `sample_dpmpp_2s_ancestral`.

use super::program::{D, K, Reg, X};
use super::writer::{Writer, ancestral, middle};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        let (down, up) = ancestral(sigma, next, p.options.eta(1.0));
        p.denoise(sigma);
        if down == 0.0 {
            let noise = p.step_noise(i, up);
            p.set_x(D + noise);
        } else {
            let mid = middle(sigma, down);
            p.set(&[(Reg::X, X * (mid / sigma) + D * (1.0 - mid / sigma)), (Reg::KEPT[0], X)]);
            p.denoise(mid);
            let noise = p.step_noise(i, up);
            p.set_x(K[0] * (down / sigma) + D * (1.0 - down / sigma) + noise);
        }
    }
}
