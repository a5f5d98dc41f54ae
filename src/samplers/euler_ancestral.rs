//! Euler's method with ancestral noise: Song et al. 2021 (DDPM's sampling in σ); k-diffusion `sampling.py`,
//! `sample_euler_ancestral`.

use super::program::X;
use super::writer::{Writer, ancestral, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let (down, up) = ancestral(sigma, next, p.options.eta(1.0));
        let noise = p.step_noise(i, up);
        p.set_x(X + slope(sigma) * (down - sigma) + noise);
    }
}
