//! A loaded model, and a picture in the making.

mod conditioning;
mod generation;
mod image;
mod library;
mod model;
mod params;
mod recipe;

use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::files::Source;
use crate::files::{Checkpoint, vae_file};
use crate::gpu::{Gpu, Options};
use crate::models::{Clip, Unet, Vae};
use crate::prompt::{self, Library, Scenario, Syntax, Tokenizer, expand, scenario};
use crate::weights::{Filling, Weights};

pub use conditioning::Conditioning;
pub use generation::{Generation, Progress};
pub use image::Image;
pub use library::Craft;
pub use model::Model;
pub use params::Params;
pub use recipe::KEEP_WHOLE;

/// A Stable Diffusion 1.5 checkpoint on the GPU, with the embeddings added to it.
pub struct StableDiffusion {
    gpu: Gpu,
    clip: Clip,
    unet: Unet,
    vae: Vae,
    tokenizer: Tokenizer,
    library: Library,
    filling: Filling,
    model: Model,
    /// A VAE that will take the place of the checkpoint's once it is loaded.
    next_vae: Option<(Vae, Filling, String)>,
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
        let gpu = Gpu::open(options).await?;
        let weights = Weights::new(&gpu, checkpoint);
        let clip = Clip::load(&weights.at("text_encoder"))?;
        let unet = Unet::load(&weights.at("unet"), clip.width())?;
        let vae = Vae::load(&weights.at("vae"))?;
        let filling = weights.fill();
        gpu.finish().await?;
        let (tokenizer, library) = (Tokenizer::clip()?, Library::new());
        Ok(Self { gpu, clip, unet, vae, tokenizer, library, filling, model, next_vae: None })
    }

    /// Opens a separate VAE file; [`load`](Self::load) then brings it in, and it decodes from then on.
    ///
    /// # Errors
    /// What is wrong with the file, in a sentence for the user. The VAE in use stays.
    pub async fn open_vae(&mut self, source: Rc<dyn Source>) -> Result<()> {
        let name = source.name().rsplit('/').next().unwrap_or_default().to_string();
        let weights = Weights::new(&self.gpu, vae_file::open(source).await?);
        let vae = Vae::load(&weights.at("vae"))?;
        self.next_vae = Some((vae, weights.fill(), name));
        self.gpu.finish().await
    }

    /// Brings in a slice of the checkpoint; false once all is there.
    ///
    /// # Errors
    /// When the file cannot be read or the GPU fails.
    pub async fn load(&mut self) -> Result<bool> {
        if self.filling.step().await? {
            return Ok(true);
        }
        let Some((_, filling, _)) = &mut self.next_vae else { return Ok(false) };
        match filling.step().await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                self.next_vae = None;
                return Err(error);
            }
        }
        if let Some((vae, _, name)) = self.next_vae.take() {
            self.vae = vae;
            self.model.vae = Some(name);
        }
        Ok(false)
    }

    /// Bytes loaded, and bytes in all.
    pub fn loaded(&self) -> (u64, u64) {
        let more = self.next_vae.as_ref().map_or((0, 0), |(_, filling, _)| (filling.loaded(), filling.total()));
        (self.filling.loaded() + more.0, self.filling.total() + more.1)
    }

    /// Gives up a separate VAE that is not fully loaded.
    pub fn drop_vae(&mut self) {
        self.next_vae = None;
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

    /// The device it lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Numbers per token: the width an embedding must have.
    pub fn text_width(&self) -> usize {
        self.clip.width()
    }

    /// Reads a prompt as [`start`](Self::start) would, with the default steps and seed.
    pub fn read(&self, prompt: &str, syntax: Syntax) -> Scenario {
        self.read_prompt(prompt, false, &Params { syntax, ..Params::default() })
    }

    /// Reads the negative prompt and the prompt of a picture for all its steps.
    fn read_prompts(&self, params: &Params) -> [Scenario; 2] {
        [(&params.negative_prompt, true), (&params.prompt, false)]
            .map(|(text, negative)| self.read_prompt(text, negative, params))
    }

    fn read_prompt(&self, text: &str, negative: bool, params: &Params) -> Scenario {
        let options = prompt::Options {
            syntax: params.syntax,
            steps: params.steps,
            keep_whole: params.keep_embeddings_whole,
            negative,
        };
        let text = match params.syntax {
            Syntax::Comfy => expand(text, params.seed),
            Syntax::A1111 => text.to_string(),
        };
        scenario(&text, &options, &self.tokenizer, &self.library)
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
