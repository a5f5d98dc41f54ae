//! DDIM: Song et al. 2021 (arXiv 2010.02502), equation 12; diffusers `scheduling_ddim.py`. Written in σ it is Euler's
//! method with ancestral noise; η, which is 0 by default in both tools, makes it stochastic.

use super::program::D;
use super::writer::{Writer, ancestral, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let (along, up) = ancestral(sigma, next, p.options.eta(0.0));
        let noise = p.step_noise(i, up);
        p.set_x(D + slope(sigma) * along + noise);
    }
}
