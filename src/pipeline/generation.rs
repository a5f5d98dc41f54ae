//! One picture in the making: noise, steps, decoding.

use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::gpu::Stats;
use crate::prompt::{Scenario, Warning};
use crate::samplers::{
    Levels, Op, Prediction, Program, Reg, Request, Sampler, Seeds, Sigmas, StepNoise, Tool, torch_randn,
};

use super::guidance::{Guidance, guidance_embedding};
use super::init::{self, Begin};
use super::networks::{Canvas, Repaint, Start, Step};
use super::{Conditioning, Decoder, Hires, Image, MaskedContent, Params, StableDiffusion};

/// Latent pixels are 8×8 pixels of the picture.
pub(super) const FACTOR: usize = 8;

/// A picture in the making, or a batch of them. Not calling [`step`](Self::step) pauses it, dropping it cancels it.
pub struct Generation {
    params: Params,
    seeds: Seeds,
    levels: Levels,
    prediction: Prediction,
    program: Rc<Program>,
    /// Those that the program needs, in the order of the canvas.
    registers: Vec<Reg>,
    noise: StepNoise,
    conditioning: Conditioning,
    guidance: Guidance,
    canvas: Box<dyn Canvas>,
    repaint: Option<Repaint>,
    /// What the first pass was made from, if this is a second.
    pub(super) enlarged: Option<(Params, Hires)>,
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
        if params.decoder == Decoder::Taesd {
            sd.networks.check_taesd(params.width, params.height)?;
        }
        let (trained, prediction) = training(sd, params);
        let levels = Levels::new(&request(params), &trained)?;
        let program = Rc::new(params.sampler.program(&levels.sigmas, &params.sampling));
        let registers = program.registers();
        let [negative, prompt] = prompts;
        let warnings = joint_warnings(&prompt, &negative);
        let mut used = prompt.used.clone();
        used.extend(negative.used.iter().filter(|name| !prompt.used.contains(name)).cloned());
        // As ComfyUI, guidance of strength 1 leaves the negative prompt out altogether.
        let alone = prompt.parts.len() == 1 && prompt.parts[0].weight == 1.0;
        let evaluations = program.evaluations();
        let built_in = sd.networks.guidance_width();
        let guidance = Guidance::new(params, &trained, &evaluations, alone, built_in.is_some());
        let prompts = if guidance.needs_negative() { vec![negative, prompt] } else { vec![prompt] };
        let mut conditioning = Conditioning::new(prompts)?;
        let count = conditioning.weights.len();
        sd.networks.check_size(params.width, params.height, count * params.batch)?;
        let seeds = seeds(params);
        let (latents, repaint) = first_latents(sd, params, &levels, seeds.initial()).await?;
        let inpaints = sd.networks.inpaints();
        let time = |sigma: f64| trained.time(sigma as f32, params.tool);
        let start = Start {
            windows: conditioning.windows(&*sd.networks, params.syntax)?,
            clip_skip: params.clip_skip,
            prompts: conditioning.turn_to(1).unwrap_or_default(),
            plain: guidance.plain(count),
            rescale: guidance.rescale(),
            longest: conditioning.longest(),
            timesteps: evaluations.into_iter().map(time).collect(),
            guidance: built_in.map(|width| guidance_embedding(params.cfg, width)),
            pictures: params.batch,
            latents,
            registers: registers.len(),
            size: seeds.size,
            condition: if inpaints { Some(init::condition(&*sd.networks, params).await?) } else { None },
            repaint,
        };
        let canvas = sd.networks.begin(&start).await?;
        let noise = seeds.for_steps(params.sampler, levels.brownian);
        Ok(Self {
            params: params.clone(),
            seeds,
            levels,
            prediction,
            program,
            registers,
            noise,
            conditioning,
            guidance,
            canvas,
            repaint: start.repaint,
            enlarged: None,
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

    /// The seed of a picture of the batch, and of its variation if it has one: A1111 counts them up, ComfyUI has one for all.
    pub fn seeds_of(&self, picture: usize) -> (u64, Option<u64>) {
        let variation = self.params.variation.filter(|variation| variation.strength != 0.0);
        match self.params.tool {
            Tool::A1111 => {
                let (seed, second) = self.seeds.of_picture(picture);
                (seed, variation.map(|_| second))
            }
            Tool::ComfyUi => (self.params.seed, variation.map(|variation| variation.seed)),
        }
    }

    /// The prompts.
    pub fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// What the UNet sees of the prompts now, (prompts, S, C): the negative prompt first if there is guidance, then the parts of
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
        let (plain, weights) = self.guidance.at(sigma, &self.conditioning.weights);
        let prediction = self.prediction;
        self.canvas.step(&Step { index: self.evaluated, sigma, prediction, plain, weights, mix }).await?;
        self.evaluated += 1;
        Ok(())
    }

    /// The latents as they are, (pictures, 4, h, w), as ComfyUI and diffusers order them.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn latents(&self) -> Result<Vec<f32>> {
        let mut latents = self.canvas.read(Reg::X.index()).await?;
        if self.done == self.program.steps.len() {
            latents.iter_mut().for_each(|x| *x *= self.levels.final_scale);
            if let Some(repaint) = self.repaint.as_ref().filter(|_| self.params.tool == Tool::A1111) {
                latents = repaint.kept(&latents);
            }
        }
        Ok(latents)
    }

    /// The network's idea of the finished latents at the last evaluation, (pictures, 4, h, w): what previews show.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn denoised(&self) -> Result<Vec<f32>> {
        self.canvas.read(Reg::DENOISED.index()).await
    }

    /// Decodes the latents of the picture, or of the first of a batch, as they are.
    ///
    /// # Errors
    /// [`Code::NumericNan`] where the network left the range of its numbers, and whatever the GPU reports.
    pub async fn image(&self, sd: &StableDiffusion) -> Result<Image> {
        self.image_of(0, sd).await
    }

    /// All pictures of the batch, decoded one at a time, which keeps the GPU's memory small.
    ///
    /// # Errors
    /// As for [`image`](Self::image).
    pub async fn images(&self, sd: &StableDiffusion) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for picture in 0..self.params.batch {
            images.push(self.image_of(picture, sd).await?);
        }
        Ok(images)
    }

    /// One picture of the batch, counted from 0.
    ///
    /// # Errors
    /// As for [`image`](Self::image), and [`Code::BadOption`] where there is no such picture.
    pub async fn image_of(&self, picture: usize, sd: &StableDiffusion) -> Result<Image> {
        let latents = self.latents().await?;
        let each = latents.len() / self.params.batch;
        let latents = latents.get(picture * each..(picture + 1) * each).ok_or_else(|| {
            Error::new(Code::BadOption, format!("there is no picture {picture}: the batch has {}", self.params.batch))
        })?;
        if latents.iter().any(|x| !x.is_finite()) {
            let sentence = "the network produced NaN instead of a picture: a checkpoint or embedding with broken numbers, or a cfg or weight far too large";
            return Err(Error::new(Code::NumericNan, sentence));
        }
        let (width, height) = (self.params.width, self.params.height);
        let size = [height / FACTOR, width / FACTOR];
        let rgba = match self.params.decoder {
            Decoder::Vae => {
                sd.networks.tune_decoding(size, self.params.vae_tiling).await?;
                sd.networks.decode(latents, size, self.params.vae_tiling).await?
            }
            Decoder::Taesd => sd.networks.decode_by_taesd(latents, size).await?,
        };
        let image = Image { width, height, rgba };
        match self.params.init.as_ref().filter(|_| self.params.tool == Tool::A1111) {
            Some(init) => init.paste(image, &self.params),
            None => Ok(image),
        }
    }
}

/// The noise that parameters ask for.
fn seeds(params: &Params) -> Seeds {
    Seeds {
        tool: params.tool,
        generator: params.generator,
        seed: params.seed,
        size: [params.height / FACTOR, params.width / FACTOR],
        batch: params.batch,
        variation: params.variation,
        seed_delta: params.seed_delta,
    }
}

/// The run that parameters ask for.
fn request(params: &Params) -> Request {
    let init = params.init.as_ref();
    Request {
        tool: params.tool,
        sampler: params.sampler,
        schedule: params.schedule,
        steps: params.steps,
        denoise: init.map_or(1.0, |init| init.denoise),
        picture: init.is_some(),
        exact_steps: init.is_some_and(|init| init.exact_steps),
    }
}

/// The noise levels the network was trained with, and what it predicts.
fn training(sd: &StableDiffusion, params: &Params) -> (Sigmas, Prediction) {
    let zero = params.zero_terminal_snr.unwrap_or(sd.model.zero_terminal_snr);
    let trained = if zero { Sigmas::zero_terminal_snr() } else { Sigmas::sd15() };
    (trained, params.prediction.unwrap_or(sd.model.prediction))
}

/// The first latents from unit noise and the picture to start from, and what is kept of the picture.
async fn first_latents(
    sd: &StableDiffusion,
    params: &Params,
    levels: &Levels,
    noise: Vec<f32>,
) -> Result<(Vec<f32>, Option<Repaint>)> {
    let under = |noise: &f32| noise * levels.noise_scale;
    let Some(init) = &params.init else { return Ok((noise.iter().map(under).collect(), None)) };
    let Begin { latents: mut picture, mask } = init.begin(&*sd.networks, params).await?;
    // One picture for the whole batch, unless there is one for each.
    picture = picture.repeat(noise.len() / picture.len());
    let content = init.mask.as_ref().map(|mask| mask.content);
    if let (Some(mask), Some(MaskedContent::LatentNoise | MaskedContent::LatentNothing)) = (&mask, content) {
        // A1111's is the seed's own noise, without a variation's.
        let with = if content == Some(MaskedContent::LatentNoise) { 1.0 } else { 0.0 };
        let other = Seeds { variation: None, ..seeds(params) }.initial();
        let under = picture.iter_mut().zip(&other).zip(mask.iter().cycle());
        under.for_each(|((x, noise), m)| *x = *x * (1.0 - m) + noise * with * m);
    }
    let first = picture.iter().zip(&noise).map(|(x, noise)| x * levels.picture_scale + under(noise)).collect();
    let repaint = mask.map(|after| {
        // ComfyUI shows the network the picture under the first noise, and for DDIM under another; A1111 what it painted.
        let before = if params.tool == Tool::ComfyUi { after.clone() } else { vec![1.0; after.len()] };
        let other = params.tool == Tool::ComfyUi && params.sampler == Sampler::Ddim;
        let noise = if other { torch_randn(params.seed.wrapping_add(1), noise.len()) } else { noise };
        Repaint { picture, noise, before, after }
    });
    Ok((first, repaint))
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
