//! Pseudo linear multistep (PNDM without its Runge-Kutta steps): Liu et al. 2022 (arXiv 2202.09778), equation 12, in σ;
//! diffusers `scheduling_pndm.py`, `step_plms`. The first step takes two evaluations.

use super::program::{K, Reg, X};
use super::writer::{ADAMS, Writer, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        let (dt, slopes) = (next - sigma, [slope(sigma), K[0], K[1], K[2]]);
        p.denoise(sigma);
        if i == 0 && next > 0.0 {
            let half = X + slopes[0] * (dt / 2.0);
            p.set(&[(Reg::X, X + slopes[0] * dt), (Reg::KEPT[0], slopes[0]), (Reg::KEPT[1], half)]);
            p.denoise(next);
            p.set_x(K[1] + slope(next) * (dt / 2.0));
        } else {
            let x = ADAMS[i.min(3)].iter().zip(slopes).fold(X, |x, (c, slope)| x + slope * (c * dt));
            p.set(&[(Reg::X, x), (Reg::KEPT[0], slopes[0]), (Reg::KEPT[1], K[0]), (Reg::KEPT[2], K[1])]);
        }
    }
}
