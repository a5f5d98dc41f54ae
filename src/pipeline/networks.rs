//! What a picture asks of the three networks and of the place where it is made, whoever answers: the GPU (`on_gpu.rs`), or
//! the CPU where there is none (`on_cpu.rs`).

use std::ops::Range;

use crate::error::Result;
use crate::files::{Checkpoint, LocalFuture};
use crate::gpu::{Gpu, Stats};
use crate::kernels::Rescale;
use crate::prompt::Syntax;
use crate::samplers::{Prediction, Reg};

/// A checkpoint's text encoder, UNet and VAE.
pub(super) trait Networks {
    /// The GPU they are on, if they are.
    fn gpu(&self) -> Option<&Gpu>;

    /// Numbers per token: the width an embedding must have.
    fn text_width(&self) -> usize;

    /// The row of a token, before its position is added.
    fn token(&self, id: u32) -> Option<Vec<f32>>;

    /// A row from an embedding, with the precision of this model's own.
    fn word(&self, row: &[f32]) -> Vec<f32>;

    /// Brings in a slice of what was opened; false once all is there.
    fn load(&mut self) -> LocalFuture<'_, Result<bool>>;

    /// Bytes loaded, and bytes in all.
    fn loaded(&self) -> (u64, u64);

    /// The checkpoint is there, even if a separate VAE is still on its way.
    fn ready(&self) -> bool;

    /// Opens a separate VAE; [`load`](Self::load) then brings it in.
    fn open_vae(&mut self, name: String, checkpoint: Checkpoint) -> LocalFuture<'_, Result<()>>;

    /// Opens a TAESD; [`load`](Self::load) then brings it in.
    fn open_taesd(&mut self, checkpoint: Checkpoint) -> LocalFuture<'_, Result<()>>;

    /// Gives up a separate VAE or TAESD that is not fully loaded.
    fn drop_vae(&mut self);

    /// The name of the separate VAE that decodes, if one does.
    fn vae(&self) -> Option<&str>;

    /// Refuses a picture that there is no room for, where the UNet sees so many at once: each for every prompt.
    fn check_size(&self, width: usize, height: usize, batch: usize) -> Result<()>;

    /// Refuses what TAESD cannot decode, for want of a TAESD or of room.
    fn check_taesd(&self, width: usize, height: usize) -> Result<()>;

    /// Encodes the prompts and makes everything ready for the first step.
    fn begin<'a>(&'a self, start: &'a Start) -> LocalFuture<'a, Result<Box<dyn Canvas>>>;

    /// The UNet was trained for inpainting: it wants [`Start::condition`].
    fn inpaints(&self) -> bool;

    /// Numbers in which the UNet is told how strong guidance is to be, if it has it built in: it wants [`Start::guidance`].
    fn guidance_width(&self) -> Option<usize>;

    /// A picture (3, height, width) in −1…1 → the mean of its latents (4, h, w), in the sampler's scale.
    fn encode<'a>(&'a self, picture: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<f32>>>;

    /// Measures which kernels are the fastest for a [`decode`](Self::decode) of this size, if that is wanted and not known.
    fn tune_decoding(&self, size: [usize; 2], tiled: bool) -> LocalFuture<'_, Result<()>>;

    /// Latents (4, h, w), as the sampler left them, → RGBA bytes (8h, 8w, 4). `tiled` saves memory where it can be saved.
    fn decode<'a>(&'a self, latents: &'a [f32], size: [usize; 2], tiled: bool) -> LocalFuture<'a, Result<Vec<u8>>>;

    /// The same by TAESD, once [`check_taesd`](Self::check_taesd) has nothing against it.
    fn decode_by_taesd<'a>(&'a self, latents: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<u8>>>;
}

/// What a picture starts from.
pub(super) struct Start {
    /// Every window that any step shows, and the empty prompt's where it is needed.
    pub windows: Windows,
    /// 1: the text encoder's last layer; 2: the one before; …
    pub clip_skip: usize,
    /// The rows of the windows that each prompt has at the first step: the negative prompt's first if there is
    /// guidance, then those of the parts of the prompt.
    pub prompts: Vec<Range<usize>>,
    /// The prompts that are evaluated where there is no guidance for a while; `None` if there never is such a step.
    pub plain: Option<Range<usize>>,
    /// How the contrast that guidance adds is taken back, if it is.
    pub rescale: Option<Rescale>,
    /// Rows of the longest prompt.
    pub longest: usize,
    /// What the UNet is told of time, each time it is evaluated.
    pub timesteps: Vec<f32>,
    /// What a UNet that has guidance built in is told of it.
    pub guidance: Option<Vec<f32>>,
    /// Pictures made at once; each sees all prompts.
    pub pictures: usize,
    /// The first latents (pictures, 4, h, w).
    pub latents: Vec<f32>,
    /// How many registers of latents the sampler needs: the latents, the denoised ones, more if it says so.
    pub registers: usize,
    /// h and w.
    pub size: [usize; 2],
    /// What is to be kept of a picture, if something is.
    pub repaint: Option<Repaint>,
    /// A mask, and the latents of the picture without what is masked: (5, h, w).
    pub condition: Option<Vec<f32>>,
}

/// A picture that is to be painted anew in parts.
#[derive(Clone)]
pub(super) struct Repaint {
    /// Its latents (4, h, w).
    pub picture: Vec<f32>,
    /// Unit noise (4, h, w).
    pub noise: Vec<f32>,
    /// (h, w): 1 where the network sees what it painted, 0 where it sees the picture under the noise.
    pub before: Vec<f32>,
    /// (h, w): 1 where the network's idea of the picture counts, 0 where the picture does.
    pub after: Vec<f32>,
}

impl Repaint {
    /// What the network sees of latents `x` (4, h, w): the picture under noise of the level σ where it is kept.
    pub fn seen(&self, x: &[f32], sigma: f32) -> Vec<f32> {
        let kept: Vec<f32> = self.picture.iter().zip(&self.noise).map(|(x, noise)| x + sigma * noise).collect();
        blend(&kept, x, &self.before)
    }

    /// Denoised latents (4, h, w) with the picture where it is kept.
    pub fn kept(&self, denoised: &[f32]) -> Vec<f32> {
        blend(&self.picture, denoised, &self.after)
    }
}

/// (4, h, w) from one to the other, as far as a mask (h, w) says.
fn blend(from: &[f32], to: &[f32], mask: &[f32]) -> Vec<f32> {
    from.iter().zip(to).zip(mask.iter().cycle()).map(|((from, to), m)| from * (1.0 - m) + to * m).collect()
}

/// Windows of rows on their way into the text encoder.
pub(super) struct Windows {
    /// (windows, 77, C), positions not yet added.
    pub rows: Vec<f32>,
    /// How many windows.
    pub count: usize,
    /// A weight for each row (windows · 77) and who applies it how, unless all are 1. ComfyUI weighs against the empty
    /// prompt, which is the last window then.
    pub weights: Option<(Syntax, Vec<f32>)>,
}

/// An evaluation of the network and what the sampler makes of it, in numbers.
pub(super) struct Step {
    /// Counted from 0.
    pub index: usize,
    /// The noise in the latents.
    pub sigma: f32,
    /// What the network predicts.
    pub prediction: Prediction,
    /// Without guidance: only [`Start::plain`] are evaluated.
    pub plain: bool,
    /// Guidance times the weight of each prompt that is evaluated against the first of them.
    pub weights: Vec<f32>,
    /// The new registers (R, R): matrix · old ones.
    pub mix: Vec<f32>,
}

impl Step {
    /// What the latents are multiplied with to have unit variance, as the UNet wants them.
    pub fn input_scale(&self) -> f32 {
        1.0 / (self.sigma * self.sigma + 1.0).sqrt()
    }

    /// Factors of the latents and of the network's output in the denoised latents: x − σ ε, or (x/√(σ² + 1) − σ v)/√(σ² + 1).
    pub fn denoised(&self) -> [f32; 2] {
        match self.prediction {
            Prediction::Epsilon => [1.0, -self.sigma],
            Prediction::V => [self.input_scale() * self.input_scale(), -self.sigma * self.input_scale()],
        }
    }
}

/// The register that fresh noise is put into.
pub(super) const NOISE: usize = Reg::NOISE.index();

/// The register of the denoised latents, which previews look at.
pub(super) const DENOISED: usize = Reg::DENOISED.index();

/// Pictures in the making: their latents, and the prompts they see.
pub(super) trait Canvas {
    /// From now on the prompts are these rows of the encoded windows.
    fn show(&mut self, prompts: &[Range<usize>]);

    /// Puts unit noise (pictures, 4, h, w) into the register for noise.
    fn noise(&mut self, noise: &[f32]);

    /// The registers become matrix (R, R) · registers.
    fn mix(&mut self, matrix: &[f32]);

    /// Evaluates the network on the latents, puts the denoised ones into their register, and mixes.
    fn step<'a>(&'a mut self, step: &'a Step) -> LocalFuture<'a, Result<()>>;

    /// What a register holds, (pictures, 4, h, w).
    fn read(&self, register: usize) -> LocalFuture<'_, Result<Vec<f32>>>;

    /// The prompts as they are now, (prompts, S, C); shorter ones are followed by zeros.
    fn context(&self) -> LocalFuture<'_, Result<Vec<f32>>>;

    /// What a step does and takes on the GPU, while there are steps to do.
    fn stats(&self) -> Option<Stats>;
}
