//! Schedules, samplers and noise as plain numbers: no tensors, no GPU.
//!
//! A schedule is a falling list of noise levels σ. At each step the network makes `denoised`, its idea of the picture
//! without noise, from the latents x, and the sampler says with which coefficients the two give the next x.

mod euler;
mod noise;
mod schedule;

use crate::error::{Code, Error, Result};

pub use noise::{TorchRng, torch_randn};
pub use schedule::{MAX_STEPS, Schedule, Sigmas};

/// A sampler's answer for one step: `x ← keep·x + toward·denoised`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// How much of the latents stays.
    pub keep: f32,
    /// How much of the denoised latents comes in.
    pub toward: f32,
}

/// How the latents move from one noise level to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampler {
    /// Euler's method on the probability-flow equation.
    #[default]
    Euler,
}

impl Sampler {
    /// Every sampler, in the order of a menu.
    pub const ALL: [Sampler; 1] = [Sampler::Euler];

    /// The name, as ComfyUI spells it.
    pub fn name(self) -> &'static str {
        match self {
            Sampler::Euler => "euler",
        }
    }

    /// The sampler of this name.
    ///
    /// # Errors
    /// [`Code::BadOption`] for an unknown name, with the known ones.
    pub fn from_name(name: &str) -> Result<Self> {
        by_name("sampler", name, &Self::ALL, Self::name)
    }

    /// The coefficients of step `step` of a schedule, which has `sigmas.len() - 1` steps.
    pub fn update(self, sigmas: &[f32], step: usize) -> Update {
        assert!(step + 1 < sigmas.len(), "step {step} of a schedule with {} noise levels", sigmas.len());
        match self {
            Sampler::Euler => euler::update(sigmas[step], sigmas[step + 1]),
        }
    }
}

/// Finds an option by its name.
fn by_name<T: Copy>(what: &str, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<T> {
    all.iter().copied().find(|option| name_of(*option) == name).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|option| name_of(*option)).collect();
        let shown: String = name.chars().take(60).collect();
        Error::new(
            Code::BadOption,
            format!("There is no {what} \u{201c}{shown}\u{201d}; known are: {}", known.join(", ")),
        )
    })
}
