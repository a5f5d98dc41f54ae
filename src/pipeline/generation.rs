//! One picture in the making: noise, steps, decoding.

use crate::error::{Code, Error, Result};
use crate::gpu::Stats;
use crate::prompt::{Scenario, Warning};
use crate::samplers::{Sigmas, torch_randn};

use super::networks::{Canvas, Start, Step};
use super::{Conditioning, Image, Params, StableDiffusion};

/// Latent pixels are 8×8 pixels of the picture.
const FACTOR: usize = 8;

/// A picture in the making. Not calling [`step`](Self::step) pauses it, dropping it cancels it.
pub struct Generation {
    params: Params,
    sigmas: Vec<f32>,
    conditioning: Conditioning,
    canvas: Box<dyn Canvas>,
    done: usize,
    warnings: Vec<Warning>,
    used: Vec<String>,
}

/// How far a picture is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub steps: usize,
    /// Noise level of the next step.
    pub sigma: f32,
}

impl Generation {
    pub(super) async fn start(sd: &StableDiffusion, params: &Params, prompts: [Scenario; 2]) -> Result<Self> {
        params.check()?;
        sd.networks.check_size(params.width, params.height)?;
        let trained = Sigmas::sd15();
        let sigmas = params.schedule.sigmas(&trained, params.steps)?;
        let [negative, prompt] = prompts;
        let warnings = joint_warnings(&prompt, &negative);
        let mut used = prompt.used.clone();
        used.extend(negative.used.iter().filter(|name| !prompt.used.contains(name)).cloned());
        // As ComfyUI, guidance of strength 1 leaves the negative prompt out altogether.
        let alone = prompt.parts.len() == 1 && prompt.parts[0].weight == 1.0;
        let guided = params.cfg != 1.0 || !alone;
        let mut conditioning = Conditioning::new(if guided { vec![negative, prompt] } else { vec![prompt] })?;
        let (h, w) = (params.height / FACTOR, params.width / FACTOR);
        let scale = trained.initial_scale(sigmas[0]);
        let start = Start {
            windows: conditioning.windows(&*sd.networks, params.syntax)?,
            clip_skip: params.clip_skip,
            prompts: conditioning.turn_to(1).unwrap_or_default(),
            longest: conditioning.longest(),
            timesteps: sigmas[..params.steps].iter().map(|&sigma| trained.timestep(sigma) as f32).collect(),
            latents: torch_randn(params.seed, 4 * h * w).iter().map(|x| x * scale).collect(),
            size: [h, w],
        };
        let canvas = sd.networks.begin(&start).await?;
        Ok(Self { params: params.clone(), sigmas, conditioning, canvas, done: 0, warnings, used })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What the prompts say that could not be done.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Names of the embeddings that the prompts call.
    pub fn used_embeddings(&self) -> Vec<String> {
        self.used.clone()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { done: self.done, steps: self.params.steps, sigma: self.sigmas[self.done] }
    }

    /// What a step does and takes on the GPU; `None` once all are done.
    pub fn step_stats(&self) -> Option<Stats> {
        self.canvas.stats()
    }

    /// The prompts.
    pub fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// What the UNet sees of the prompts now, (B, S, C): the negative prompt first if there is guidance, then the parts of
    /// the prompt. Shorter ones are followed by zeros, see [`Conditioning::tokens`].
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn context(&self) -> Result<Vec<f32>> {
        self.canvas.context().await
    }

    /// Does one denoising step and waits for it; false once all are done.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn step(&mut self) -> Result<bool> {
        if self.done == self.params.steps {
            return Ok(false);
        }
        if let Some(prompts) = self.conditioning.turn_to(self.done + 1) {
            self.canvas.show(&prompts);
        }
        let step = Step {
            index: self.done,
            sigma: self.sigmas[self.done],
            update: self.params.sampler.update(&self.sigmas, self.done),
            weights: self.conditioning.weights.iter().map(|weight| weight * self.params.cfg).collect(),
        };
        self.canvas.step(&step).await?;
        self.done += 1;
        Ok(self.done < self.params.steps)
    }

    /// The latents as they are, (4, h, w), as ComfyUI and diffusers order them.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn latents(&self) -> Result<Vec<f32>> {
        self.canvas.latents().await
    }

    /// Decodes the latents as they are.
    ///
    /// # Errors
    /// [`Code::NumericNan`] where the network left the range of its numbers, and whatever the GPU reports.
    pub async fn image(&self, sd: &StableDiffusion) -> Result<Image> {
        let latents = self.latents().await?;
        if latents.iter().any(|x| !x.is_finite()) {
            let sentence = "the network produced NaN instead of a picture: a checkpoint or embedding with broken numbers, or a cfg or weight far too large";
            return Err(Error::new(Code::NumericNan, sentence));
        }
        let (width, height) = (self.params.width, self.params.height);
        let rgba = sd.networks.decode(&latents, [height / FACTOR, width / FACTOR]).await?;
        Ok(Image { width, height, rgba })
    }
}

/// The warnings of both prompts, none twice.
fn joint_warnings(prompt: &Scenario, negative: &Scenario) -> Vec<Warning> {
    let mut warnings = prompt.warnings.clone();
    for warning in &negative.warnings {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}
