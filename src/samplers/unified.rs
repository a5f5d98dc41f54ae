//! One step of UniPC between noise levels, for its predictor and its corrector.

use super::program::Form;

/// Highest order.
const MOST: usize = 3;

/// The step to a noise level from the one before, with the network's outputs there and at earlier levels; Zhao et al.
/// 2023, equations 3 and 8, as diffusers' `multistep_uni_p_bh_update` and `multistep_uni_c_bh_update` have them.
pub(super) struct Unified {
    order: usize,
    /// σ'/σ.
    keep: f64,
    /// B(h).
    scale: f64,
    /// Where the outputs lie between the two levels in log σ: (λᵢ − λ₀)/h of the earlier ones, then 1.
    places: Vec<f64>,
    /// Right sides of the order conditions.
    conditions: Vec<f64>,
}

impl Unified {
    /// To the last of `levels`, falling noise levels above 0; `b2` for B₂(h) = eʰ − 1 instead of B₁(h) = h.
    pub fn new(levels: &[f64], order: usize, b2: bool) -> Self {
        let (to, from) = (levels.len() - 1, levels.len() - 2);
        let h = libm::log(levels[from] / levels[to]);
        let scale = if b2 { libm::expm1(-h) } else { -h };
        let earlier = (1..order).map(|k| libm::log(levels[from] / levels[from - k]) / h);
        let places = earlier.chain([1.0]).collect();
        let (mut phi, mut factorial, mut conditions) = (libm::expm1(-h) / -h - 1.0, 1.0, Vec::new());
        for i in 1..=order {
            conditions.push(phi * factorial / scale);
            factorial *= (i + 1) as f64;
            phi = phi / -h - 1.0 / factorial;
        }
        Self { order, keep: levels[to] / levels[from], scale, places, conditions }
    }

    /// The latents at the new level, from those before and the outputs there, newest first.
    pub fn predict(&self, last: Form, outputs: &[Form]) -> Form {
        let weights = match self.order {
            1 => Vec::new(),
            // The authors take 1/2 instead of the solution of one equation.
            2 => vec![0.5],
            order => self.weights(order - 1),
        };
        let first_order = last * self.keep + outputs[0] * (1.0 - self.keep);
        self.differences(outputs).zip(weights).fold(first_order, |x, (d, weight)| x - d * (weight * self.scale))
    }

    /// The same with the output at the new level known as well.
    pub fn correct(&self, last: Form, outputs: &[Form], new: Form) -> Form {
        let weights = if self.order == 1 { vec![0.5] } else { self.weights(self.order) };
        let first_order = last * self.keep + outputs[0] * (1.0 - self.keep);
        let differences = self.differences(outputs).chain([new - outputs[0]]);
        differences.zip(weights).fold(first_order, |x, (d, weight)| x - d * (weight * self.scale))
    }

    /// (mᵢ − m₀)/rᵢ of the earlier outputs.
    fn differences(&self, outputs: &[Form]) -> impl Iterator<Item = Form> {
        (1..self.order).map(|k| (outputs[k] - outputs[0]) / self.places[k - 1])
    }

    /// The weights that meet the first `n` order conditions.
    fn weights(&self, n: usize) -> Vec<f64> {
        let row = |power: i32| std::array::from_fn(|k| if k < n { self.places[k].powi(power) } else { 0.0 });
        solve((0..n).map(|i| (row(i as i32), self.conditions[i])).collect())
    }
}

/// Solves equations by Gauss's elimination; each is its coefficients and its right side.
fn solve(mut rows: Vec<([f64; MOST], f64)>) -> Vec<f64> {
    for pivot in 0..rows.len() {
        let best = (pivot..rows.len()).max_by(|a, b| rows[*a].0[pivot].abs().total_cmp(&rows[*b].0[pivot].abs()));
        rows.swap(pivot, best.expect("the pivot's own row"));
        let (lead, value) = rows[pivot];
        for (_, (row, right)) in rows.iter_mut().enumerate().filter(|(i, _)| *i != pivot) {
            let factor = row[pivot] / lead[pivot];
            row.iter_mut().zip(lead).for_each(|(a, b)| *a -= factor * b);
            *right -= factor * value;
        }
    }
    rows.iter().enumerate().map(|(i, (row, right))| right / row[i]).collect()
}
