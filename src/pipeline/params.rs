//! What a picture is made from.

use crate::error::{Code, Error, Result};
use crate::prompt::Syntax;
use crate::samplers::{Generator, Options, Prediction, Sampler, Schedule, Tool, Variation};

use super::Init;

/// What turns latents into a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoder {
    /// The model's VAE, or the separate one that took its place.
    #[default]
    Vae,
    /// TAESD: nearly the same picture, for an eighteenth of the work.
    Taesd,
}

/// Parameters of a picture. The defaults are those of the ComfyUI workflow this project starts from
/// (nomadoor/Comfy-with-ComfyUI, SD1.5_embedding.json).
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show.
    pub negative_prompt: String,
    /// The grammar of both prompts.
    pub syntax: Syntax,
    /// Never cut an embedding where a window of 75 tokens ends; ComfyUI cuts those of eight vectors and more.
    pub keep_embeddings_whole: bool,
    /// Denoising steps.
    pub steps: usize,
    /// Strength of guidance; 1 means none, and half the work. A network that has it built in (Luo et al. 2023, section 4.2)
    /// is told it, and the negative prompt has no say.
    pub cfg: f32,
    /// How far the contrast that guidance adds is taken back (Lin et al. 2024, section 3.4), from 0 to 1; ComfyUI's node
    /// RescaleCFG.
    pub cfg_rescale: f32,
    /// Guidance counts only between two shares of the trained time steps, 0 the noisiest; outside cfg is 1
    /// (Kynkäänniemi et al. 2024). Shares are as ComfyUI counts them.
    pub guidance_start: f64,
    /// Where it ends.
    pub guidance_end: f64,
    /// Pixels, a multiple of 8.
    pub width: usize,
    /// Pixels, a multiple of 8.
    pub height: usize,
    /// Seed of the noise. Torch's generator sees its low 32 bits.
    pub seed: u64,
    /// The sampler.
    pub sampler: Sampler,
    /// The noise levels; `None` is what the tool takes when it is told none.
    pub schedule: Option<Schedule>,
    /// Whose conventions noise levels and noise follow.
    pub tool: Tool,
    /// The sampler's settings.
    pub sampling: Options,
    /// Whose random numbers: of PyTorch on a CPU or on an NVIDIA GPU.
    pub generator: Generator,
    /// A second seed, and how far the noise is turned towards its.
    pub variation: Option<Variation>,
    /// A1111's "Eta noise seed delta".
    pub seed_delta: u64,
    /// 1: the text encoder's last layer; 2: the one before; …
    pub clip_skip: usize,
    /// A picture to start from instead of noise alone.
    pub init: Option<Init>,
    /// What the UNet predicts; `None` is what the checkpoint says, or noise.
    pub prediction: Option<Prediction>,
    /// The noise levels end in noise alone; `None` is what the checkpoint says, or no.
    pub zero_terminal_snr: Option<bool>,
    /// Pictures made at once. ComfyUI draws the noise for all of them together; A1111's i-th picture, counted from 0, is
    /// that of `seed` + i, or with a variation of its seed + i.
    pub batch: usize,
    /// What decodes.
    pub decoder: Decoder,
    /// The VAE decodes in strips, in less memory and more time. A picture that is too large otherwise is so in any case.
    pub vae_tiling: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            syntax: Syntax::Comfy,
            keep_embeddings_whole: false,
            steps: 20,
            cfg: 8.0,
            cfg_rescale: 0.0,
            guidance_start: 0.0,
            guidance_end: 1.0,
            width: 512,
            height: 512,
            seed: 1234,
            sampler: Sampler::Euler,
            schedule: Some(Schedule::Normal),
            tool: Tool::ComfyUi,
            sampling: Options::default(),
            generator: Generator::Cpu,
            variation: None,
            seed_delta: 0,
            clip_skip: 1,
            init: None,
            prediction: None,
            zero_terminal_snr: None,
            batch: 1,
            decoder: Decoder::Vae,
            vae_tiling: false,
        }
    }
}

/// The largest side: above it the pictures of SD 1.5 fall apart and no GPU has the memory.
const LARGEST_SIDE: usize = 2048;
/// Twice A1111's most. More are no faster than one batch after the other.
const MOST_PICTURES: usize = 16;
/// ComfyUI's CLIPSetLastLayer goes from −1 to −24.
const MOST_CLIP_SKIP: usize = 24;

impl Params {
    /// Says what cannot be used.
    ///
    /// # Errors
    /// [`Code::BadOption`] with what was given and what is expected.
    pub fn check(&self) -> Result<()> {
        let bad = |sentence: String| Err(Error::new(Code::BadOption, sentence));
        for (name, side) in [("width", self.width), ("height", self.height)] {
            if side == 0 || side % 8 != 0 || side > LARGEST_SIDE {
                return bad(format!(
                    "{name} is {side}; it must be a multiple of 8 from 8 to {LARGEST_SIDE} (Stable Diffusion 1.5 was trained at 512)"
                ));
            }
        }
        self.sampling.check()?;
        self.init.as_ref().map_or(Ok(()), |init| init.check(self.width, self.height, self.batch))?;
        if self.tool == Tool::ComfyUi && self.only_masked() {
            return bad("to paint only what is masked is AUTOMATIC1111's way: take its conventions (its prompt syntax), or paint over the whole picture".to_string());
        }
        if let Some(variation) = self.variation.filter(|v| !(0.0..=1.0).contains(&v.strength)) {
            return bad(format!("the variation's strength is {}; it must be from 0 to 1", variation.strength));
        }
        if !self.cfg.is_finite() || !(0.0..=100.0).contains(&self.cfg) {
            return bad(format!("cfg is {}; it must be a number from 0 to 100 (usual: 5 to 12)", self.cfg));
        }
        self.check_guidance()?;
        if !(1..=MOST_PICTURES).contains(&self.batch) {
            return bad(format!("the batch is {}; from 1 to {MOST_PICTURES} pictures are made at once", self.batch));
        }
        if !(1..=MOST_CLIP_SKIP).contains(&self.clip_skip) {
            return bad(format!(
                "clip skip is {}; it must be from 1 (the last layer) to {MOST_CLIP_SKIP}",
                self.clip_skip
            ));
        }
        Ok(())
    }

    /// Whether a part of a picture is painted and put back.
    pub(super) fn only_masked(&self) -> bool {
        let mask = self.init.as_ref().and_then(|init| init.mask.as_ref());
        mask.is_some_and(|mask| mask.only_masked.is_some())
    }

    fn check_guidance(&self) -> Result<()> {
        let bad = |sentence: String| Err(Error::new(Code::BadOption, sentence));
        let (start, end) = (self.guidance_start, self.guidance_end);
        if !(0.0..=1.0).contains(&start) || !(0.0..=1.0).contains(&end) || start >= end {
            return bad(format!(
                "guidance goes from {start} to {end}; both must be from 0 to 1, and the start before the end (for none at all, set cfg to 1)"
            ));
        }
        if !(0.0..=1.0).contains(&self.cfg_rescale) {
            return bad(format!("cfg rescale is {}; it must be from 0 to 1 (usual: 0.7)", self.cfg_rescale));
        }
        if self.cfg_rescale != 0.0 && self.cfg == 0.0 {
            return bad("cfg rescale compares guidance with the prompt, which does not count at a cfg of 0: raise cfg, or set cfg rescale to 0".to_string());
        }
        Ok(())
    }

    /// What A1111 counts a prompt's schedules in: evaluations of the network, two a step for samplers of the second order.
    pub(super) fn evaluations(&self) -> usize {
        self.steps * self.sampler.evaluations_per_step()
    }
}
