//! One picture in the making: noise, steps, decoding.

use crate::error::{Code, Error, Result};
use crate::gpu::{Gpu, Plan, Stats, Storage, Tensor};
use crate::kernels::{image, sampler_step, scale_latents};
use crate::models::unet::Prepared;
use crate::prompt::{Scenario, Warning};
use crate::samplers::{Sigmas, torch_randn};

use super::{Conditioning, Image, Params, StableDiffusion};

/// Latent pixels are 8×8 pixels of the picture.
const FACTOR: usize = 8;

/// A picture in the making. Not calling [`step`](Self::step) pauses it, dropping it cancels it.
pub struct Generation {
    gpu: Gpu,
    params: Params,
    sigmas: Vec<f32>,
    latents: Tensor, // (1, h, w, 4), f32
    step: Tensor,    // (8 + B), f32: what changes from step to step
    plan: Option<Plan>,
    conditioning: Conditioning,
    prepared: Prepared,
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
    pub(super) async fn start(sd: &StableDiffusion, params: &Params) -> Result<Self> {
        params.check()?;
        let (needed, most) =
            (sd.vae.largest(params.width, params.height, sd.gpu.storage().size()), sd.gpu.largest_tensor());
        if needed > most {
            let sentence = format!(
                "a picture of {}×{} needs tensors of {} MiB, and this GPU binds at most {} MiB at once: choose a smaller size",
                params.width,
                params.height,
                needed >> 20,
                most >> 20
            );
            return Err(Error::new(Code::BadOption, sentence));
        }
        let trained = Sigmas::sd15();
        let sigmas = params.schedule.sigmas(&trained, params.steps)?;
        let [negative, prompt] = sd.read_prompts(params);
        let warnings = joint_warnings(&prompt, &negative);
        let mut used = prompt.used.clone();
        used.extend(negative.used.iter().filter(|name| !prompt.used.contains(name)).cloned());
        // As ComfyUI, guidance of strength 1 leaves the negative prompt out altogether.
        let alone = prompt.parts.len() == 1 && prompt.parts[0].weight == 1.0;
        let guided = params.cfg != 1.0 || !alone;
        let scenarios = if guided { vec![negative, prompt] } else { vec![prompt] };
        let conditioning = Conditioning::encode(sd, scenarios, params.syntax, params.clip_skip)?;
        let timesteps: Vec<f32> = sigmas[..params.steps].iter().map(|&sigma| trained.timestep(sigma) as f32).collect();
        let prepared = sd.unet.prepare(&timesteps, &conditioning.context, &conditioning.lengths);

        let (h, w) = (params.height / FACTOR, params.width / FACTOR);
        let scale = trained.initial_scale(sigmas[0]);
        let noise: Vec<f32> = to_nhwc(&torch_randn(params.seed, 4 * h * w), h * w).iter().map(|x| x * scale).collect();
        let gpu = &sd.gpu;
        let latents = gpu.upload("latents", &[1, h, w, 4], Storage::F32, &noise);
        let batch = conditioning.weights.len();
        let step = gpu.empty("step", &[8 + batch.next_multiple_of(4)], Storage::F32);
        let (plan, ()) = gpu.record("unet step", || {
            let x = scale_latents(&latents, &step, batch, gpu.storage());
            let eps = sd.unet.forward(&x, &step, &prepared);
            sampler_step(&eps, &step, &latents);
        });
        gpu.finish().await?;
        Ok(Self {
            gpu: gpu.clone(),
            params: params.clone(),
            sigmas,
            latents,
            step,
            plan: Some(plan),
            conditioning,
            prepared,
            done: 0,
            warnings,
            used,
        })
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

    /// What a step does and takes; `None` once all are done.
    pub fn step_stats(&self) -> Option<Stats> {
        self.plan.as_ref().map(Plan::stats)
    }

    /// The encoded prompts.
    pub fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// Does one denoising step and waits for it; false once all are done.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn step(&mut self) -> Result<bool> {
        let Some(plan) = &self.plan else { return Ok(false) };
        if self.conditioning.turn_to(self.done + 1) {
            self.prepared.prompt_changed();
        }
        let sigma = self.sigmas[self.done];
        let update = self.params.sampler.update(&self.sigmas, self.done);
        let input_scale = 1.0 / (sigma * sigma + 1.0).sqrt();
        let mut step = vec![self.done as f32, input_scale, sigma, 0.0, update.keep, update.toward, 0.0, 0.0];
        step.extend(self.conditioning.weights.iter().map(|weight| weight * self.params.cfg));
        step.resize(self.step.len(), 0.0);
        self.step.write(&step);
        plan.run();
        self.gpu.finish().await?;
        self.done += 1;
        if self.done == self.params.steps {
            // The decoder needs the arena's memory more.
            self.plan = None;
        }
        Ok(self.done < self.params.steps)
    }

    /// The latents as they are, (4, h, w), as ComfyUI and diffusers order them.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn latents(&self) -> Result<Vec<f32>> {
        let pixels = self.latents.len() / 4;
        let values = self.latents.read().await?;
        Ok((0..4).flat_map(|c| (0..pixels).map(move |i| (c, i))).map(|(c, i)| values[i * 4 + c]).collect())
    }

    /// Decodes the latents as they are.
    ///
    /// # Errors
    /// [`Code::NumericNan`] where the network left the range of its numbers, and whatever the GPU reports.
    pub async fn image(&self, sd: &StableDiffusion) -> Result<Image> {
        if self.latents().await?.iter().any(|x| !x.is_finite()) {
            let sentence = "the network produced NaN instead of a picture: a checkpoint or embedding with broken numbers, or a cfg or weight far too large";
            return Err(Error::new(Code::NumericNan, sentence));
        }
        let scale = self.gpu.upload("scale", &[4], Storage::F32, &[0.0, sd.vae.latent_scale(), 0.0, 0.0]);
        let (plan, rgba) = self.gpu.record("vae decode", || {
            let x = scale_latents(&self.latents, &scale, 1, self.gpu.storage());
            image(&sd.vae.decode(&x)).keep()
        });
        plan.run();
        let rgba = rgba.read_bytes().await?;
        Ok(Image { width: self.params.width, height: self.params.height, rgba })
    }
}

/// (4, pixels) → (pixels, 4).
fn to_nhwc(values: &[f32], pixels: usize) -> Vec<f32> {
    (0..pixels).flat_map(|i| (0..4).map(move |c| values[c * pixels + i])).collect()
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
