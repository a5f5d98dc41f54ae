//! One picture in the making: noise, steps, decoding.

use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::gpu::Stats;
use crate::prompt::{Scenario, Warning};
use crate::samplers::{Levels, Op, Program, Reg, Request, Seeds, Sigmas, StepNoise};

use super::networks::{Canvas, Start, Step};
use super::{Conditioning, Decoder, Image, Params, StableDiffusion};

/// Latent pixels are 8×8 pixels of the picture.
pub(super) const FACTOR: usize = 8;

/// A picture in the making. Not calling [`step`](Self::step) pauses it, dropping it cancels it.
pub struct Generation {
    params: Params,
    levels: Levels,
    program: Rc<Program>,
    /// Those that the program needs, in the order of the canvas.
    registers: Vec<Reg>,
    noise: StepNoise,
    conditioning: Conditioning,
    canvas: Box<dyn Canvas>,
    /// Steps.
    done: usize,
    /// Evaluations of the network: one or two a step.
    evaluated: usize,
    warnings: Vec<Warning>,
    used: Vec<String>,
}

/// How far a picture is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// Steps in all: mostly as many as were asked for, as the sampler's tool counts them.
    pub steps: usize,
    /// Noise level of the next step.
    pub sigma: f32,
}

impl Generation {
    pub(super) async fn start(sd: &StableDiffusion, params: &Params, prompts: [Scenario; 2]) -> Result<Self> {
        params.check()?;
        sd.networks.check_size(params.width, params.height)?;
        if params.decoder == Decoder::Taesd {
            sd.networks.check_taesd(params.width, params.height)?;
        }
        let trained = Sigmas::sd15();
        let levels = Levels::new(&request(params), &trained)?;
        let program = Rc::new(params.sampler.program(&levels.sigmas, &params.sampling));
        let registers = program.registers();
        let [negative, prompt] = prompts;
        let warnings = joint_warnings(&prompt, &negative);
        let mut used = prompt.used.clone();
        used.extend(negative.used.iter().filter(|name| !prompt.used.contains(name)).cloned());
        // As ComfyUI, guidance of strength 1 leaves the negative prompt out altogether.
        let alone = prompt.parts.len() == 1 && prompt.parts[0].weight == 1.0;
        let guided = params.cfg != 1.0 || !alone;
        let mut conditioning = Conditioning::new(if guided { vec![negative, prompt] } else { vec![prompt] })?;
        let (h, w) = (params.height / FACTOR, params.width / FACTOR);
        let seeds = Seeds {
            tool: params.tool,
            generator: params.generator,
            seed: params.seed,
            size: [h, w],
            variation: params.variation,
            seed_delta: params.seed_delta,
            ..Seeds::default()
        };
        let time = |sigma: f64| trained.time(sigma as f32, params.tool);
        let start = Start {
            windows: conditioning.windows(&*sd.networks, params.syntax)?,
            clip_skip: params.clip_skip,
            prompts: conditioning.turn_to(1).unwrap_or_default(),
            longest: conditioning.longest(),
            timesteps: program.evaluations().into_iter().map(time).collect(),
            latents: seeds.initial().iter().map(|noise| noise * levels.noise_scale).collect(),
            registers: registers.len(),
            size: [h, w],
        };
        let canvas = sd.networks.begin(&start).await?;
        let noise = seeds.for_steps(params.sampler, levels.brownian);
        let params = params.clone();
        Ok(Self {
            params,
            levels,
            program,
            registers,
            noise,
            conditioning,
            canvas,
            done: 0,
            evaluated: 0,
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
        Progress { done: self.done, steps: self.program.steps.len(), sigma: self.levels.sigmas[self.done] }
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
        if self.done == self.program.steps.len() {
            return Ok(false);
        }
        let program = self.program.clone();
        self.execute(&program.steps[self.done].ops).await?;
        self.done += 1;
        Ok(self.done < self.program.steps.len())
    }

    /// Executes a step's instructions. Noise for a mix that follows an evaluation is there before it, so that the two are
    /// one submission.
    async fn execute(&mut self, ops: &[Op]) -> Result<()> {
        let mut ops = ops.iter().peekable();
        while let Some(op) = ops.next() {
            match op {
                Op::Noise(draw) => self.canvas.noise(&self.noise.draw(*draw)),
                Op::Mix(rows) => self.canvas.mix(&Program::matrix(rows, &self.registers)),
                Op::Denoise { sigma } => {
                    while let Some(Op::Noise(draw)) = ops.next_if(|op| matches!(op, Op::Noise(_))) {
                        self.canvas.noise(&self.noise.draw(*draw));
                    }
                    let mix = match ops.next_if(|op| matches!(op, Op::Mix(_))) {
                        Some(Op::Mix(rows)) => Program::matrix(rows, &self.registers),
                        _ => Program::matrix(&[], &self.registers),
                    };
                    self.evaluate(*sigma as f32, mix).await?;
                }
            }
        }
        Ok(())
    }

    async fn evaluate(&mut self, sigma: f32, mix: Vec<f32>) -> Result<()> {
        if let Some(prompts) = self.conditioning.turn_to(self.evaluated + 1) {
            self.canvas.show(&prompts);
        }
        let weights = self.conditioning.weights.iter().map(|weight| weight * self.params.cfg).collect();
        self.canvas.step(&Step { index: self.evaluated, sigma, weights, mix }).await?;
        self.evaluated += 1;
        Ok(())
    }

    /// The latents as they are, (4, h, w), as ComfyUI and diffusers order them.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn latents(&self) -> Result<Vec<f32>> {
        let mut latents = self.canvas.read(Reg::X.index()).await?;
        if self.done == self.program.steps.len() && self.levels.final_scale != 1.0 {
            latents.iter_mut().for_each(|x| *x *= self.levels.final_scale);
        }
        Ok(latents)
    }

    /// The network's idea of the finished latents at the last evaluation, (4, h, w): what previews show.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn denoised(&self) -> Result<Vec<f32>> {
        self.canvas.read(Reg::DENOISED.index()).await
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
        let size = [height / FACTOR, width / FACTOR];
        let rgba = match self.params.decoder {
            Decoder::Vae => sd.networks.decode(&latents, size, self.params.vae_tiling).await?,
            Decoder::Taesd => sd.networks.decode_by_taesd(&latents, size).await?,
        };
        Ok(Image { width, height, rgba })
    }
}

/// The run that parameters ask for.
fn request(params: &Params) -> Request {
    Request {
        tool: params.tool,
        sampler: params.sampler,
        schedule: params.schedule,
        steps: params.steps,
        denoise: 1.0,
        picture: false,
        exact_steps: false,
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
