//! The noise levels of a run, by the conventions of the two tools.

use crate::error::{Code, Error, Result};

use super::{MAX_STEPS, Sampler, Schedule, Sigmas, Tool};

/// What a run was asked to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Whose conventions.
    pub tool: Tool,
    /// The sampler.
    pub sampler: Sampler,
    /// The schedule; `None` is the tool's choice ("Automatic").
    pub schedule: Option<Schedule>,
    /// Steps as the tool's user counts them.
    pub steps: usize,
    /// How much of the way down is run, over 0 to 1: below 1 it starts from less noise, over a picture.
    pub denoise: f64,
    /// Whether a picture is under the noise. A1111 runs fewer steps then, even at a denoise of 1.
    pub picture: bool,
    /// A1111's "do exactly the amount of steps the slider specifies", which its hires second pass with steps of its own
    /// implies. ComfyUI always does.
    pub exact_steps: bool,
}

/// The noise levels of a run and how latents enter and leave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// Falling noise levels; the last is mostly 0.
    pub sigmas: Vec<f32>,
    /// Factor of the picture's latents in the first x.
    pub picture_scale: f32,
    /// Factor of unit noise in the first x.
    pub noise_scale: f32,
    /// Factor of the last x on its way to the decoder. 1 but for A1111's DDIM, PLMS and UniPC.
    pub final_scale: f32,
    /// The range of noise levels of the Brownian motion.
    pub brownian: (f32, f32),
}

impl Levels {
    /// The levels of a run.
    ///
    /// # Errors
    /// [`Code::BadOption`] for a number of steps or a denoise that the tool, sampler or schedule cannot run.
    pub fn new(request: &Request, trained: &Sigmas) -> Result<Self> {
        if !(request.denoise > 0.0 && request.denoise <= 1.0) {
            return Err(bad(format!("The denoise must be more than 0 and at most 1, not {}", request.denoise)));
        }
        let levels = match request.tool {
            Tool::ComfyUi => comfy(request, trained)?,
            Tool::A1111 if request.sampler.has_own_times(Tool::A1111) => own_times(request, trained)?,
            Tool::A1111 => a1111(request, trained)?,
        };
        if levels.sigmas.len() < 2 {
            let name = request.sampler.a1111_name();
            return Err(bad(format!("{name} does nothing with {} steps here: give it more", request.steps)));
        }
        Ok(levels)
    }
}

fn bad(sentence: String) -> Error {
    Error::new(Code::BadOption, sentence)
}

/// The levels of a whole schedule, without the last but one where the tool leaves it out.
fn whole(request: &Request, trained: &Sigmas, steps: usize) -> Result<Vec<f32>> {
    if request.tool == Tool::A1111 && request.sampler == Sampler::Lcm && request.schedule.is_none() {
        return lcm(trained, steps);
    }
    let schedule = request.schedule.unwrap_or(request.sampler.automatic(request.tool));
    let discard = request.sampler.discards_penultimate(request.tool);
    let mut levels = schedule.levels(trained, steps + usize::from(discard), request.tool)?;
    if discard {
        levels.remove(levels.len() - 2);
    }
    Ok(levels)
}

/// LCM under A1111's "Automatic": equal steps of time from 999 to 19, between every twentieth level, those that latent
/// consistency is trained at.
fn lcm(trained: &Sigmas, steps: usize) -> Result<Vec<f32>> {
    if !(1..=MAX_STEPS).contains(&steps) {
        return Err(bad(format!("The number of steps must be from 1 to {MAX_STEPS}, not {steps}")));
    }
    let level = |i: usize| {
        let place = 49.0 * (1.0 - i as f32 / (steps - 1).max(1) as f32);
        let (low, share) = (place as usize, place.fract());
        let log = |k: usize| libm::logf(trained.table()[19 + 20 * k.min(49)]);
        libm::expf((1.0 - share) * log(low) + share * log(low + 1))
    };
    Ok((0..steps).map(level).chain([0.0]).collect())
}

fn least_and_most(levels: &[f32]) -> (f32, f32) {
    let least = levels.iter().rev().find(|sigma| **sigma > 0.0);
    (least.copied().unwrap_or(0.0), levels[0])
}

/// KSampler's: a denoise below 1 is the end of a longer schedule.
fn comfy(request: &Request, trained: &Sigmas) -> Result<Levels> {
    let mut sigmas = if request.denoise > 0.9999 {
        whole(request, trained, request.steps)?
    } else {
        whole(request, trained, (request.steps as f64 / request.denoise) as usize)?
    };
    if request.denoise <= 0.9999 {
        sigmas.drain(..sigmas.len().saturating_sub(request.steps + 1));
    }
    let noise_scale = trained.initial_scale(sigmas[0]);
    Ok(Levels { brownian: least_and_most(&sigmas), sigmas, picture_scale: 1.0, noise_scale, final_scale: 1.0 })
}

/// Steps of the schedule and how many of them image to image runs, less one: A1111's `setup_img2img_steps`.
fn a1111_steps(request: &Request) -> (usize, usize) {
    let denoise = request.denoise.min(0.999);
    if request.exact_steps {
        ((request.steps as f64 / denoise) as usize, request.steps.saturating_sub(1))
    } else {
        (request.steps, (denoise * request.steps as f64) as usize)
    }
}

/// k-diffusion's samplers in A1111.
fn a1111(request: &Request, trained: &Sigmas) -> Result<Levels> {
    let (steps, run) = if request.picture { a1111_steps(request) } else { (request.steps, request.steps) };
    let mut sigmas = whole(request, trained, steps)?;
    // Its Brownian motion covers the whole schedule.
    let brownian = least_and_most(&sigmas);
    if request.picture {
        sigmas.drain(..(steps - run).saturating_sub(1).min(sigmas.len() - 1));
    }
    Ok(Levels { noise_scale: sigmas[0], sigmas, picture_scale: 1.0, final_scale: 1.0, brownian })
}

/// DDIM, PLMS and UniPC in A1111, which run at time steps 1, 1 + ⌊1000/steps⌋, … on latents of unit variance: x/√(1 + σ²).
fn own_times(request: &Request, trained: &Sigmas) -> Result<Levels> {
    let (steps, run) = if request.picture { a1111_steps(request) } else { (request.steps, 0) };
    let mut rising = Schedule::DdimUniform.levels(trained, steps, Tool::A1111)?;
    // The level 0 is never visited.
    rising.pop();
    rising.reverse();
    let entry = rising.get(run).copied();
    if request.picture {
        rising.truncate(run);
    }
    let predicts = matches!(request.sampler, Sampler::UniPc | Sampler::UniPcBh2);
    let sigmas =
        if predicts { equal_times(&rising, trained, request.picture) } else { rising.into_iter().rev().collect() };
    let &[first, .., last] = &sigmas[..] else {
        return Ok(Levels { sigmas, picture_scale: 1.0, noise_scale: 1.0, final_scale: 1.0, brownian: (0.0, 0.0) });
    };
    let unit = |sigma: f32| libm::sqrtf(1.0 + sigma * sigma);
    // The picture is noised for one time step more than it is denoised from.
    let (picture_scale, noise_scale) = match entry.filter(|_| request.picture) {
        Some(entry) => (unit(first) / unit(entry), entry * unit(first) / unit(entry)),
        None => (1.0, unit(first)),
    };
    let final_scale = 1.0 / unit(last);
    Ok(Levels { brownian: least_and_most(&sigmas), sigmas, picture_scale, noise_scale, final_scale })
}

/// UniPC's own levels: equal steps of time, from the end or from the picture's time step, down to the first time step;
/// between time steps ln ᾱ is linear.
fn equal_times(rising: &[f32], trained: &Sigmas, picture: bool) -> Vec<f32> {
    let steps = rising.len();
    let start = match rising.last() {
        Some(last) if picture => trained.timestep(*last) as f64,
        _ => (trained.table().len() - 1) as f64,
    };
    let log_alpha = |t: usize| -libm::log(1.0 + f64::from(trained.table()[t]).powi(2));
    let level = |i: usize| {
        let time = start * (steps - i) as f64 / steps as f64;
        let (low, share) = (time as usize, time.fract());
        let high = (low + 1).min(trained.table().len() - 1);
        let log = (1.0 - share) * log_alpha(low) + share * log_alpha(high);
        libm::sqrt(libm::expm1(-log)) as f32
    };
    (0..=steps).map(level).collect()
}
