//! The networks on the GPU, and a picture in the making there: what is recorded, replayed and read back.

use std::cell::Cell;
use std::ops::Range;

use crate::error::Result;
use crate::files::{Checkpoint, LocalFuture};
use crate::gpu::{Gpu, Options, Plan, Stats, Storage, Tensor};
use crate::kernels::{ROW, matrix_offset, sampler_step, scale_latents, step_len, weigh_tokens, weigh_windows};
use crate::models::unet::Prepared;
use crate::models::{Clip, Unet, Vae};
use crate::prompt::{Syntax, WINDOW};
use crate::weights::{Filling, Weights};

use super::conditioning::outside;
use super::decoders::Decoders;
use super::networks::{Canvas, DENOISED, NOISE, Networks, Start, Step, Windows};

/// A checkpoint's networks on the GPU.
pub(super) struct OnGpu {
    gpu: Gpu,
    clip: Clip,
    unet: Unet,
    decoders: Decoders,
    filling: Filling,
}

impl OnGpu {
    /// Makes room for the networks of a checkpoint.
    pub async fn open(checkpoint: Checkpoint, options: Options) -> Result<Self> {
        let gpu = Gpu::open(options).await?;
        let weights = Weights::new(&gpu, checkpoint);
        let clip = Clip::load(&weights.at("text_encoder"))?;
        let unet = Unet::load(&weights.at("unet"), clip.width())?;
        let vae = Vae::load(&weights.at("vae"))?;
        let filling = weights.fill();
        gpu.finish().await?;
        Ok(Self { decoders: Decoders::new(&gpu, vae), gpu, clip, unet, filling })
    }

    async fn load_slice(&mut self) -> Result<bool> {
        if self.filling.step().await? {
            return Ok(true);
        }
        self.decoders.load_slice().await
    }

    /// Encodes all windows into one bank of weighed rows (windows, 77, C).
    fn encode(&self, windows: &Windows, clip_skip: usize) -> Result<Tensor> {
        let (gpu, shape) = (&self.gpu, [windows.count, WINDOW, self.clip.width()]);
        let rows = gpu.upload("rows", &shape, gpu.storage(), &self.placed(&windows.rows)?);
        let weights = windows.weights.as_ref().map(|(syntax, weights)| (*syntax, table(gpu, *syntax, weights)));
        let (plan, bank) = gpu.record("clip", || {
            let hidden = self.clip.forward(&rows, clip_skip);
            let rows = match &weights {
                None => hidden,
                Some((Syntax::A1111, weights)) => weigh_windows(&hidden, weights),
                Some((Syntax::Comfy, weights)) => {
                    let rows = gpu.result(&shape, gpu.storage());
                    weigh_tokens(&hidden, weights, &rows);
                    rows
                }
            };
            rows.keep()
        });
        plan.run();
        Ok(bank)
    }

    /// Rows (windows, 77, C) with their positions added.
    fn placed(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let position = |i| self.clip.position(i).ok_or_else(|| outside("position", i));
        let places = (0..WINDOW).map(position).collect::<Result<Vec<_>>>()?.concat();
        Ok(rows.iter().zip(places.iter().cycle()).map(|(word, place)| word + place).collect())
    }
}

impl Networks for OnGpu {
    fn gpu(&self) -> Option<&Gpu> {
        Some(&self.gpu)
    }

    fn text_width(&self) -> usize {
        self.clip.width()
    }

    fn token(&self, id: u32) -> Option<Vec<f32>> {
        self.clip.token(id)
    }

    fn word(&self, row: &[f32]) -> Vec<f32> {
        self.clip.word(row)
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

    fn check_size(&self, width: usize, height: usize) -> Result<()> {
        self.decoders.check_size(width, height)
    }

    fn check_taesd(&self, width: usize, height: usize) -> Result<()> {
        self.decoders.check_taesd(width, height)
    }

    fn begin<'a>(&'a self, start: &'a Start) -> LocalFuture<'a, Result<Box<dyn Canvas>>> {
        Box::pin(async move { Ok(Box::new(OnGpuCanvas::begin(self, start).await?) as Box<dyn Canvas>) })
    }

    fn decode<'a>(&'a self, latents: &'a [f32], size: [usize; 2], tiled: bool) -> LocalFuture<'a, Result<Vec<u8>>> {
        Box::pin(self.decoders.decode(latents, size, tiled))
    }

    fn decode_by_taesd<'a>(&'a self, latents: &'a [f32], size: [usize; 2]) -> LocalFuture<'a, Result<Vec<u8>>> {
        Box::pin(self.decoders.decode_by_taesd(latents, size))
    }
}

/// A picture in the making on the GPU.
struct OnGpuCanvas {
    gpu: Gpu,
    registers: Tensor, // (R, h, w, 4), f32: the latents, the denoised ones, what the sampler needs besides
    step: Tensor,      // what changes from step to step, f32: see `sampler_step`
    /// An evaluation of the network; given up after the last one.
    plan: Option<Plan>,
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
        let (gpu, [h, w], r) = (&networks.gpu, start.size, start.registers);
        let bank = networks.encode(&start.windows, start.clip_skip)?;
        let mut prompts = Prompts::new(bank, start.prompts.len(), start.longest);
        prompts.show(&start.prompts);
        let prepared = networks.unet.prepare(&start.timesteps, &prompts.context, &prompts.lengths);
        let registers = gpu.empty("registers", &[r, h, w, 4], Storage::F32);
        registers.write_item(0, &to_nhwc(&start.latents, h * w));
        let batch = start.prompts.len();
        let step = gpu.empty("step", &[step_len(batch, r)], Storage::F32);
        let (plan, ()) = gpu.record("unet step", || {
            let x = scale_latents(&registers, &step, batch, gpu.storage());
            let eps = networks.unet.forward(&x, &step, &prepared);
            sampler_step(Some(&eps), &step, &registers);
        });
        let matrix = gpu.empty("matrix", &[step_len(0, r)], Storage::F32);
        let (mix, ()) = gpu.record("mix", || sampler_step(None, &matrix, &registers));
        gpu.finish().await?;
        let evaluations = start.timesteps.len();
        Ok(Self {
            gpu: gpu.clone(),
            registers,
            step,
            plan: Some(plan),
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
fn step_numbers(first: [f32; 4], weights: &[f32], matrix: &[f32], registers: usize) -> Vec<f32> {
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
        self.registers.write_item(NOISE, &to_nhwc(noise, noise.len() / 4));
    }

    fn mix(&mut self, matrix: &[f32]) {
        self.matrix.write(&step_numbers([0.0; 4], &[], matrix, self.registers.shape()[0]));
        self.mix.run();
        self.seen = None;
    }

    fn step<'a>(&'a mut self, step: &'a Step) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(plan) = &self.plan else { return Ok(()) };
            let [skip, out] = step.denoised();
            let first = [step.index as f32, step.input_scale(), skip, out];
            self.step.write(&step_numbers(first, &step.weights, &step.mix, self.registers.shape()[0]));
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
                self.plan = None;
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
            let pixels = values.len() / 4;
            Ok((0..4).flat_map(|c| (0..pixels).map(move |i| (c, i))).map(|(c, i)| values[i * 4 + c]).collect())
        })
    }

    fn context(&self) -> LocalFuture<'_, Result<Vec<f32>>> {
        Box::pin(self.prompts.context.read())
    }

    fn stats(&self) -> Option<Stats> {
        self.plan.as_ref().map(Plan::stats)
    }
}

/// The encoded prompts, and those of them that count now.
struct Prompts {
    context: Tensor, // (B, S, C): shorter prompts are followed by zeros, which nothing looks at
    lengths: Tensor, // (B, padded to a multiple of four), f32: how many rows of `context` each batch item sees
    table: Tensor,   // (B · S, 4): rows of the bank
    gather: Plan,
}

impl Prompts {
    /// `bank` is (windows, 77, C), every prompt of every step, weighed already.
    fn new(bank: Tensor, batch: usize, longest: usize) -> Self {
        let gpu = bank.gpu();
        let context = gpu.empty("context", &[batch, longest, bank.shape()[2]], gpu.storage());
        let lengths = gpu.empty("lengths", &[batch.next_multiple_of(4)], Storage::F32);
        let table = gpu.empty("table", &[batch * longest, 4], Storage::F32);
        let (gather, ()) = gpu.record("context", || weigh_tokens(&bank, &table, &context));
        Self { context, lengths, table, gather }
    }

    fn show(&mut self, prompts: &[Range<usize>]) {
        let longest = self.context.shape()[1];
        let mut table = Vec::with_capacity(self.table.len());
        let mut lengths = vec![0.0; self.lengths.len()];
        for (length, rows) in lengths.iter_mut().zip(prompts) {
            *length = rows.len() as f32;
            table.extend(rows.clone().flat_map(|row| [row as f32, 0.0, 1.0, 0.0]));
            table.extend((rows.len()..longest).flat_map(|_| [-1.0, 0.0, 1.0, 0.0]));
        }
        self.table.write(&table);
        self.lengths.write(&lengths);
        self.gather.run();
    }
}

/// The weights of all rows, as the kernel of the dialect wants them: (windows · 77, 4).
///
/// ComfyUI weighs each row against the same position of the encoded empty prompt, which is the last window.
fn table(gpu: &Gpu, syntax: Syntax, weights: &[f32]) -> Tensor {
    let empty = weights.len() - WINDOW;
    let table: Vec<f32> = weights
        .iter()
        .enumerate()
        .flat_map(|(row, &weight)| match syntax {
            Syntax::Comfy => [row as f32, (empty + row % WINDOW) as f32, weight, 0.0],
            Syntax::A1111 => [weight, 0.0, 0.0, 0.0],
        })
        .collect();
    gpu.upload("weights", &[weights.len(), 4], Storage::F32, &table)
}

/// (4, pixels) → (pixels, 4).
pub(super) fn to_nhwc(values: &[f32], pixels: usize) -> Vec<f32> {
    (0..pixels).flat_map(|i| (0..4).map(move |c| values[c * pixels + i])).collect()
}
