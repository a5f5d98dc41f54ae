//! The samplers, what ComfyUI and A1111 call them, and what each tool does with them unless told otherwise.

use crate::error::Result;

use super::{Schedule, Tool, by_name};

/// How the latents move from one noise level to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampler {
    /// Euler's method.
    #[default]
    Euler,
    /// Euler's method with fresh noise at each step.
    EulerAncestral,
    /// Heun's method: two evaluations a step.
    Heun,
    /// DPM-Solver-2: two evaluations a step.
    Dpm2,
    /// DPM-Solver-2 with fresh noise.
    Dpm2Ancestral,
    /// Linear multistep of order 4.
    Lms,
    /// DPM-Solver++(2S) with fresh noise: two evaluations a step.
    Dpmpp2sAncestral,
    /// DPM-Solver++ as a stochastic equation: two evaluations a step.
    DpmppSde,
    /// The same with noise made on the GPU (ComfyUI).
    DpmppSdeGpu,
    /// DPM-Solver++(2M).
    Dpmpp2m,
    /// DPM-Solver++(2M) as a stochastic equation.
    Dpmpp2mSde,
    /// The same with noise made on the GPU (ComfyUI).
    Dpmpp2mSdeGpu,
    /// DPM-Solver++(2M) SDE, its second order by Heun's rule.
    Dpmpp2mSdeHeun,
    /// The same with noise made on the GPU (ComfyUI).
    Dpmpp2mSdeHeunGpu,
    /// DPM-Solver++(3M) as a stochastic equation.
    Dpmpp3mSde,
    /// The same with noise made on the GPU (ComfyUI).
    Dpmpp3mSdeGpu,
    /// DDIM.
    Ddim,
    /// PLMS, which diffusers calls PNDM; ComfyUI has none.
    Plms,
    /// UniPC with B₁(h).
    UniPc,
    /// UniPC with B₂(h).
    UniPcBh2,
    /// DEIS; A1111 has none.
    Deis,
    /// Improved PNDM; A1111 has none.
    Ipndm,
    /// Latent consistency.
    Lcm,
}

/// The noise a sampler adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Randomness {
    /// None, unless it is churned or η is set.
    Deterministic,
    /// Anew at each step.
    Ancestral,
    /// Increments of one Brownian motion.
    Brownian {
        /// Whether ComfyUI makes it where the network runs instead of on the CPU.
        on_gpu: bool,
    },
}

impl Sampler {
    /// Every sampler, in the order of a menu.
    pub const ALL: [Sampler; 23] = [
        Sampler::Euler,
        Sampler::EulerAncestral,
        Sampler::Heun,
        Sampler::Dpm2,
        Sampler::Dpm2Ancestral,
        Sampler::Lms,
        Sampler::Dpmpp2sAncestral,
        Sampler::DpmppSde,
        Sampler::DpmppSdeGpu,
        Sampler::Dpmpp2m,
        Sampler::Dpmpp2mSde,
        Sampler::Dpmpp2mSdeGpu,
        Sampler::Dpmpp2mSdeHeun,
        Sampler::Dpmpp2mSdeHeunGpu,
        Sampler::Dpmpp3mSde,
        Sampler::Dpmpp3mSdeGpu,
        Sampler::Ddim,
        Sampler::Plms,
        Sampler::UniPc,
        Sampler::UniPcBh2,
        Sampler::Deis,
        Sampler::Ipndm,
        Sampler::Lcm,
    ];

    /// The name, as ComfyUI spells it, or would.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// The name, as A1111 spells it, or would.
    pub fn a1111_name(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Sampler::Euler => ("euler", "Euler"),
            Sampler::EulerAncestral => ("euler_ancestral", "Euler a"),
            Sampler::Heun => ("heun", "Heun"),
            Sampler::Dpm2 => ("dpm_2", "DPM2"),
            Sampler::Dpm2Ancestral => ("dpm_2_ancestral", "DPM2 a"),
            Sampler::Lms => ("lms", "LMS"),
            Sampler::Dpmpp2sAncestral => ("dpmpp_2s_ancestral", "DPM++ 2S a"),
            Sampler::DpmppSde => ("dpmpp_sde", "DPM++ SDE"),
            Sampler::DpmppSdeGpu => ("dpmpp_sde_gpu", "DPM++ SDE"),
            Sampler::Dpmpp2m => ("dpmpp_2m", "DPM++ 2M"),
            Sampler::Dpmpp2mSde => ("dpmpp_2m_sde", "DPM++ 2M SDE"),
            Sampler::Dpmpp2mSdeGpu => ("dpmpp_2m_sde_gpu", "DPM++ 2M SDE"),
            Sampler::Dpmpp2mSdeHeun => ("dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun"),
            Sampler::Dpmpp2mSdeHeunGpu => ("dpmpp_2m_sde_heun_gpu", "DPM++ 2M SDE Heun"),
            Sampler::Dpmpp3mSde => ("dpmpp_3m_sde", "DPM++ 3M SDE"),
            Sampler::Dpmpp3mSdeGpu => ("dpmpp_3m_sde_gpu", "DPM++ 3M SDE"),
            Sampler::Ddim => ("ddim", "DDIM"),
            Sampler::Plms => ("plms", "PLMS"),
            Sampler::UniPc => ("uni_pc", "UniPC"),
            Sampler::UniPcBh2 => ("uni_pc_bh2", "UniPC"),
            Sampler::Deis => ("deis", "DEIS"),
            Sampler::Ipndm => ("ipndm", "iPNDM"),
            Sampler::Lcm => ("lcm", "LCM"),
        }
    }

    /// The sampler of this name, ComfyUI's or A1111's (the first of several). "pndm" is diffusers' word for PLMS.
    ///
    /// # Errors
    /// [`Code::BadOption`](crate::error::Code::BadOption) for an unknown name, with the known ones.
    pub fn from_name(name: &str) -> Result<Self> {
        if name.eq_ignore_ascii_case("pndm") {
            return Ok(Sampler::Plms);
        }
        by_name("sampler", name, &Self::ALL, Self::names)
    }

    /// A1111's names of before version 1.9, which end in the schedule: "DPM++ 2M Karras".
    ///
    /// # Errors
    /// [`Code::BadOption`](crate::error::Code::BadOption) where neither the name nor its front is a sampler.
    pub fn from_a1111(name: &str) -> Result<(Self, Option<Schedule>)> {
        let sampler = Self::from_name(name);
        let Err(error) = sampler else { return sampler.map(|sampler| (sampler, None)) };
        let cut = |schedule: &Schedule| {
            let (front, back) = name.split_at_checked(name.len().checked_sub(schedule.a1111_name().len())?)?;
            let is_it = back.eq_ignore_ascii_case(schedule.a1111_name()) && front.ends_with(' ');
            is_it.then(|| Self::from_name(front.trim_end()).ok())?.map(|sampler| (sampler, Some(*schedule)))
        };
        // The longest first: "Karras" is no part of another, but "Exponential" is of "Polyexponential".
        Schedule::ALL.iter().rev().find_map(cut).ok_or(error)
    }

    /// The schedule that a tool takes when it is told none: A1111's "Automatic", ComfyUI's first menu entry.
    pub fn automatic(self, tool: Tool) -> Schedule {
        use Sampler::*;
        match (tool, self) {
            (Tool::ComfyUi, _) => Schedule::Normal,
            (_, Dpm2 | Dpm2Ancestral | Dpmpp2sAncestral | DpmppSde | DpmppSdeGpu | Dpmpp2m) => Schedule::Karras,
            (_, Dpmpp2mSde | Dpmpp2mSdeGpu | Dpmpp2mSdeHeun | Dpmpp2mSdeHeunGpu | Dpmpp3mSde | Dpmpp3mSdeGpu) => {
                Schedule::Exponential
            }
            _ => Schedule::Normal,
        }
    }

    /// Whether a tool asks the schedule for one step more and leaves the last but one level out.
    pub(super) fn discards_penultimate(self, tool: Tool) -> bool {
        use Sampler::*;
        match self {
            Dpm2 | Dpm2Ancestral => true,
            UniPc | UniPcBh2 => tool == Tool::ComfyUi,
            Dpmpp3mSde | Dpmpp3mSdeGpu => tool == Tool::A1111,
            _ => false,
        }
    }

    /// Whether A1111 runs it on latents of unit variance, at time steps of its own instead of a schedule's.
    pub(super) fn has_own_times(self, tool: Tool) -> bool {
        tool == Tool::A1111 && matches!(self, Sampler::Ddim | Sampler::Plms | Sampler::UniPc | Sampler::UniPcBh2)
    }

    /// The noise it adds.
    pub fn randomness(self) -> Randomness {
        use Sampler::*;
        match self {
            EulerAncestral | Dpm2Ancestral | Dpmpp2sAncestral | Lcm => Randomness::Ancestral,
            DpmppSde | Dpmpp2mSde | Dpmpp2mSdeHeun | Dpmpp3mSde => Randomness::Brownian { on_gpu: false },
            DpmppSdeGpu | Dpmpp2mSdeGpu | Dpmpp2mSdeHeunGpu | Dpmpp3mSdeGpu => Randomness::Brownian { on_gpu: true },
            _ => Randomness::Deterministic,
        }
    }

    /// Evaluations of the network in a step that is neither the first nor the last.
    pub fn evaluations_per_step(self) -> usize {
        use Sampler::*;
        if matches!(self, Heun | Dpm2 | Dpm2Ancestral | Dpmpp2sAncestral | DpmppSde | DpmppSdeGpu) { 2 } else { 1 }
    }
}
