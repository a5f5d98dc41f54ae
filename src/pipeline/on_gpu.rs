//! The networks on the GPU, and a picture in the making there: what is recorded, replayed and read back.

mod prompts;
mod text_encoder;

use std::cell::Cell;
use std::ops::Range;

use crate::error::{Code, Error, Result};
use crate::files::{Checkpoint, LocalFuture};
use crate::gpu::{Gpu, Options, Plan, Stats, Storage, Tensor};
use crate::kernels::{
    HEAD, ROW, Rescale, conv_out_step, matrix_offset, rescale_guidance, sampler_step, scale_latents, step_len, tune,
};
use crate::models::unet::Prepared;
use crate::models::{Unet, Vae};
use crate::weights::{Filling, Weights};

use super::decoders::Decoders;
use super::networks::{Canvas, DENOISED, NOISE, Networks, Repaint, Start, Step};
use prompts::Prompts;
use text_encoder::TextEncoder;

/// A checkpoint's networks on the GPU.
pub(super) struct OnGpu {
    gpu: Gpu,
    text_encoder: TextEncoder,
    unet: Unet,
    decoders: Decoders,
    filling: Filling,
}

impl OnGpu {
    /// Makes room for the networks of a checkpoint.
    pub async fn open(checkpoint: Checkpoint, options: Options) -> Result<Self> {
        let gpu = Gpu::open(options).await?;
        let encoder = checkpoint.clone();
        let weights = Weights::new(&gpu, checkpoint);
        let text_encoder = TextEncoder::load(&weights)?;
        let unet = Unet::load(&weights.at("unet"), text_encoder.embeddings().width())?;
        let vae = Vae::load(&weights.at("vae"))?;
        let filling = weights.fill();
        // All room is made before anything is read: what does not fit is refused before it is loaded.
        gpu.finish().await.map_err(|error| no_room(error, gpu.allocated()))?;
        Ok(Self { decoders: Decoders::new(&gpu, vae, encoder), gpu, text_encoder, unet, filling })
    }

    async fn load_slice(&mut self) -> Result<bool> {
        if self.filling.step().await? {
            return Ok(true);
        }
        self.decoders.load_slice().await
    }
}

/// What a model takes that the GPU has no memory for.
fn no_room(error: Error, weights: u64) -> Error {
    if error.code != Code::GpuOutOfMemory {
        return error;
    }
    let sentence = format!(
        "the GPU has no room for this model, whose weights take {} MiB of its memory: close other tabs and programs that use the GPU, or choose a smaller model",
        weights.div_ceil(1 << 20)
    );
    Error::new(error.code, sentence)
}

impl Networks for OnGpu {
    fn gpu(&self) -> Option<&Gpu> {
        Some(&self.gpu)
    }

    fn text_width(&self) -> usize {
        self.text_encoder.embeddings().width()
    }

    fn token(&self, id: u32) -> Option<Vec<f32>> {
        self.text_encoder.embeddings().token(id)
    }

    fn word(&self, row: &[f32]) -> Vec<f32> {
        self.text_encoder.embeddings().word(row)
    }

    fn load(&mut self) -> LocalFuture<'_, Result<bool>> {
        Box::pin(self.load_slice())
    }

    fn loaded(&self) -> (u64, u64) {
        let more = self.decoders.loaded();
        (self.filling.loaded() + more.0, self.filling.total() + more.1)
    }

    fn ready(&self) -> bool {
        self.filling.loaded() == self.filling.total()
    }

    fn open_vae(&mut self, name: String, checkpoint: Checkpoint) -> LocalFuture<'_, Result<()>> {
        Box::pin(self.decoders.open_vae(name, checkpoint))
    }

    fn open_taesd(&mut self, checkpoint: Checkpoint) -> LocalFuture<'_, Result<()>> {
        Box::pin(self.decoders.open_taesd(checkpoint))
    }

    fn drop_vae(&mut self) {
        self.decoders.drop_next();
    }

    fn vae(&self) -> Option<&str> {
        self.decoders.vae_name()
    }

    fn check_size(&self, width: usize, height: usize, batch: usize) -> Result<()> {
        self.decoders.check_size(width, height)?;
        let (size, most) = (self.gpu.storage().size(), self.gpu.largest_tensor());
        let needed = (self.unet.largest(height / 8, width / 8) * batch * size) as u64;
        if needed > most || batch * (height / 8) * (width / 8) > MOST_PIXELS {
            let sentence = format!(
                "{batch} evaluations at once, each picture's for each prompt, of {width}×{height} need tensors of {} MiB, and this GPU binds at most {} MiB at once: make fewer pictures at once, or smaller ones",
                needed >> 20,
                most >> 20
            );
            return Err(Error::new(Code::BadOption, sentence));
        }
        Ok(())
    }

    fn check_taesd(&self, width: usize, height: usize) -> Result<()> {
        self.decoders.check_taesd(width, height)
    }

    fn inpaints(&self) -> bool {
        self.unet.inpaints()
    }

    fn guidance_width(&self) -> Option<usize> {
        self.unet.guidance_width()
    }

    fn encode<'a>(&'a self, picture: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<f32>>> {
        Box::pin(self.decoders.encode(picture, size))
    }

    fn begin<'a>(&'a self, start: &'a Start) -> LocalFuture<'a, Result<Box<dyn Canvas>>> {
        Box::pin(async move { Ok(Box::new(OnGpuCanvas::begin(self, start).await?) as Box<dyn Canvas>) })
    }

    fn tune_decoding(&self, size: [usize; 2], tiled: bool) -> LocalFuture<'_, Result<()>> {
        self.text_encoder.give_back();
        Box::pin(self.decoders.tune(size, tiled))
    }

    fn decode<'a>(&'a self, latents: &'a [f32], size: [usize; 2], tiled: bool) -> LocalFuture<'a, Result<Vec<u8>>> {
        // Decoding is where most memory is needed, and the prompts are encoded by now.
        self.text_encoder.give_back();
        Box::pin(self.decoders.decode(latents, size, tiled))
    }

    fn decode_by_taesd<'a>(&'a self, latents: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<u8>>> {
        Box::pin(self.decoders.decode_by_taesd(latents, size))
    }
}

/// Latent pixels of a batch at most: a kernel has a thread for each, in one row of workgroups of 64.
const MOST_PIXELS: usize = 65_535 * 64;

/// Pictures in the making on the GPU. To the sampler they are one that is n times as high: h and w are each picture's,
/// n·h the height of all. To the UNet a batch is the first prompt's pictures, then the second's, ….
struct OnGpuCanvas {
    gpu: Gpu,
    pixels: usize,     // of a picture: h·w
    registers: Tensor, // (R, n·h, w, 4), f32: the latents, the denoised ones, what the sampler needs besides
    step: Tensor,      // what changes from step to step, f32: see `sampler_step`
    /// An evaluation of the network; given up after the last one.
    plan: Option<Plan>,
    /// The same without guidance, in the same arena; also given up then.
    plain: Option<Plan>,
    matrix: Tensor, // a mix alone, f32: as `step`, without batch items
    mix: Plan,
    prompts: Prompts,
    prepared: Prepared,
    evaluations: usize,
    /// Somebody looked at the denoised latents of the last step.
    watched: Cell<bool>,
    /// Those of this step, if they came back with it.
    seen: Option<Vec<f32>>,
}

impl OnGpuCanvas {
    async fn begin(networks: &OnGpu, start: &Start) -> Result<Self> {
        let (gpu, [h, w], r, n) = (&networks.gpu, start.size, start.registers, start.pictures);
        let bank = networks.text_encoder.encode(&start.windows, start.clip_skip).await?;
        let mut prompts = Prompts::new(bank, start.prompts.len(), start.longest);
        prompts.show(&start.prompts);
        let prepared =
            networks.unet.prepare(&start.timesteps, start.guidance.as_deref(), &prompts.context, &prompts.lengths);
        let registers = gpu.empty("registers", &[r, n * h, w, 4], Storage::F32);
        registers.write_item(0, &to_nhwc(&start.latents, 4, h * w));
        let count = start.prompts.len();
        let repaint = start.repaint.as_ref().map(|repaint| repaint_planes(gpu, repaint, [n * h, w], h * w));
        let condition = |items: usize| {
            let pixels = to_nhwc(start.condition.as_ref()?, 5, h * w).repeat(items);
            Some(gpu.upload("condition", &[items, h, w, 8], gpu.storage(), &pixels))
        };
        let step = gpu.empty("step", &[step_len(count, r)], Storage::F32);
        let evaluate = |prompts: Range<usize>, rescale: Option<Rescale>| {
            let count = prompts.len();
            let x = scale_latents(&registers, &step, repaint.as_ref(), 1, gpu.storage());
            let x = x.reshape(&[n, h, w, 4]);
            let condition = condition(n);
            let shown = prepared.shown(prompts.start, n, count);
            let (unet, repaint) = (&networks.unet, repaint.as_ref());
            let Some(rescale) = rescale else {
                let features = unet.features(&x, condition.as_ref(), &step, &shown);
                return conv_out_step(&unet.conv_out().product(&features), &step, repaint, &registers);
            };
            // Contrast is that of a whole picture.
            let eps = unet.forward(&x, condition.as_ref(), &step, &shown).reshape(&[count, n * h, w, 4]);
            let factors = rescale_guidance(&eps, &step, repaint, &registers, n, rescale);
            sampler_step(Some(&eps), Some(&factors), &step, repaint, &registers);
        };
        tune(gpu, || evaluate(0..count, start.rescale)).await?;
        gpu.prepare(|| {
            evaluate(0..count, start.rescale);
            start.plain.clone().map(|prompts| evaluate(prompts, None))
        })
        .await?;
        let (plan, ()) = gpu.record("unet step", || evaluate(0..count, start.rescale));
        let without = |prompts| gpu.record_beside(&plan, "unet step without guidance", || evaluate(prompts, None)).0;
        let plain = start.plain.clone().map(without);
        let matrix = gpu.empty("matrix", &[step_len(0, r)], Storage::F32);
        let (mix, ()) = gpu.record("mix", || sampler_step(None, None, &matrix, None, &registers));
        gpu.finish().await?;
        let evaluations = start.timesteps.len();
        Ok(Self {
            gpu: gpu.clone(),
            pixels: h * w,
            registers,
            step,
            plan: Some(plan),
            plain,
            matrix,
            mix,
            prompts,
            prepared,
            evaluations,
            watched: Cell::new(false),
            seen: None,
        })
    }
}

/// The numbers of `sampler_step`.
fn step_numbers(first: [f32; HEAD], weights: &[f32], matrix: &[f32], registers: usize) -> Vec<f32> {
    let mut numbers = first.to_vec();
    numbers.extend(weights);
    numbers.resize(matrix_offset(weights.len()), 0.0);
    for row in matrix.chunks(registers) {
        numbers.extend(row);
        numbers.resize(numbers.len() + ROW - registers, 0.0);
    }
    numbers
}

impl Canvas for OnGpuCanvas {
    fn show(&mut self, prompts: &[Range<usize>]) {
        self.prompts.show(prompts);
        self.prepared.prompt_changed();
    }

    fn noise(&mut self, noise: &[f32]) {
        self.registers.write_item(NOISE, &to_nhwc(noise, 4, self.pixels));
    }

    fn mix(&mut self, matrix: &[f32]) {
        self.matrix.write(&step_numbers([0.0; HEAD], &[], matrix, self.registers.shape()[0]));
        self.mix.run();
        self.seen = None;
    }

    fn step<'a>(&'a mut self, step: &'a Step) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move {
            let plan = if step.plain { &self.plain } else { &self.plan };
            let Some(plan) = plan else { return Ok(()) };
            let [skip, out] = step.denoised();
            let first = [step.index as f32, step.input_scale(), skip, out, step.sigma, 0.0, 0.0, 0.0];
            let mut numbers = step_numbers(first, &step.weights, &step.mix, self.registers.shape()[0]);
            numbers.resize(self.step.len(), 0.0);
            self.step.write(&numbers);
            plan.run();
            // Who looked at the last step will look at this one: then the numbers come back in the wait for the step.
            let look = self.watched.take().then(|| self.registers.read_item(DENOISED));
            self.gpu.finish().await?;
            self.seen = match look {
                Some(numbers) => Some(numbers.await?),
                None => None,
            };
            if step.index + 1 == self.evaluations {
                // The decoder needs the arena's memory more.
                (self.plan, self.plain) = (None, None);
            }
            Ok(())
        })
    }

    fn read(&self, register: usize) -> LocalFuture<'_, Result<Vec<f32>>> {
        Box::pin(async move {
            let seen = if register == DENOISED { self.seen.clone() } else { None };
            self.watched.set(self.watched.get() || register == DENOISED);
            let values = match seen {
                Some(values) => values,
                None => self.registers.read_item(register).await?,
            };
            Ok(values.chunks(4 * self.pixels).flat_map(to_nchw).collect())
        })
    }

    fn context(&self) -> LocalFuture<'_, Result<Vec<f32>>> {
        Box::pin(self.prompts.context.read())
    }

    fn stats(&self) -> Option<Stats> {
        self.plan.as_ref().map(Plan::stats)
    }
}

/// (pictures, C, pixels) → (pictures, pixels, C padded to a multiple of four with zeros).
pub(super) fn to_nhwc(values: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let padded = channels.next_multiple_of(4);
    let mut result = vec![0.0; values.len() / channels * padded];
    for (from, to) in values.chunks(channels * pixels).zip(result.chunks_mut(pixels * padded)) {
        for (i, pixel) in to.chunks_mut(padded).enumerate() {
            pixel.iter_mut().take(channels).enumerate().for_each(|(c, value)| *value = from[c * pixels + i]);
        }
    }
    result
}

/// A picture's (pixels, 4) → (4, pixels).
fn to_nchw(values: &[f32]) -> Vec<f32> {
    (0..4).flat_map(|c| values.iter().skip(c).step_by(4)).copied().collect()
}

/// What `sampler_step` calls `repaint`, for pictures of so many `pixels`.
fn repaint_planes(gpu: &Gpu, repaint: &Repaint, [h, w]: [usize; 2], pixels: usize) -> Tensor {
    let Repaint { picture, noise, before, after } = repaint;
    let masks = before.iter().zip(after).flat_map(|(before, after)| [*before, *after, 0.0, 0.0]);
    let masks: Vec<f32> = masks.collect::<Vec<f32>>().repeat(h * w / pixels);
    let planes = [to_nhwc(picture, 4, pixels), to_nhwc(noise, 4, pixels), masks].concat();
    gpu.upload("repaint", &[3, h, w, 4], Storage::F32, &planes)
}
