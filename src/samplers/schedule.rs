//! Which noise levels a picture visits on its way down.

use crate::error::{Code, Error, Result};

use super::beta::beta_quantile;
use super::sigmas::{Sigmas, TRAINED};
use super::{Tool, by_name};

/// More steps than this are refused: there are no more noise levels to visit.
pub const MAX_STEPS: usize = 1000;

/// Which noise levels a picture visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Equal steps of time from the most noise to the least (A1111's "Uniform" and "Normal").
    #[default]
    Normal,
    /// Equal steps of σ^(1/7): Karras et al. 2022, equation 5.
    Karras,
    /// Equal steps of log σ.
    Exponential,
    /// Equal steps of time, as `Normal`, but the least noise is not visited.
    SgmUniform,
    /// Noise levels of training at equal distances, from the most noise.
    Simple,
    /// Noise levels of training at equal distances, from the least noise; may be one step more than asked for.
    DdimUniform,
    /// Quantiles of the beta distribution with α = β = 0.6: Lee et al. 2024, arXiv 2407.12173.
    Beta,
    /// Equal steps of arctan σ: Sabour et al. 2024, arXiv 2404.14507, equation 7.
    KlOptimal,
    /// Equal steps of (log σ)^(1/ρ) with ρ = 1, A1111's: `Exponential` but for rounding.
    Polyexponential,
    /// NVIDIA's optimised levels: Sabour et al. 2024, arXiv 2404.14507.
    AlignYourSteps,
    /// Time steps of SD-Turbo's training: Sauer et al. 2023, arXiv 2311.17042.
    Turbo,
}

impl Schedule {
    /// Every schedule, in the order of a menu.
    pub const ALL: [Schedule; 11] = [
        Schedule::Normal,
        Schedule::Karras,
        Schedule::Exponential,
        Schedule::SgmUniform,
        Schedule::Simple,
        Schedule::DdimUniform,
        Schedule::Beta,
        Schedule::KlOptimal,
        Schedule::Polyexponential,
        Schedule::AlignYourSteps,
        Schedule::Turbo,
    ];

    /// The name, as ComfyUI spells it (its nodes' names in the case of the last three).
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// The name, as A1111 spells it.
    pub fn a1111_name(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Schedule::Normal => ("normal", "Normal"),
            Schedule::Karras => ("karras", "Karras"),
            Schedule::Exponential => ("exponential", "Exponential"),
            Schedule::SgmUniform => ("sgm_uniform", "SGM Uniform"),
            Schedule::Simple => ("simple", "Simple"),
            Schedule::DdimUniform => ("ddim_uniform", "DDIM"),
            Schedule::Beta => ("beta", "Beta"),
            Schedule::KlOptimal => ("kl_optimal", "KL Optimal"),
            Schedule::Polyexponential => ("polyexponential", "Polyexponential"),
            Schedule::AlignYourSteps => ("align_your_steps", "Align Your Steps"),
            Schedule::Turbo => ("turbo", "Turbo"),
        }
    }

    /// The schedule of this name, ComfyUI's or A1111's.
    ///
    /// # Errors
    /// [`Code::BadOption`] for an unknown name, with the known ones.
    pub fn from_name(name: &str) -> Result<Self> {
        if name.eq_ignore_ascii_case("Uniform") {
            return Ok(Schedule::Normal);
        }
        by_name("schedule", name, &Self::ALL, Self::names)
    }

    /// ComfyUI's [`levels`](Self::levels).
    ///
    /// # Errors
    /// [`Code::BadOption`] unless `steps` is from 1 to [`MAX_STEPS`].
    pub fn sigmas(self, sigmas: &Sigmas, steps: usize) -> Result<Vec<f32>> {
        self.levels(sigmas, steps, Tool::ComfyUi)
    }

    /// Falling noise levels that end in 0, mostly `steps + 1` of them.
    ///
    /// `DdimUniform` may visit one level more and `Beta` fewer, as there; A1111's `KlOptimal` does not end in 0.
    ///
    /// # Errors
    /// [`Code::BadOption`] unless `steps` is from 1 to [`MAX_STEPS`], or 10 for ComfyUI's `Turbo`.
    pub fn levels(self, sigmas: &Sigmas, steps: usize, tool: Tool) -> Result<Vec<f32>> {
        let most = if self == Schedule::Turbo && tool == Tool::ComfyUi { 10 } else { MAX_STEPS };
        if !(1..=most).contains(&steps) {
            let sentence = format!("The number of steps must be from 1 to {most}, not {steps}");
            return Err(Error::new(Code::BadOption, sentence));
        }
        let (min, max) = (sigmas.min(), sigmas.max());
        let comfy = tool == Tool::ComfyUi;
        let mut levels: Vec<f32> = match self {
            Schedule::Normal => times(steps, steps).map(|t| sigmas.at(t)).collect(),
            Schedule::SgmUniform => times(steps + 1, steps).map(|t| sigmas.at(t)).collect(),
            Schedule::Karras => {
                let root = |sigma: f32| libm::pow(f64::from(sigma), 1.0 / 7.0);
                let (high, way) = (root(max) as f32, (root(min) - root(max)) as f32);
                // torch's power is the exact one, rounded; `powf` is not.
                let power = |base: f32| libm::pow(f64::from(base), 7.0) as f32;
                ramp(0.0, 1.0, steps).map(|share| power(high + share * way)).collect()
            }
            Schedule::Exponential => ramp(log(max), log(min), steps).map(exp).collect(),
            Schedule::Polyexponential => {
                let (low, way) = (log(min) as f32, (log(max) - log(min)) as f32);
                ramp(1.0, 0.0, steps).map(|share| exp(share * way + low)).collect()
            }
            Schedule::Simple => (0..steps).map(|i| sigmas.table()[TRAINED - 1 - i * TRAINED / steps]).collect(),
            Schedule::DdimUniform => {
                let mut levels: Vec<f32> = sigmas.table()[1..].iter().step_by(TRAINED / steps).copied().collect();
                levels.reverse();
                levels
            }
            Schedule::Beta if comfy => beta(sigmas, steps),
            // A1111 takes the quantiles for noise levels, not for times.
            Schedule::Beta => (0..steps)
                .map(|i| {
                    let share = if steps > 1 { i as f64 / (steps - 1) as f64 } else { 0.0 };
                    let (min, max) = (f64::from(min), f64::from(max));
                    (min + beta_quantile(1.0 - share, 0.6) * (max - min)) as f32
                })
                .collect(),
            Schedule::KlOptimal => kl_optimal(sigmas, if comfy { steps - 1 } else { steps }),
            Schedule::AlignYourSteps if comfy => aligned(&ALIGNED_COMFY, steps + 1)[..steps].to_vec(),
            Schedule::AlignYourSteps => aligned(&ALIGNED_A1111, steps),
            Schedule::Turbo => {
                let each = if comfy { 100.0 } else { TRAINED as f32 / steps as f32 };
                let last = if comfy { 10 } else { steps };
                let time = |i: usize| (libm::rintf((last - i) as f32 * each - 1.0) as usize).min(TRAINED - 1);
                (0..steps).map(|i| sigmas.table()[time(i)]).collect()
            }
        };
        if self != Schedule::KlOptimal || comfy {
            levels.push(0.0);
        }
        Ok(levels)
    }
}

/// The first `count` of `points` equally spaced times from the last to the first, as `torch.linspace` has them.
fn times(points: usize, count: usize) -> impl Iterator<Item = f32> {
    ramp((TRAINED - 1) as f64, 0.0, points).take(count)
}

/// `torch.linspace` in f32, which counts from the nearer end and rounds once (a fused multiply and add).
fn ramp(first: f64, last: f64, points: usize) -> impl Iterator<Item = f32> {
    let (first, last) = (first as f32, last as f32);
    let step = if points > 1 { f64::from((last - first) / (points - 1) as f32) } else { 0.0 };
    let (first, last) = (f64::from(first), f64::from(last));
    (0..points).map(move |i| {
        let early = i < points / 2 || points == 1;
        (if early { first + step * i as f64 } else { last - step * (points - 1 - i) as f64 }) as f32
    })
}

/// The exact power of e, rounded: nearer to torch's than `expf`.
fn exp(exponent: f32) -> f32 {
    libm::exp(f64::from(exponent)) as f32
}

fn log(sigma: f32) -> f64 {
    libm::log(f64::from(sigma))
}

/// Time steps at the quantiles, none twice.
fn beta(sigmas: &Sigmas, steps: usize) -> Vec<f32> {
    let quantile = |i: usize| beta_quantile(1.0 - i as f64 / steps as f64, 0.6);
    let mut times: Vec<usize> = (0..steps).map(|i| libm::rint(quantile(i) * (TRAINED - 1) as f64) as usize).collect();
    times.dedup();
    times.into_iter().map(|t| sigmas.table()[t]).collect()
}

/// `last + 1` levels; the last is the least noise.
fn kl_optimal(sigmas: &Sigmas, last: usize) -> Vec<f32> {
    let (low, high) = (libm::atan(f64::from(sigmas.min())) as f32, libm::atan(f64::from(sigmas.max())) as f32);
    let share = |i: usize| if last > 0 { i as f32 / last as f32 } else { 0.0 };
    (0..=last).map(|i| libm::tanf(share(i) * low + (1.0 - share(i)) * high)).collect()
}

/// The authors' levels for ten steps of SD 1.5, as ComfyUI has them.
const ALIGNED_COMFY: [f64; 11] = [
    14.614_641_229_3,
    6.474_576_095_6,
    3.863_674_598_5,
    2.694_615_152_0,
    1.884_192_117_7,
    1.394_380_509_2,
    0.964_258_390_4,
    0.652_368_601_6,
    0.397_745_627_2,
    0.151_523_266_2,
    0.029_167_158_2,
];

/// The same rounded, as A1111 has them; it visits the last one too.
const ALIGNED_A1111: [f64; 11] = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];

/// `count` levels between those given, linear in log σ.
fn aligned(known: &[f64; 11], count: usize) -> Vec<f32> {
    let place = |i: usize| if count > 1 { (i * (known.len() - 1)) as f64 / (count - 1) as f64 } else { 0.0 };
    let level = |i: usize| {
        // numpy interpolates from the least noise; a single point is the least noise there.
        let place = if count == 1 { (known.len() - 1) as f64 } else { place(i) };
        let low = (place as usize).min(known.len() - 2);
        let share = place - low as f64;
        libm::exp((1.0 - share) * libm::log(known[low]) + share * libm::log(known[low + 1])) as f32
    };
    (0..count).map(level).collect()
}
