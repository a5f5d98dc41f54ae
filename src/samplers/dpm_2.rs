//! DPM-Solver-2 in σ: Lu et al. 2022 (arXiv 2206.00927); k-diffusion `sampling.py`, `sample_dpm_2`. Two evaluations a
//! step, the second in the middle.

use super::program::{K, Reg, X};
use super::writer::{Writer, middle, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (_, next) = p.begin(i);
        let sigma = p.churn(i);
        p.denoise(sigma);
        if next == 0.0 {
            p.set_x(X + slope(sigma) * (next - sigma));
        } else {
            let mid = middle(sigma, next);
            p.set(&[(Reg::X, X + slope(sigma) * (mid - sigma)), (Reg::KEPT[0], X)]);
            p.denoise(mid);
            p.set_x(K[0] + slope(mid) * (next - sigma));
        }
    }
}
