//! Latent consistency sampling: Luo et al. 2023 (arXiv 2310.04378), algorithm 3, without the boundary scalings, which
//! differ from 1 by less than 1e-5; diffusers `scheduling_lcm.py`.

use super::program::D;
use super::writer::Writer;

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let noise = p.step_noise(i, next);
        p.set_x(D + noise);
    }
}
