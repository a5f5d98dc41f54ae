//! Improved PNDM: Zhang and Chen 2023 (arXiv 2204.13902), in σ, order 4; diffusers `scheduling_ipndm.py` and
//! zju-pi/diff-sampler `solvers.py` (Apache-2.0), whose last step to σ = 0 is the network's output.

use super::program::{D, K, Reg, X};
use super::writer::{ADAMS, Writer, slope};

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let slopes = [slope(sigma), K[0], K[1], K[2]];
        let sum = |x, (c, slope): (&f64, _)| x + slope * (c * (next - sigma));
        let x = if next == 0.0 { D } else { ADAMS[i.min(3)].iter().zip(slopes).fold(X, sum) };
        p.set(&[(Reg::X, x), (Reg::KEPT[0], slopes[0]), (Reg::KEPT[1], K[0]), (Reg::KEPT[2], K[1])]);
    }
}
