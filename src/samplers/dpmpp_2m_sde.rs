//! DPM-Solver++(2M) SDE: Lu et al. 2022 (arXiv 2211.01095); k-diffusion `sampling.py`, `sample_dpmpp_2m_sde`, its two
//! solver types.

use super::program::{D, K, Reg, X};
use super::writer::Writer;

pub(super) fn write(p: &mut Writer<'_>, heun: bool) {
    let eta = p.options.eta(1.0);
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        if next == 0.0 {
            p.set_x(D);
            continue;
        }
        let h = libm::log(sigma / next);
        let toward = -libm::expm1(-h - eta * h);
        let mut x = X * (next / sigma * libm::exp(-eta * h)) + D * toward;
        if i > 0 {
            let r = libm::log(p.sigma(i - 1) / sigma) / h;
            let weight = if heun { 1.0 - toward / (h + eta * h) } else { toward / 2.0 };
            x = x + (D - K[0]) * (weight / r);
        }
        let noise = p.step_noise(i, next * libm::sqrt(-libm::expm1(-2.0 * eta * h)));
        p.set(&[(Reg::X, x + noise), (Reg::KEPT[0], D)]);
    }
}
