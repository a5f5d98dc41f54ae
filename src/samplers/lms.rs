//! The linear multistep method of order 4: k-diffusion `sampling.py`, `sample_lms` (Katherine Crowson). Each slope's
//! weight is the integral over the step of the polynomial that is 1 at its noise level and 0 at the others'.

use super::program::{K, Reg, X};
use super::writer::{Writer, slope};

const ORDER: usize = 4;

pub(super) fn write(p: &mut Writer<'_>) {
    for i in 0..p.len() {
        let (sigma, next) = p.begin(i);
        p.denoise(sigma);
        let known: Vec<f64> = (0..=i).rev().take(ORDER).map(|k| p.sigma(k)).collect();
        let weight = |j: usize| {
            let others = || known.iter().enumerate().filter(move |(k, _)| *k != j);
            let basis = |at: f64| others().map(|(_, s)| (at - s) / (known[j] - s)).product::<f64>();
            // Gauss's rule with two points is exact for the cubic.
            let (centre, half) = ((sigma + next) / 2.0, (next - sigma) / 2.0);
            half * (basis(centre - half / libm::sqrt(3.0)) + basis(centre + half / libm::sqrt(3.0)))
        };
        let slopes = [slope(sigma), K[0], K[1], K[2]];
        let x = (0..known.len()).fold(X, |x, j| x + slopes[j] * weight(j));
        p.set(&[(Reg::X, x), (Reg::KEPT[0], slopes[0]), (Reg::KEPT[1], K[0]), (Reg::KEPT[2], K[1])]);
    }
}
