//! What a picture asks of the three networks and of the place where it is made, whoever answers: the GPU (`on_gpu.rs`), or
//! the CPU where there is none (`on_cpu.rs`).

use std::ops::Range;

use crate::error::Result;
use crate::files::{Checkpoint, LocalFuture};
use crate::gpu::{Gpu, Stats};
use crate::prompt::Syntax;
use crate::samplers::Reg;

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

    /// Refuses a picture that there is no room for.
    fn check_size(&self, width: usize, height: usize) -> Result<()>;

    /// Refuses what TAESD cannot decode, for want of a TAESD or of room.
    fn check_taesd(&self, width: usize, height: usize) -> Result<()>;

    /// Encodes the prompts and makes everything ready for the first step.
    fn begin<'a>(&'a self, start: &'a Start) -> LocalFuture<'a, Result<Box<dyn Canvas>>>;

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
    /// The rows of the windows that each batch item sees at the first step: the negative prompt's first if there is
    /// guidance, then those of the parts of the prompt.
    pub prompts: Vec<Range<usize>>,
    /// Rows of the longest prompt.
    pub longest: usize,
    /// What the UNet is told of time, each time it is evaluated.
    pub timesteps: Vec<f32>,
    /// The first latents (4, h, w).
    pub latents: Vec<f32>,
    /// How many registers of latents the sampler needs: the latents, the denoised ones, more if it says so.
    pub registers: usize,
    /// h and w.
    pub size: [usize; 2],
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
    /// Guidance times the weight of each batch item against the first.
    pub weights: Vec<f32>,
    /// The new registers (R, R): matrix · old ones.
    pub mix: Vec<f32>,
}

impl Step {
    /// What the latents are multiplied with to have unit variance, as the UNet wants them.
    pub fn input_scale(&self) -> f32 {
        1.0 / (self.sigma * self.sigma + 1.0).sqrt()
    }

    /// Factors of the latents and of the network's output in the denoised latents: x − σ ε.
    pub fn denoised(&self) -> [f32; 2] {
        [1.0, -self.sigma]
    }
}

/// The register that fresh noise is put into.
pub(super) const NOISE: usize = Reg::NOISE.index();

/// The register of the denoised latents, which previews look at.
pub(super) const DENOISED: usize = Reg::DENOISED.index();

/// A picture in the making: its latents, and the prompts it sees.
pub(super) trait Canvas {
    /// From now on each batch item sees these rows of the encoded windows.
    fn show(&mut self, prompts: &[Range<usize>]);

    /// Puts unit noise (4, h, w) into the register for noise.
    fn noise(&mut self, noise: &[f32]);

    /// The registers become matrix (R, R) · registers.
    fn mix(&mut self, matrix: &[f32]);

    /// Evaluates the network on the latents, puts the denoised ones into their register, and mixes.
    fn step<'a>(&'a mut self, step: &'a Step) -> LocalFuture<'a, Result<()>>;

    /// What a register holds, (4, h, w).
    fn read(&self, register: usize) -> LocalFuture<'_, Result<Vec<f32>>>;

    /// What the batch items see now, (B, S, C); shorter prompts are followed by zeros.
    fn context(&self) -> LocalFuture<'_, Result<Vec<f32>>>;

    /// What a step does and takes on the GPU, while there are steps to do.
    fn stats(&self) -> Option<Stats>;
}
