//! What a picture was made from, as other tools write it: A1111's infotext, ComfyUI's graphs, and the pictures that
//! carry either.
//!
//! ```text
//! picture ──images──▶ texts ─┬─infotext──▶ Recipe
//!                            └─json──graph──graph_reader─▶ Recipe ──infotext_writer, comfy──▶ texts ──images──▶ PNG
//! ```
//!
//! Nothing here knows which samplers or sizes the engine can run: a recipe is what somebody wrote down, with ComfyUI's
//! names, and [`Recipe::notes`] says what was not understood. Everything read is untrusted: texts, never markup.

pub mod comfy;
mod exif;
mod graph;
mod graph_reader;
pub mod images;
pub mod infotext;
mod infotext_writer;
mod jpeg;
mod json;
pub mod names;
mod png;
pub mod second_pass;
pub mod settings;
mod template;
mod webp;

use crate::error::{Code, Error, Result};
use crate::files::clipped;

pub use images::read;

/// The grammar the two prompts are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `embedding:name`, absolute weights.
    Comfy,
    /// Bare names, multiplied weights, schedules.
    A1111,
}

impl Dialect {
    /// The name, as an infotext or a workflow of ours carries it.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Comfy => "ComfyUI",
            Dialect::A1111 => "A1111",
        }
    }

    /// The dialect of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Dialect::Comfy, Dialect::A1111].into_iter().find(|dialect| dialect.name() == name)
    }
}

/// Whose random numbers noise is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rng {
    /// PyTorch's on a CPU.
    Cpu,
    /// PyTorch's on an NVIDIA GPU: A1111's "GPU", where it has one, and "NV".
    Nvidia,
}

/// Pictures made at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// How many: two at least.
    pub size: usize,
    /// Which of them this is, counted from 0, where it is said.
    pub place: Option<usize>,
}

/// A1111's name of [`Rng::Nvidia`] on machines without such a GPU.
const NVIDIA: &str = "NV";

/// What a picture was made from. `None` is what the source does not say: whoever reads keeps what they have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    /// What the picture shows, as the text model got it (after dynamic prompts).
    pub prompt: String,
    /// What it must not show.
    pub negative_prompt: String,
    /// Denoising steps.
    pub steps: Option<usize>,
    /// The sampler: ComfyUI's name, or as written where ComfyUI has none.
    pub sampler: Option<String>,
    /// The noise levels: ComfyUI's name, or as written where ComfyUI has none.
    pub scheduler: Option<String>,
    /// Strength of guidance, finite.
    pub cfg: Option<f64>,
    /// How far guided contrast is brought back to the prompt's own, where it is.
    pub cfg_rescale: Option<f64>,
    /// Seed of the noise.
    pub seed: Option<u64>,
    /// Whose random numbers the noise is made of.
    pub rng: Option<Rng>,
    /// Pixels.
    pub width: Option<usize>,
    /// Pixels.
    pub height: Option<usize>,
    /// 1: the text encoder's last layer; 2: the one before; …
    pub clip_skip: Option<usize>,
    /// The batch it was one of. ComfyUI draws the noise for all of it together; with A1111's conventions the seed is the
    /// picture's own, and the batch does not matter.
    pub batch: Option<Batch>,
    /// The checkpoint's name; ComfyUI writes it with its ending, A1111 without.
    pub model: Option<String>,
    /// The first 10 hex digits of the checkpoint's sha256 (8 of another hash before November 2022).
    pub model_hash: Option<String>,
    /// The name of a separate VAE file.
    pub vae: Option<String>,
    /// The embeddings used: name, and the first 12 hex digits of the file's sha256, or nothing where it is not said.
    pub embeddings: Vec<(String, String)>,
    /// The grammar of the prompts.
    pub dialect: Option<Dialect>,
    /// The prompt before dynamic prompts (`{a|b}`, comments) were worked out, where that changed it: its template. In
    /// ComfyUI's grammar a prompt without one is its own template, so that one with a literal brace has one in any case.
    pub raw_prompt: Option<String>,
    /// The same of the negative prompt.
    pub raw_negative_prompt: Option<String>,
    /// What an infotext says beyond the fields above, key and value, for writing it again.
    pub extra: Vec<(String, String)>,
    /// What was not understood: sentences.
    pub notes: Vec<String>,
}

/// More notes than this help nobody.
const MOST_NOTES: usize = 40;

impl Recipe {
    /// Adds a sentence to the notes, unless it is there.
    fn note(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if self.notes.len() < MOST_NOTES && !self.notes.contains(&sentence) {
            self.notes.push(sentence);
        }
    }

    /// Notes a sampler or scheduler that neither tool has.
    fn note_unknown_names(&mut self) {
        let sampler = self.sampler.as_deref().filter(|name| !names::is_sampler(name)).map(|name| ("sampler", name));
        let scheduler =
            self.scheduler.as_deref().filter(|name| !names::is_scheduler(name)).map(|name| ("scheduler", name));
        let sentence = |(what, name)| format!("The {what} \u{201c}{}\u{201d} is not known.", clipped(name, 60));
        for sentence in [sampler, scheduler].into_iter().flatten().map(sentence).collect::<Vec<_>>() {
            self.note(sentence);
        }
    }
}

/// Reads a recipe out of a text: an infotext, ComfyUI's API JSON or its workflow JSON.
///
/// # Errors
/// [`Code::NoRecipe`] for JSON that is no graph with a sampler, and for text without a line of parameters: such a text
/// may be a prompt, which is for the caller to say.
pub fn from_text(text: &str) -> Result<Recipe> {
    let text = text.trim_start_matches('\u{feff}').trim();
    // A prompt of dynamic choices may begin with a brace too, so what is no JSON gets a second chance.
    let json = text.starts_with(['{', '"']).then(|| comfy::parse(text));
    match json {
        Some(Ok(recipe)) => Ok(recipe),
        not_json => {
            let recipe = infotext::parse(text);
            if recipe.dialect.is_some() {
                return Ok(recipe);
            }
            not_json.unwrap_or_else(|| {
                Err(no_recipe(
                    "This text has no line of parameters (\u{201c}Steps: 20, Sampler: Euler, \u{2026}\u{201d}) and is no ComfyUI workflow.",
                ))
            })
        }
    }
}

fn no_recipe(sentence: impl Into<String>) -> Error {
    Error::new(Code::NoRecipe, sentence)
}
