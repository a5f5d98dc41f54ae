//! DPM-Solver-2 with ancestral noise: Lu et al. 2022 (arXiv 2206.00927); k-diffusion `sampling.py`,
//! `sample_dpm_2_ancestral`.

use super::program::{K, Reg, X};
use super::writer::{Writer, ancestral, middle, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        let (down, up) = ancestral(sigma, next, p.options.eta(1.0));
        p.denoise(sigma);
        if down == 0.0 {
            p.set_x(X + slope(sigma) * (down - sigma));
        } else {
            let mid = middle(sigma, down);
            p.set(&[(Reg::X, X + slope(sigma) * (mid - sigma)), (Reg::KEPT[0], X)]);
            p.denoise(mid);
            let noise = p.step_noise(i, up);
            p.set_x(K[0] + slope(mid) * (down - sigma) + noise);
        }
    }
}
