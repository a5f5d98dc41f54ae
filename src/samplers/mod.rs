//! Schedules, samplers and noise as plain numbers: no tensors, no GPU.
//!
//! A schedule is a falling list of noise levels σ ([`Levels`] by the conventions of ComfyUI or A1111). At each step the
//! network makes `denoised`, its idea of the picture without noise, from the latents x, and the sampler says how the two,
//! earlier outputs and fresh noise ([`Seeds`]) give the next x. What it says is a [`Program`] of three instructions.
//!
//! Latents are x = picture + σ · noise throughout, as in k-diffusion and ComfyUI; the network is given x / √(1 + σ²).

mod beta;
mod brownian;
mod ddim;
mod deis;
mod dpm_2;
mod dpm_2_ancestral;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s_ancestral;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod euler;
mod euler_ancestral;
mod heun;
mod ipndm;
mod lcm;
mod levels;
mod lms;
mod names;
mod noise;
mod philox;
mod plms;
mod program;
mod schedule;
mod seeds;
mod sigmas;
mod uni_pc;
mod unified;
mod vp_time;
mod writer;

pub use brownian::BrownianTree;
pub use levels::{Levels, Request};
pub use names::{Randomness, Sampler};
pub use noise::{TorchRng, torch_randn};
pub use philox::PhiloxRng;
pub use program::{Draw, Form, MAX_REGISTERS, Op, Program, Reg, Step};
pub use schedule::{MAX_STEPS, Schedule};
pub use seeds::{Generator, Seeds, StepNoise, Variation};
pub use sigmas::Sigmas;

use crate::error::{Code, Error, Result};

use writer::Writer;

/// Whose conventions to follow where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tool {
    /// ComfyUI.
    #[default]
    ComfyUi,
    /// A1111 and Forge.
    A1111,
}

/// What a network was trained to say of noisy latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prediction {
    /// The noise (Ho et al. 2020): SD 1.5 and nearly all that comes of it.
    #[default]
    Epsilon,
    /// v = noise/√(1 + σ²) − picture · σ/√(1 + σ²) (Salimans and Ho 2022, arXiv 2202.00512).
    V,
}

/// A sampler's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How much of the noise of each step is fresh; `None` is the sampler's own: 1, for DDIM 0.
    pub eta: Option<f64>,
    /// Factor of the fresh noise.
    pub s_noise: f64,
    /// "Sigma churn" of Euler, Heun and DPM2: noise added before each step, spread over the steps.
    pub churn: f64,
    /// The least noise level that is churned.
    pub churn_min: f64,
    /// The greatest.
    pub churn_max: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { eta: None, s_noise: 1.0, churn: 0.0, churn_min: 0.0, churn_max: f64::INFINITY }
    }
}

impl Options {
    /// η, with the sampler's own as the default.
    fn eta(&self, default: f64) -> f64 {
        self.eta.unwrap_or(default)
    }

    /// # Errors
    /// [`Code::BadOption`] for numbers with which a sampler would make no picture.
    pub fn check(&self) -> Result<()> {
        let within = |value: f64, most: f64| (0.0..=most).contains(&value);
        if !within(self.eta.unwrap_or(0.0), 1.0) {
            return Err(Error::new(Code::BadOption, "eta must be from 0 to 1"));
        }
        if !within(self.s_noise, 10.0) || !within(self.churn, 1000.0) || self.churn_min.is_nan() {
            return Err(Error::new(Code::BadOption, "The factor of noise must be from 0 to 10, churn from 0 to 1000"));
        }
        Ok(())
    }
}

impl Sampler {
    /// What this sampler does with a schedule: falling noise levels, of which only the last may be 0.
    pub fn program(self, sigmas: &[f32], options: &Options) -> Program {
        assert!(sigmas.len() > 1, "a schedule of {} noise levels", sigmas.len());
        assert!(
            sigmas.windows(2).all(|pair| pair[0] > pair[1] && pair[1] >= 0.0),
            "no falling noise levels: {sigmas:?}"
        );
        let mut p = Writer::new(sigmas, options);
        match self {
            Sampler::Euler => euler::write(&mut p),
            Sampler::EulerAncestral => euler_ancestral::write(&mut p),
            Sampler::Heun => heun::write(&mut p),
            Sampler::Dpm2 => dpm_2::write(&mut p),
            Sampler::Dpm2Ancestral => dpm_2_ancestral::write(&mut p),
            Sampler::Lms => lms::write(&mut p),
            Sampler::Dpmpp2sAncestral => dpmpp_2s_ancestral::write(&mut p),
            Sampler::DpmppSde | Sampler::DpmppSdeGpu => dpmpp_sde::write(&mut p),
            Sampler::Dpmpp2m => dpmpp_2m::write(&mut p),
            Sampler::Dpmpp2mSde | Sampler::Dpmpp2mSdeGpu => dpmpp_2m_sde::write(&mut p, false),
            Sampler::Dpmpp2mSdeHeun | Sampler::Dpmpp2mSdeHeunGpu => dpmpp_2m_sde::write(&mut p, true),
            Sampler::Dpmpp3mSde | Sampler::Dpmpp3mSdeGpu => dpmpp_3m_sde::write(&mut p),
            Sampler::Ddim => ddim::write(&mut p),
            Sampler::Plms => plms::write(&mut p),
            Sampler::UniPc => uni_pc::write(&mut p, false),
            Sampler::UniPcBh2 => uni_pc::write(&mut p, true),
            Sampler::Deis => deis::write(&mut p),
            Sampler::Ipndm => ipndm::write(&mut p),
            Sampler::Lcm => lcm::write(&mut p),
        }
        p.finish()
    }
}

/// Finds an option by either of its two names, as people capitalise them.
fn by_name<T: Copy>(what: &str, name: &str, all: &[T], names: fn(T) -> (&'static str, &'static str)) -> Result<T> {
    let is_it = |option: &T| names(*option).0 == name || names(*option).1.eq_ignore_ascii_case(name);
    all.iter().copied().find(is_it).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|option| names(*option).0).collect();
        let shown: String = name.chars().take(60).collect();
        Error::new(
            Code::BadOption,
            format!("There is no {what} \u{201c}{shown}\u{201d}; known are: {}", known.join(", ")),
        )
    })
}
