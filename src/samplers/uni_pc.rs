//! UniPC of order 3, predicting the picture: Zhao et al. 2023 (arXiv 2302.04867), algorithms 1 and 2, B₁ or B₂; diffusers
//! `scheduling_unipc_multistep.py`. Each evaluation first corrects the latents it was made from, then predicts the next;
//! X is the prediction, the corrected latents are kept.

use super::program::{D, K, Reg, X};
use super::unified::Unified;
use super::writer::Writer;

const ORDER: usize = 3;

pub(super) fn write(p: &mut Writer<'_>, b2: bool) {
    let n = p.len();
    // The lower orders at both ends.
    let order = |i: usize| ORDER.min(i + 1).min(n - i);
    // σ = 0 has no logarithm; ComfyUI puts 0.001 there.
    let levels: Vec<f64> = (0..=n).map(|i| if p.sigma(i) == 0.0 { 0.001 } else { p.sigma(i) }).collect();
    for i in 0..n {
        let (sigma, _) = p.begin(i);
        p.denoise(sigma);
        let rule = |to: usize| Unified::new(&levels[..=to], order(to - 1), b2);
        let corrected = if i == 0 { X } else { rule(i).correct(K[0], &K[1..], D) };
        let x = rule(i + 1).predict(corrected, &[D, K[1], K[2]]);
        let [last, first, second, third] = Reg::KEPT;
        p.set(&[(Reg::X, x), (last, corrected), (first, D), (second, K[1]), (third, K[2])]);
    }
}
