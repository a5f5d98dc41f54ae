//! DPM-Solver++(3M) SDE: Lu et al. 2022 (arXiv 2211.01095), third order by Crowson; k-diffusion `sampling.py`,
//! `sample_dpmpp_3m_sde`.

use super::program::{D, Form, K, Reg, X};
use super::writer::Writer;

pub(super) fn write(p: &mut Writer<'_>) {
    let eta = p.options.eta(1.0);
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        if next == 0.0 {
            p.set_x(D);
            continue;
        }
        let h = libm::log(sigma / next);
        let he = h * (eta + 1.0);
        let ratio = |back: usize| if i > back { libm::log(p.sigma(i - back - 1) / p.sigma(i - back)) / h } else { 1.0 };
        let (r0, r1, phi_2) = (ratio(0), ratio(1), 1.0 + libm::expm1(-he) / he);
        let newer = if i > 0 { (D - K[0]) / r0 } else { Form::default() };
        let older = if i > 1 { (K[0] - K[1]) / r1 } else { newer };
        let second = (newer - older) / (r0 + r1);
        let x = X * libm::exp(-he) - D * libm::expm1(-he);
        let x = x + (newer + second * r0) * phi_2 - second * (phi_2 / he - 0.5);
        let noise = p.step_noise(i, next * libm::sqrt(-libm::expm1(-2.0 * h * eta)));
        p.set(&[(Reg::X, x + noise), (Reg::KEPT[0], D), (Reg::KEPT[1], K[0])]);
    }
}
