//! The time of DEIS: of a variance-preserving diffusion whose noise level is 0.002 at time 0.001 and 80 at time 1.

/// Points of the sum that stands for an integral, as in diff-sampler: about 1e-4 off, and everybody's pictures are made
/// with it.
const POINTS: usize = 10_000;

/// σ² + 1 = exp(½·slope·t² + start·t): Song et al. 2021 (arXiv 2011.13456), appendix C, with linear β.
pub(super) struct VpTime {
    start: f64,
    slope: f64,
}

impl VpTime {
    /// diff-sampler's `edm2t`. The two noise levels are squared in f32 there: 0.002² + 1 keeps two digits.
    pub fn edm() -> Self {
        let log = |sigma: f32| f64::from(libm::logf(sigma * sigma + 1.0));
        let (low, high, first) = (log(0.002), log(80.0), 1e-3);
        let slope = 2.0 * (low / first - high) / (first - 1.0);
        Self { start: high - 0.5 * slope, slope }
    }

    /// The time of a noise level.
    pub fn of(&self, sigma: f64) -> f64 {
        let exponent = libm::log(sigma * sigma + 1.0);
        (libm::sqrt(self.start * self.start + 2.0 * self.slope * exponent) - self.start) / self.slope
    }

    /// How much the slopes at these times, newest first, contribute to the step to time `to`: each the integral over σ of
    /// the polynomial in time that is 1 at its time and 0 at the others'.
    pub fn weights(&self, known: &[f64], to: f64) -> Vec<f64> {
        let mut sums = vec![0.0; known.len()];
        for point in 0..POINTS {
            let t = known[0] + (to - known[0]) * point as f64 / (POINTS - 1) as f64;
            let speed = self.speed(t);
            for (j, sum) in sums.iter_mut().enumerate() {
                let others = known.iter().enumerate().filter(|(k, _)| *k != j);
                *sum += speed * others.map(|(_, s)| (t - s) / (known[j] - s)).product::<f64>();
            }
        }
        sums.iter().map(|sum| sum * (to - known[0]) / POINTS as f64).collect()
    }

    /// dσ/dt.
    fn speed(&self, t: f64) -> f64 {
        let growth = libm::exp(0.5 * self.slope * t * t + self.start * t);
        0.5 * (self.slope * t + self.start) * growth / libm::sqrt(growth - 1.0)
    }
}
