//! DPM-Solver++(2M): Lu et al. 2022 (arXiv 2211.01095); k-diffusion `sampling.py`, `sample_dpmpp_2m`.

use super::program::{D, K, Reg, X};
use super::writer::Writer;

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let denoised = if i == 0 || next == 0.0 {
            D
        } else {
            let r = libm::log(p.sigma(i - 1) / sigma) / libm::log(sigma / next);
            D + (D - K[0]) / (2.0 * r)
        };
        p.set(&[(Reg::X, X * (next / sigma) + denoised * (1.0 - next / sigma)), (Reg::KEPT[0], D)]);
    }
}
