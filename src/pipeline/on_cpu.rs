//! The networks on the CPU, through candle: for small models where there is no GPU.

use std::ops::Range;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::files::{Checkpoint, LocalFuture};
use crate::gpu::{Gpu, Stats};
use crate::kernels::Rescale;
use crate::prompt::WINDOW;
use crate::reference::{
    Denoiser, Encoder, Opening, OpeningDecoder, Reference, Taesd, guided, mix, rescaled, rgba, weigh,
};

use super::decoders::needed_taesd;
use super::networks::{Canvas, NOISE, Networks, Repaint, Start, Step};

/// Larger models are refused: in f32 they crowd a tab's memory (SD 1.5 exceeds wasm's 4 GiB), and a picture takes too long.
const MOST_PARAMETERS: u64 = 150_000_000;
/// SD 1.5 has 1.07 billion and issues 1.5 TFLOP a step (`benches/RESULTS.md`). candle in wasm computed 10 GFLOP a second:
/// 20 steps and the decoding of a small model's picture, 31 GFLOP, took 3.2 s of CPU time.
const MINUTES_PER_PARAMETER: f64 = 1513.0 / 10.0 / 60.0 / 1.07e9;
/// Bytes of the largest tensor of a picture; there are two or three of that size at a time.
const MOST_BYTES: u64 = 512 << 20;

/// A checkpoint's networks on the CPU.
pub(super) struct OnCpu {
    text_width: usize,
    bytes: u64,
    /// Until all is read.
    opening: Option<Opening>,
    /// From then on.
    reference: Option<Reference>,
    /// A VAE that will take the place of the one in use once it is loaded.
    next_vae: Option<(OpeningDecoder, String, Checkpoint)>,
    vae_name: Option<String>,
    taesd: Option<Taesd>,
    /// Where the encoder of the VAE in use lies. It is needed once for a picture to start from, and only then loaded.
    encoder: Checkpoint,
}

impl OnCpu {
    /// Looks at the checkpoint's names and shapes.
    pub fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let opening = Opening::new(checkpoint)?;
        let parameters = opening.parameters();
        if parameters > MOST_PARAMETERS {
            return Err(too_large(parameters));
        }
        let (text_width, bytes) = (opening.text_width(), opening.loaded().1);
        let (opening, encoder) = (Some(opening), checkpoint.clone());
        Ok(Self { text_width, bytes, opening, reference: None, next_vae: None, vae_name: None, taesd: None, encoder })
    }

    fn reference(&self) -> Result<&Reference> {
        self.reference.as_ref().ok_or_else(|| Error::new(Code::Busy, "the model is still being loaded"))
    }

    async fn load_slice(&mut self) -> Result<bool> {
        if let Some(opening) = &mut self.opening {
            if opening.load().await? {
                return Ok(true);
            }
            self.reference = self.opening.take().map(Opening::finish).transpose()?;
        }
        match self.load_slice_of_vae().await {
            Err(error) => {
                self.next_vae = None;
                Err(error)
            }
            more => more,
        }
    }

    async fn load_slice_of_vae(&mut self) -> Result<bool> {
        let Some((opening, ..)) = &mut self.next_vae else { return Ok(false) };
        if opening.load().await? {
            return Ok(true);
        }
        if let (Some((opening, name, encoder)), Some(reference)) = (self.next_vae.take(), &mut self.reference) {
            reference.replace_vae(opening.finish()?);
            (self.vae_name, self.encoder) = (Some(name), encoder);
        }
        Ok(false)
    }
}

/// The sentence for a model that only a GPU should compute.
fn too_large(parameters: u64) -> Error {
    let sentence = format!(
        "on the CPU this model's {} million numbers would take {:.1} GB of memory and about {} minutes for each step of a picture of 512×512; at most {} million are computed there",
        parameters / 1_000_000,
        parameters as f64 * 4e-9,
        (parameters as f64 * MINUTES_PER_PARAMETER).ceil(),
        MOST_PARAMETERS / 1_000_000,
    );
    Error::new(Code::TooLarge, sentence)
}

/// Refuses pictures whose tensors are too large.
fn fits(needed: u64, width: usize, height: usize) -> Result<()> {
    if needed > MOST_BYTES {
        let sentence = format!(
            "a picture of {width}×{height} needs tensors of {} MiB, and on the CPU they may have {} MiB: choose a smaller size",
            needed >> 20,
            MOST_BYTES >> 20
        );
        return Err(Error::new(Code::BadOption, sentence));
    }
    Ok(())
}

impl Networks for OnCpu {
    fn gpu(&self) -> Option<&Gpu> {
        None
    }

    fn text_width(&self) -> usize {
        self.text_width
    }

    fn token(&self, id: u32) -> Option<Vec<f32>> {
        self.reference.as_ref()?.token(id)
    }

    fn word(&self, row: &[f32]) -> Vec<f32> {
        row.to_vec()
    }

    fn load(&mut self) -> LocalFuture<'_, Result<bool>> {
        Box::pin(self.load_slice())
    }

    fn loaded(&self) -> (u64, u64) {
        let loaded = self.opening.as_ref().map_or(self.bytes, |opening| opening.loaded().0);
        let more = self.next_vae.as_ref().map_or((0, 0), |(opening, ..)| opening.loaded());
        (loaded + more.0, self.bytes + more.1)
    }

    fn ready(&self) -> bool {
        self.reference.is_some()
    }

    fn open_vae(&mut self, name: String, checkpoint: Checkpoint) -> LocalFuture<'_, Result<()>> {
        Box::pin(async move {
            self.next_vae = Some((OpeningDecoder::new(&checkpoint)?, name, checkpoint));
            Ok(())
        })
    }

    fn open_taesd(&mut self, checkpoint: Checkpoint) -> LocalFuture<'_, Result<()>> {
        Box::pin(async move {
            // A few megabytes: read at once.
            self.taesd = Some(Taesd::open(&checkpoint).await?);
            Ok(())
        })
    }

    fn drop_vae(&mut self) {
        self.next_vae = None;
    }

    fn vae(&self) -> Option<&str> {
        self.vae_name.as_deref()
    }

    fn check_size(&self, width: usize, height: usize, _batch: usize) -> Result<()> {
        fits(self.reference()?.largest(height / 8, width / 8), width, height)
    }

    fn inpaints(&self) -> bool {
        self.reference.as_ref().is_some_and(|reference| reference.denoiser().inpaints())
    }

    fn guidance_width(&self) -> Option<usize> {
        self.reference.as_ref()?.denoiser().guidance_width()
    }

    fn encode<'a>(&'a self, picture: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<f32>>> {
        Box::pin(async move { Encoder::open(&self.encoder).await?.encode(picture, size) })
    }

    fn check_taesd(&self, width: usize, height: usize) -> Result<()> {
        fits(needed_taesd(self.taesd.as_ref())?.largest(height / 8, width / 8), width, height)
    }

    fn begin<'a>(&'a self, start: &'a Start) -> LocalFuture<'a, Result<Box<dyn Canvas>>> {
        Box::pin(async move { Ok(Box::new(OnCpuCanvas::begin(self.reference()?, start)?) as Box<dyn Canvas>) })
    }

    fn tune_decoding(&self, _: [usize; 2], _: bool) -> LocalFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn decode<'a>(&'a self, latents: &'a [f32], [h, w]: [usize; 2], _: bool) -> LocalFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let reference = self.reference()?;
            let scaled: Vec<f32> = latents.iter().map(|x| x * reference.latent_scale()).collect();
            Ok(rgba(&reference.decode(&scaled, [1, 4, h, w])?))
        })
    }

    fn decode_by_taesd<'a>(&'a self, latents: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move { Ok(rgba(&needed_taesd(self.taesd.as_ref())?.decode(latents, size)?)) })
    }
}

/// Pictures in the making on the CPU, computed one after the other: together they would be no faster.
struct OnCpuCanvas {
    unet: Rc<Denoiser>,
    /// The latents, the denoised ones, what the sampler needs besides: (pictures, 4, h, w) each.
    registers: Vec<Vec<f32>>,
    size: [usize; 2],
    timesteps: Vec<f32>,
    bank: Vec<f32>, // (windows, 77, C), weighed
    width: usize,   // C
    longest: usize,
    /// The rows of the bank that are each prompt's.
    prompts: Vec<Range<usize>>,
    repaint: Option<Repaint>,
    condition: Vec<f32>, // (5, h, w), or nothing
    /// Those evaluated without guidance.
    plain: Option<Range<usize>>,
    rescale: Option<Rescale>,
}

impl OnCpuCanvas {
    fn begin(reference: &Reference, start: &Start) -> Result<Self> {
        let windows = &start.windows;
        let mut bank = reference.text(&windows.rows, windows.count, start.clip_skip)?;
        let width = bank.len() / (windows.count * WINDOW);
        if let Some((syntax, weights)) = &windows.weights {
            weigh(&mut bank, weights, width, *syntax);
        }
        let mut registers = vec![vec![0.0; start.latents.len()]; start.registers];
        registers[0].copy_from_slice(&start.latents);
        Ok(Self {
            unet: match &start.guidance {
                Some(guidance) => Rc::new(reference.denoiser().told(guidance)?),
                None => reference.denoiser(),
            },
            registers,
            size: start.size,
            timesteps: start.timesteps.clone(),
            bank,
            width,
            longest: start.longest,
            prompts: start.prompts.clone(),
            repaint: start.repaint.clone(),
            condition: start.condition.clone().unwrap_or_default(),
            plain: start.plain.clone(),
            rescale: start.rescale,
        })
    }

    fn rows(&self, rows: &Range<usize>) -> &[f32] {
        &self.bank[rows.start * self.width..rows.end * self.width]
    }

    fn step_now(&mut self, step: &Step) -> Result<()> {
        let ([h, w], scale) = (self.size, step.input_scale());
        let timestep = f64::from(self.timesteps[step.index]);
        let plain = self.plain.clone().filter(|_| step.plain);
        let prompts = &self.prompts[plain.unwrap_or(0..self.prompts.len())];
        let x = &self.registers[0];
        let seen = self.repaint.as_ref().map_or(x.clone(), |repaint| repaint.seen(x, step.sigma));
        let mut denoised = Vec::with_capacity(x.len());
        for x in seen.chunks(4 * h * w) {
            let input: Vec<f32> = x.iter().map(|x| x * scale).chain(self.condition.iter().copied()).collect();
            let shape = [1, input.len() / (h * w), h, w];
            // One prompt after the other: they may have different lengths.
            let eps = |rows: &Range<usize>| self.unet.eps(&input, shape, timestep, self.rows(rows), rows.len());
            let eps = prompts.iter().map(eps).collect::<Result<Vec<_>>>()?;
            let factors = match self.rescale.filter(|_| !step.plain) {
                None => step.denoised(),
                Some(Rescale { multiplier, cfg }) => {
                    let alone: Vec<f32> = step.weights.iter().map(|weight| weight / cfg).collect();
                    rescaled(x, &eps, [&alone, &step.weights], step.denoised(), scale, multiplier)
                }
            };
            denoised.extend(guided(x, &eps, &step.weights, factors));
        }
        self.registers[1] = match &self.repaint {
            Some(repaint) => repaint.kept(&denoised),
            None => denoised,
        };
        mix(&mut self.registers, &step.mix);
        Ok(())
    }
}

impl Canvas for OnCpuCanvas {
    fn show(&mut self, prompts: &[Range<usize>]) {
        self.prompts = prompts.to_vec();
    }

    fn noise(&mut self, noise: &[f32]) {
        self.registers[NOISE].copy_from_slice(noise);
    }

    fn mix(&mut self, matrix: &[f32]) {
        mix(&mut self.registers, matrix);
    }

    fn step<'a>(&'a mut self, step: &'a Step) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move { self.step_now(step) })
    }

    fn read(&self, register: usize) -> LocalFuture<'_, Result<Vec<f32>>> {
        Box::pin(async move { Ok(self.registers[register].clone()) })
    }

    fn context(&self) -> LocalFuture<'_, Result<Vec<f32>>> {
        Box::pin(async move {
            let padded = |rows: &Range<usize>| {
                let mut padded = self.rows(rows).to_vec();
                padded.resize(self.longest * self.width, 0.0);
                padded
            };
            Ok(self.prompts.iter().flat_map(padded).collect())
        })
    }

    fn stats(&self) -> Option<Stats> {
        None
    }
}
