//! Emphasis over encoded windows, as both dialects do it: the loops that our kernels `weigh_tokens` and `weigh_windows`
//! are.

use crate::prompt::{Syntax, WINDOW};

/// Weighs encoded rows (windows, 77, `width`) in place; `weights` has one for each row.
///
/// ComfyUI: `empty + w · (x − empty)`, where `empty` is the same place of the encoded empty prompt, the last window.
/// A1111: `w · x`, then scaled so that each window's mean is what it was.
pub fn weigh(rows: &mut [f32], weights: &[f32], width: usize, syntax: Syntax) {
    assert_eq!(rows.len(), weights.len() * width, "weigh: {} rows of {width}", weights.len());
    match syntax {
        Syntax::Comfy => toward_empty(rows, weights, width),
        Syntax::A1111 => {
            for (window, weights) in rows.chunks_mut(WINDOW * width).zip(weights.chunks(WINDOW)) {
                keep_mean(window, weights, width);
            }
        }
    }
}

fn toward_empty(rows: &mut [f32], weights: &[f32], width: usize) {
    let (rows, empty) = rows.split_at_mut(rows.len() - WINDOW * width);
    let places = empty.chunks(width).cycle();
    for ((row, empty), &weight) in rows.chunks_mut(width).zip(places).zip(weights) {
        // Weight 1 takes the row as it is: not a bit may change.
        if weight != 1.0 {
            row.iter_mut().zip(empty).for_each(|(x, empty)| *x = empty + weight * (*x - empty));
        }
    }
}

fn keep_mean(window: &mut [f32], weights: &[f32], width: usize) {
    let sum = |window: &[f32]| window.iter().map(|&x| f64::from(x)).sum::<f64>();
    let before = sum(window);
    for (row, &weight) in window.chunks_mut(width).zip(weights) {
        row.iter_mut().for_each(|x| *x *= weight);
    }
    let after = sum(window);
    // Sums that cancel to nothing have no mean to restore; and no weight but 1 changes nothing.
    if after != 0.0 && after != before {
        let scale = (before / after) as f32;
        window.iter_mut().for_each(|x| *x *= scale);
    }
}
