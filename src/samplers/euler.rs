//! Euler's method: Karras et al. 2022, algorithm 2; k-diffusion `sampling.py`, `sample_euler`.

use super::program::X;
use super::writer::{Writer, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (_, next) = p.begin(i);
        let sigma = p.churn(i);
        p.denoise(sigma);
        p.set_x(X + slope(sigma) * (next - sigma));
    }
}
