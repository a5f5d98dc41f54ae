//! Quantiles of the beta distribution.

/// The q-quantile of the beta distribution with both parameters `a`: the x below which the share `q` of it lies.
pub(super) fn beta_quantile(q: f64, a: f64) -> f64 {
    // The halves mirror each other, and the median is exactly one half.
    if q > 0.5 {
        return 1.0 - beta_quantile(1.0 - q, a);
    }
    if q == 0.5 {
        return 0.5;
    }
    let (mut low, mut high) = (0.0, 0.5);
    // Halving until the numbers run out: the density is infinite at the end, where Newton's method is lost.
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if beta_share(middle, a) < q { low = middle } else { high = middle }
    }
    high
}

/// The share of the distribution below an x of at most one half: the regularised incomplete beta function with both
/// parameters `a`, by its continued fraction (DLMF 8.17.22).
fn beta_share(x: f64, a: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = libm::exp(libm::lgamma(2.0 * a) - 2.0 * libm::lgamma(a) + a * libm::log(x) + a * libm::log1p(-x)) / a;
    // From the far end: sixty terms are more than enough below one half.
    let fraction = (1..=60).rev().fold(1.0, |rest, n| {
        let m = f64::from(n / 2);
        let term = if n % 2 == 0 {
            m * (a - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (2.0 * a + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        1.0 + term / rest
    });
    front / fraction
}
