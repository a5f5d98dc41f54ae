//! The embeddings at hand: added, looked at, made.

use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::files::textual_inversion::{Embedding, read_embeddings};
use crate::files::{to_a1111_pt, to_kohya_safetensors};
use crate::prompt::{Facts, Library, craft};

use super::StableDiffusion;

/// How an embedding is made without training.
#[derive(Debug, Clone, PartialEq)]
pub enum Craft {
    /// The rows of a phrase's tokens.
    Text(String),
    /// Σ factor · embedding.
    Mix(Vec<(f32, String)>),
    /// One after the other.
    Concatenate(Vec<String>),
    /// All vectors times a factor.
    Scale(String, f32),
    /// Some of the vectors, counted from 0.
    Rows(String, Vec<usize>),
}

/// Nearest words that [`StableDiffusion::embedding_facts`] tells per vector.
const NEAREST: usize = 5;

impl StableDiffusion {
    /// Reads an embedding file and adds what fits this model, under the file's name.
    ///
    /// # Errors
    /// What is wrong with the file; [`Code::WrongWidth`] when it was made for another model.
    pub fn add_embedding(&mut self, file_name: &str, bytes: &[u8]) -> Result<Vec<Rc<Embedding>>> {
        let width = self.networks.text_width();
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
        // Folders are part of the name, as `embedding:sub/name` calls it.
        let folder = file_name.replace('\\', "/").rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
        let add = |mut embedding: Embedding| {
            if let Some(folder) = &folder {
                embedding.name = format!("{folder}{}", embedding.name);
            }
            self.insert(embedding)
        };
        Ok(fitting.into_iter().map(add).collect())
    }

    /// Adds an embedding; a conflict of names becomes one of its warnings.
    fn insert(&mut self, embedding: Embedding) -> Rc<Embedding> {
        let mut noted = embedding.clone();
        let added = self.library.insert(embedding);
        if let Some(notice) = added.notice {
            noted.warnings.push(notice.message);
        }
        noted.name = added.name;
        Rc::new(noted)
    }

    /// The embeddings at hand.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Takes an embedding out; false if there is none of that name.
    pub fn remove_embedding(&mut self, name: &str) -> bool {
        self.library.remove(name).is_some()
    }

    fn embedding(&self, name: &str) -> Result<Rc<Embedding>> {
        let found = self.library.get(name).map(|(_, embedding)| embedding.clone());
        found.ok_or_else(|| {
            let nearest = self.library.nearest(name).map(|near| format!("; did you mean \"{near}\"?"));
            let sentence = format!("there is no embedding \"{name}\"{}", nearest.unwrap_or_default());
            Error::new(Code::BadOption, sentence)
        })
    }

    /// Norms, nearest words and budget of an embedding, against this model's vocabulary.
    ///
    /// # Errors
    /// [`Code::BadOption`] for a name that is unknown.
    pub fn embedding_facts(&self, name: &str) -> Result<Facts> {
        Facts::of(&*self.embedding(name)?, &self.tokenizer, NEAREST, |id| self.networks.token(id))
    }

    /// Makes an embedding of words or of others, and adds it.
    ///
    /// # Errors
    /// [`Code::BadOption`] for names that are unknown and numbers that cannot be used.
    pub fn craft_embedding(&mut self, name: &str, how: &Craft) -> Result<Rc<Embedding>> {
        let all = |names: &[String]| names.iter().map(|name| self.embedding(name)).collect::<Result<Vec<_>>>();
        let mut made = match how {
            Craft::Text(text) => craft::from_text(name, text, &self.tokenizer, |id| self.networks.token(id))?,
            Craft::Mix(terms) => {
                let parts = terms.iter().map(|(factor, name)| Ok((*factor, self.embedding(name)?)));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                craft::mix(name, &parts.iter().map(|(factor, part)| (*factor, &**part)).collect::<Vec<_>>())?
            }
            Craft::Concatenate(names) => {
                let parts = all(names)?;
                craft::concatenate(name, &parts.iter().map(|part| &**part).collect::<Vec<_>>())?
            }
            Craft::Scale(of, factor) => craft::scale(name, &*self.embedding(of)?, *factor)?,
            Craft::Rows(of, rows) => craft::pick(name, &*self.embedding(of)?, rows)?,
        };
        // Known by the hash of the file it would be saved as.
        made.sha256 = read_embeddings(name, &to_kohya_safetensors(&made))?.swap_remove(0).sha256;
        Ok(self.insert(made))
    }

    /// An embedding as a file: kohya's `.safetensors`, or A1111's `.pt`.
    ///
    /// # Errors
    /// [`Code::BadOption`] for a name or format that is unknown.
    pub fn export_embedding(&self, name: &str, format: &str) -> Result<Vec<u8>> {
        let embedding = self.embedding(name)?;
        match format {
            "safetensors" => Ok(to_kohya_safetensors(&embedding)),
            "pt" => Ok(to_a1111_pt(&embedding.name, &embedding.values, embedding.vectors, embedding.width)),
            other => {
                let sentence = format!("format is \"{other}\"; it must be safetensors or pt");
                Err(Error::new(Code::BadOption, sentence))
            }
        }
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
