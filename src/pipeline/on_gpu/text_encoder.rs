//! The text encoder on the GPU: it encodes prompts, and may leave until there are others.

use std::cell::RefCell;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::files::Checkpoint;
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{tune, weigh_tokens, weigh_windows};
use crate::models::{Clip, ClipEmbeddings};
use crate::prompt::{Syntax, WINDOW};
use crate::weights::Weights;

use super::super::conditioning::outside;
use super::super::networks::Windows;
use super::prompts::table;

/// A checkpoint's text encoder.
pub struct TextEncoder {
    gpu: Gpu,
    embeddings: ClipEmbeddings,
    /// `None` once it was given back.
    clip: RefCell<Option<Rc<Clip>>>,
    /// Where it is read again.
    checkpoint: Checkpoint,
    /// What was encoded last, and the bank it gave: the same prompts need no encoder.
    last: RefCell<Option<(Key, Tensor)>>,
}

/// Tells windows apart, and how they are encoded.
type Key = [u8; 32];

impl TextEncoder {
    /// The one of a checkpoint.
    pub fn load(weights: &Weights) -> Result<Self> {
        let w = weights.at("text_encoder");
        let embeddings = ClipEmbeddings::load(&w)?;
        let clip = Clip::load(&w, embeddings.width())?;
        Ok(Self {
            gpu: weights.gpu().clone(),
            embeddings,
            clip: RefCell::new(Some(Rc::new(clip))),
            checkpoint: weights.checkpoint().clone(),
            last: RefCell::default(),
        })
    }

    /// Its rows, which stay on the CPU.
    pub fn embeddings(&self) -> &ClipEmbeddings {
        &self.embeddings
    }

    /// Gives the GPU's memory back where the weights can be read again at little cost.
    pub fn give_back(&self) {
        if self.checkpoint.sources.iter().all(|source| source.is_local()) {
            self.clip.take();
        }
    }

    /// The encoder, read again if it was given back. A failure leaves it away: the next call tries again.
    async fn clip(&self) -> Result<Rc<Clip>> {
        if let Some(clip) = self.clip.borrow().clone() {
            return Ok(clip);
        }
        let weights = Weights::new(&self.gpu, self.checkpoint.clone());
        let clip = Rc::new(Clip::load(&weights.at("text_encoder"), self.embeddings.width())?);
        let mut filling = weights.fill();
        while filling.step().await? {}
        self.clip.replace(Some(clip.clone()));
        Ok(clip)
    }

    /// Encodes all windows into one bank of weighed rows (windows, 77, C).
    pub async fn encode(&self, windows: &Windows, clip_skip: usize) -> Result<Tensor> {
        let key = key(windows, clip_skip);
        if let Some((_, bank)) = self.last.borrow().as_ref().filter(|(last, _)| *last == key) {
            return Ok(bank.clone());
        }
        let clip = self.clip().await?;
        let (gpu, shape) = (&self.gpu, [windows.count, WINDOW, self.embeddings.width()]);
        let rows = gpu.upload("rows", &shape, gpu.storage(), &self.placed(&windows.rows)?);
        let weights = windows.weights.as_ref().map(|(syntax, weights)| (*syntax, table(gpu, *syntax, weights)));
        let encode = || {
            let hidden = clip.forward(&rows, clip_skip);
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
        };
        tune(gpu, encode).await?;
        gpu.prepare(encode).await?;
        let (plan, bank) = gpu.record("clip", encode);
        plan.run();
        // What did not work is not remembered.
        gpu.finish().await?;
        self.last.replace(Some((key, bank.clone())));
        Ok(bank)
    }

    /// Rows (windows, 77, C) with their positions added.
    fn placed(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let position = |i| self.embeddings.position(i).ok_or_else(|| outside("position", i));
        let places = (0..WINDOW).map(position).collect::<Result<Vec<_>>>()?.concat();
        Ok(rows.iter().zip(places.iter().cycle()).map(|(word, place)| word + place).collect())
    }
}

/// The rows themselves may be 60 MB.
fn key(windows: &Windows, clip_skip: usize) -> Key {
    let mut sha256 = Sha256::new();
    sha256.update((clip_skip as u64).to_le_bytes());
    if let Some((syntax, weights)) = &windows.weights {
        sha256.update([1 + *syntax as u8]);
        sha256.update(bytemuck::cast_slice::<f32, u8>(weights));
    }
    sha256.update((windows.count as u64).to_le_bytes());
    sha256.update(bytemuck::cast_slice::<f32, u8>(&windows.rows));
    sha256.finalize().into()
}
