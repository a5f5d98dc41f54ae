//! A loaded model, and a picture in the making.

mod conditioning;
mod generation;
mod image;
mod params;

use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::files::Source;
use crate::files::checkpoint::Checkpoint;
use crate::files::textual_inversion::{Embedding, read_embeddings};
use crate::gpu::{Gpu, Options};
use crate::models::{Clip, Unet, Vae};
use crate::prompt::{self, Library, Parsed, Scenario, Syntax, Tokenizer, expand, parse, scenario};
use crate::weights::{Filling, Weights};

pub use conditioning::Conditioning;
pub use generation::{Generation, Progress};
pub use image::Image;
pub use params::Params;

/// A Stable Diffusion 1.5 checkpoint on the GPU, with the embeddings added to it.
pub struct StableDiffusion {
    gpu: Gpu,
    clip: Clip,
    unet: Unet,
    vae: Vae,
    tokenizer: Tokenizer,
    library: Library,
    filling: Filling,
}

impl StableDiffusion {
    /// Reads the header of a checkpoint (one `.safetensors`, or the files of a diffusers folder) and makes room for it
    /// on the GPU. [`load`](Self::load) then brings in the numbers.
    ///
    /// # Errors
    /// No GPU, or what is wrong with the files, in a sentence for the user.
    pub async fn open(sources: Vec<Rc<dyn Source>>, options: Options) -> Result<Self> {
        let checkpoint = Checkpoint::open(sources).await?;
        let gpu = Gpu::open(options).await?;
        let weights = Weights::new(&gpu, checkpoint);
        let clip = Clip::load(&weights.at("text_encoder"))?;
        let unet = Unet::load(&weights.at("unet"), clip.width())?;
        let vae = Vae::load(&weights.at("vae"))?;
        let filling = weights.fill();
        gpu.finish().await?;
        Ok(Self { gpu, clip, unet, vae, tokenizer: Tokenizer::clip()?, library: Library::new(), filling })
    }

    /// Brings in a slice of the checkpoint; false once all is there.
    ///
    /// # Errors
    /// When the file cannot be read or the GPU fails.
    pub async fn load(&mut self) -> Result<bool> {
        self.filling.step().await
    }

    /// Bytes loaded, and bytes in all.
    pub fn loaded(&self) -> (u64, u64) {
        (self.filling.loaded(), self.filling.total())
    }

    /// The device it lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Numbers per token: the width an embedding must have.
    pub fn text_width(&self) -> usize {
        self.clip.width()
    }

    /// Reads an embedding file and adds what fits this model, under the file's name.
    ///
    /// # Errors
    /// What is wrong with the file; [`Code::WrongWidth`] when it was made for another model.
    pub fn add_embedding(&mut self, file_name: &str, bytes: &[u8]) -> Result<Vec<Rc<Embedding>>> {
        let width = self.clip.width();
        let (fitting, others): (Vec<_>, Vec<_>) =
            read_embeddings(file_name, bytes)?.into_iter().partition(|embedding| embedding.width == width);
        if let (true, Some(other)) = (fitting.is_empty(), others.first()) {
            let sentence = format!(
                "embedding {} ignored: {} != {width}. Its vectors have {} numbers, this model's words have {width}{}",
                other.name,
                other.width,
                other.width,
                made_for(other.width)
            );
            return Err(Error::new(Code::WrongWidth, sentence));
        }
        let names: Vec<String> = fitting.iter().map(|embedding| embedding.name.clone()).collect();
        for embedding in fitting {
            self.library.insert(embedding);
        }
        Ok(names.iter().filter_map(|name| self.library.get(name)).map(|(_, embedding)| embedding.clone()).collect())
    }

    /// The embeddings at hand.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Takes an embedding out; false if there is none of that name.
    pub fn remove_embedding(&mut self, name: &str) -> bool {
        self.library.remove(name).is_some()
    }

    /// Reads a prompt as [`start`](Self::start) would.
    pub fn parse(&self, prompt: &str, syntax: Syntax) -> Parsed {
        parse(prompt, syntax, &self.tokenizer, &self.library)
    }

    /// Reads the negative prompt and the prompt of a picture for all its steps.
    fn read_prompts(&self, params: &Params) -> [Scenario; 2] {
        [(&params.negative_prompt, true), (&params.prompt, false)].map(|(text, negative)| {
            let options = prompt::Options {
                syntax: params.syntax,
                steps: params.steps,
                keep_whole: params.keep_embeddings_whole,
                negative,
            };
            let text = match params.syntax {
                Syntax::Comfy => expand(text, params.seed),
                Syntax::A1111 => text.clone(),
            };
            scenario(&text, &options, &self.tokenizer, &self.library)
        })
    }

    /// Begins a picture: encodes the prompts, draws the noise, records the steps.
    ///
    /// # Errors
    /// [`Code::BadOption`] for parameters that cannot be used, and whatever the GPU reports.
    pub async fn start(&self, params: &Params) -> Result<Generation> {
        if self.filling.loaded() < self.filling.total() {
            return Err(Error::new(Code::Busy, "the model is still being loaded: wait until load() says it is done"));
        }
        Generation::start(self, params).await
    }
}

fn made_for(width: usize) -> &'static str {
    match width {
        768 => ": it was made for Stable Diffusion 1.x",
        1024 => ": it was made for Stable Diffusion 2.x",
        1280 => ": it was made for SDXL's second text encoder",
        _ => ": it was made for another model",
    }
}
