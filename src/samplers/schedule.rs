//! Noise levels: those SD 1.x was trained with, and the ones a picture is made with.

use std::fmt;

use crate::error::{Code, Error, Result};

use super::by_name;

/// Time steps of SD 1.x's training.
const TRAINED: usize = 1000;

/// More steps than this are refused: there are no more noise levels to visit.
pub const MAX_STEPS: usize = 1000;

/// The 1000 noise levels SD 1.x was trained with, rising with the time step.
#[derive(Clone)]
pub struct Sigmas {
    table: Vec<f32>,
    logs: Vec<f32>,
}

impl Sigmas {
    /// SD 1.5's: β from √0.00085 to √0.012, linear in the root; ᾱ is the product of 1 − β; σ = √((1 − ᾱ)/ᾱ)
    /// (Rombach et al. 2022; σ as in Karras et al. 2022). In f64, then rounded, as ComfyUI does.
    pub fn sd15() -> Self {
        let (first, last) = (libm::sqrt(0.00085), libm::sqrt(0.012));
        let mut product = 1.0;
        let table: Vec<f32> = (0..TRAINED)
            .map(|t| {
                let root = first + (last - first) * t as f64 / (TRAINED - 1) as f64;
                product *= 1.0 - root * root;
                libm::sqrt((1.0 - product) / product) as f32
            })
            .collect();
        let logs = table.iter().map(|sigma| libm::logf(*sigma)).collect();
        Self { table, logs }
    }

    /// σ by time step.
    pub fn table(&self) -> &[f32] {
        &self.table
    }

    /// The least noise, at time step 0.
    pub fn min(&self) -> f32 {
        self.table[0]
    }

    /// The most noise, at time step 999.
    pub fn max(&self) -> f32 {
        self.table[TRAINED - 1]
    }

    /// The time step the network is told for a noise level: the nearest in log σ, the lower of two equally near, as in
    /// ComfyUI.
    pub fn timestep(&self, sigma: f32) -> usize {
        let log = libm::logf(sigma);
        let distance = |t: usize| (log - self.logs[t]).abs();
        (1..TRAINED).fold(0, |best, t| if distance(t) < distance(best) { t } else { best })
    }

    /// The noise level between time steps, linear in log σ.
    fn at(&self, time: f32) -> f32 {
        let time = time.clamp(0.0, (TRAINED - 1) as f32);
        let (low, share) = (time as usize, time.fract());
        let high = (low + 1).min(TRAINED - 1);
        libm::expf((1.0 - share) * self.logs[low] + share * self.logs[high])
    }

    /// What unit noise is multiplied with to be the first latents: √(1 + σ²) where sampling starts at full noise, as if a
    /// picture of unit variance were under it, else σ. ComfyUI's rule, full noise within 1e-5.
    pub fn initial_scale(&self, first_sigma: f32) -> f32 {
        let (first, most) = (f64::from(first_sigma), f64::from(self.max()));
        let close = (first - most).abs() <= 1e-5 * first.abs().max(most.abs());
        if close || first > most { libm::sqrt(1.0 + first * first) as f32 } else { first_sigma }
    }
}

impl fmt::Debug for Sigmas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sigmas({}..{})", self.min(), self.max())
    }
}

/// Which noise levels a picture visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Equal steps of time from the most noise to the least.
    #[default]
    Normal,
}

impl Schedule {
    /// Every schedule, in the order of a menu.
    pub const ALL: [Schedule; 1] = [Schedule::Normal];

    /// The name, as ComfyUI spells it.
    pub fn name(self) -> &'static str {
        match self {
            Schedule::Normal => "normal",
        }
    }

    /// The schedule of this name.
    ///
    /// # Errors
    /// [`Code::BadOption`] for an unknown name, with the known ones.
    pub fn from_name(name: &str) -> Result<Self> {
        by_name("schedule", name, &Self::ALL, Self::name)
    }

    /// `steps + 1` falling noise levels; the last is 0.
    ///
    /// # Errors
    /// [`Code::BadOption`] unless `steps` is from 1 to [`MAX_STEPS`].
    pub fn sigmas(self, sigmas: &Sigmas, steps: usize) -> Result<Vec<f32>> {
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(Error::new(
                Code::BadOption,
                format!("The number of steps must be from 1 to {MAX_STEPS}, not {steps}"),
            ));
        }
        let mut levels = match self {
            Schedule::Normal => normal(sigmas, steps),
        };
        levels.push(0.0);
        Ok(levels)
    }
}

/// ComfyUI's `normal`, k-diffusion's `get_sigmas`: σ at `steps` equally spaced times from 999 to 0, both included.
fn normal(sigmas: &Sigmas, steps: usize) -> Vec<f32> {
    let last = (TRAINED - 1) as f32;
    let step = if steps > 1 { -last / (steps - 1) as f32 } else { 0.0 };
    // torch.linspace counts from the nearer end, so that both ends are exact.
    let time =
        |i: usize| if i < steps / 2 || steps == 1 { last + step * i as f32 } else { -step * (steps - 1 - i) as f32 };
    (0..steps).map(|i| sigmas.at(time(i))).collect()
}
