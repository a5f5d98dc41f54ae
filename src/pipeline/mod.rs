//! A loaded model, and a picture in the making.

mod conditioning;
mod decoders;
mod generation;
mod guidance;
mod hires;
mod image;
mod init;
mod library;
mod mask;
mod masked_area;
mod model;
mod needs;
mod networks;
mod on_cpu;
mod on_gpu;
mod params;
mod preview;
mod recipe;
mod resample;

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::files::Source;
use crate::files::{Checkpoint, taesd_file, vae_file};
use crate::gpu::{Gpu, Options};
use crate::prompt::{self, Library, Scenario, Site, Syntax, Tokenizer, expand, scenario};

use networks::Networks;
use on_cpu::OnCpu;
use on_gpu::OnGpu;
use preview::Preview;

pub use conditioning::Conditioning;
pub use generation::{Generation, Progress};
pub use hires::{Hires, Own, Upscaler};
pub use image::Image;
pub use init::{Init, Picture};
pub use library::Craft;
pub use mask::{Mask, MaskedContent};
pub use masked_area::Area;
pub use model::Model;
pub use needs::{Needs, needs};
pub use params::{Decoder, Params};
pub use resample::{Filter, resample};

/// A Stable Diffusion 1.5 checkpoint, with the embeddings added to it.
pub struct StableDiffusion {
    networks: Box<dyn Networks>,
    tokenizer: Tokenizer,
    library: Library,
    model: Model,
    /// Suits the VAE in use, once a preview was drawn.
    preview: RefCell<Option<Rc<Preview>>>,
}

impl StableDiffusion {
    /// Reads the header of a checkpoint (one `.safetensors`, or the files of a diffusers folder) and makes room for it
    /// on the GPU. [`load`](Self::load) then brings in the numbers.
    ///
    /// # Errors
    /// No GPU, or what is wrong with the files, in a sentence for the user.
    pub async fn open(sources: Vec<Rc<dyn Source>>, options: Options) -> Result<Self> {
        let checkpoint = Checkpoint::open(sources).await?;
        let model = Model::of(&checkpoint);
        Self::of(model, Box::new(OnGpu::open(checkpoint, options).await?))
    }

    /// Opens a small checkpoint on the CPU, in f32: much slower, but it works where there is no GPU.
    ///
    /// # Errors
    /// [`Code::TooLarge`] for a model that is not small, or what is wrong with the files, in a sentence for the user.
    pub async fn open_on_cpu(sources: Vec<Rc<dyn Source>>) -> Result<Self> {
        let checkpoint = Checkpoint::open(sources).await?;
        let model = Model::of(&checkpoint);
        Self::of(model, Box::new(OnCpu::open(&checkpoint)?))
    }

    fn of(model: Model, networks: Box<dyn Networks>) -> Result<Self> {
        Ok(Self {
            networks,
            tokenizer: Tokenizer::clip()?,
            library: Library::new(),
            model,
            preview: RefCell::default(),
        })
    }

    /// Opens a separate VAE file; [`load`](Self::load) then brings it in, and it decodes from then on. A TAESD file is told
    /// by its tensors: it decodes where [`Params::decoder`] or a preview asks for it.
    ///
    /// # Errors
    /// What is wrong with the file, in a sentence for the user. The VAE in use stays.
    pub async fn open_vae(&mut self, source: Rc<dyn Source>) -> Result<Decoder> {
        let name = source.name().rsplit('/').next().unwrap_or_default().to_string();
        if let Some(checkpoint) = taesd_file::open(source.clone()).await? {
            self.networks.open_taesd(checkpoint).await?;
            return Ok(Decoder::Taesd);
        }
        let checkpoint = vae_file::open(source).await?;
        self.networks.open_vae(name, checkpoint).await?;
        Ok(Decoder::Vae)
    }

    /// Brings in a slice of the checkpoint; false once all is there.
    ///
    /// # Errors
    /// When the file cannot be read or the GPU fails.
    pub async fn load(&mut self) -> Result<bool> {
        let more = self.networks.load().await?;
        self.model.vae = self.networks.vae().map(str::to_string);
        if !more {
            // Another VAE may have come in.
            self.preview.take();
        }
        Ok(more)
    }

    /// Bytes loaded, and bytes in all.
    pub fn loaded(&self) -> (u64, u64) {
        self.networks.loaded()
    }

    /// Gives up a separate VAE or TAESD that is not fully loaded.
    pub fn drop_vae(&mut self) {
        self.networks.drop_vae();
    }

    /// What the model is called in recipes.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Hashes a slice of a single-file checkpoint; false once the hash is known. Recipes carry it from then on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn hash(&mut self) -> Result<bool> {
        self.model.hash_slice().await
    }

    /// Bytes of the file that were hashed so far; 0 once the hash is known.
    pub fn hashed(&self) -> u64 {
        self.model.hashed()
    }

    /// The GPU it lives on; `None` on the CPU.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.networks.gpu()
    }

    /// Numbers per token: the width an embedding must have.
    pub fn text_width(&self) -> usize {
        self.networks.text_width()
    }

    /// Reads a prompt as [`start`](Self::start) would, with the default steps and seed.
    pub fn read(&self, prompt: &str, syntax: Syntax) -> Scenario {
        let params = Params { syntax, ..Params::default() };
        self.read_prompt(prompt, false, &params, None)
    }

    /// Where in a prompt embeddings are called.
    pub fn calls(&self, prompt: &str, syntax: Syntax) -> Vec<Site> {
        prompt::sites(prompt, syntax, &self.tokenizer, &self.library)
    }

    /// Reads the negative prompt and the prompt of a picture for all its steps; `first` is the pass before, if there was one.
    fn read_prompts(&self, params: &Params, first: Option<&Params>) -> [Scenario; 2] {
        [(&params.negative_prompt, true), (&params.prompt, false)]
            .map(|(text, negative)| self.read_prompt(text, negative, params, first))
    }

    fn read_prompt(&self, text: &str, negative: bool, params: &Params, first: Option<&Params>) -> Scenario {
        let options = prompt::Options {
            syntax: params.syntax,
            steps: params.evaluations(),
            steps_before: first.map_or(0, Params::evaluations),
            keep_whole: params.keep_embeddings_whole,
            negative,
        };
        let text = match params.syntax {
            // Both passes mean the same text.
            Syntax::Comfy => expand(text, first.unwrap_or(params).seed),
            Syntax::A1111 => text.to_string(),
        };
        scenario(&text, &options, &self.tokenizer, &self.library)
    }

    /// The latents of a picture (4, h, w), in the sampler's scale: the mean of what the VAE's encoder finds.
    ///
    /// # Errors
    /// [`Code::MissingTensors`] for a VAE saved without its encoder, and whatever the GPU reports.
    pub async fn encode(&self, image: &Image) -> Result<Vec<f32>> {
        init::encode(&*self.networks, image).await
    }

    /// The picture of latents (4, height/8, width/8), as a sampler left them.
    ///
    /// # Errors
    /// Whatever the GPU reports.
    pub async fn decode(&self, latents: &[f32], width: usize, height: usize) -> Result<Image> {
        let rgba = self.networks.decode(latents, [height / 8, width / 8], false).await?;
        Ok(Image { width, height, rgba })
    }

    /// Begins a picture: encodes the prompts, draws the noise, records the steps.
    ///
    /// # Errors
    /// [`Code::BadOption`] for parameters that cannot be used, and whatever the GPU reports.
    pub async fn start(&self, params: &Params) -> Result<Generation> {
        self.start_with(params, self.read_prompts(params, None)).await
    }

    /// Begins a picture from a negative prompt and a prompt that were read already, instead of those in `params`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_with(&self, params: &Params, prompts: [Scenario; 2]) -> Result<Generation> {
        if !self.networks.ready() {
            return Err(Error::new(Code::Busy, "the model is still being loaded: wait until load() says it is done"));
        }
        Generation::start(self, params, prompts).await
    }
}
