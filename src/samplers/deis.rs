//! DEIS in its "tab" form, order 3: Zhang and Chen 2023 (arXiv 2204.13902), equation 15; zju-pi/diff-sampler
//! `solver_utils.py` (Apache-2.0), which ComfyUI runs. Slopes are extrapolated in the time of a diffusion from σ = 0.002
//! to 80 and integrated over σ.

use super::program::{K, Reg, X};
use super::vp_time::VpTime;
use super::writer::{Writer, slope};

const ORDER: usize = 3;

pub(super) fn write(p: &mut Writer<'_>) {
    let time = VpTime::edm();
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let slopes = [slope(sigma), K[0], K[1]];
        let known: Vec<f64> = (0..=i).rev().take(ORDER).map(|k| time.of(p.sigma(k))).collect();
        let x = if i == 0 || next == 0.0 {
            X + slopes[0] * (next - sigma)
        } else {
            let weights = time.weights(&known, time.of(next));
            weights.iter().zip(slopes).fold(X, |x, (weight, slope)| x + slope * *weight)
        };
        p.set(&[(Reg::X, x), (Reg::KEPT[0], slopes[0]), (Reg::KEPT[1], K[0])]);
    }
}
