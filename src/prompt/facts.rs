//! What an embedding is like: how strong, and which words its vectors lie near.

use super::{BOS, Tokenizer, WINDOW, short};
use crate::error::{Code, Error, Result};
use crate::files::textual_inversion::Embedding;

/// Trained embeddings are 3 to 35 times as long as words (`embeddings.md` §4.3: 1 to 15 against 0.4); above this there is
/// something to say.
const STRONG: f32 = 10.0;

/// An embedding beside the vocabulary of a text model.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The length (L2) of each vector.
    pub norms: Vec<f32>,
    /// The mean length of the vocabulary's rows; about 0.4 for Stable Diffusion 1.5.
    pub vocabulary_norm: f32,
    /// For each vector its length in units of the vocabulary's.
    pub ratios: Vec<f32>,
    /// For each vector the words nearest in direction, nearest first.
    pub nearest: Vec<Vec<Near>>,
    /// How many of the 75 places of a window it takes, as a fraction; above 1 it does not fit.
    pub budget: f32,
    /// A sentence for the user if its vectors are far longer than words.
    pub warning: Option<String>,
}

/// A word near a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// Its token.
    pub id: u32,
    /// Its text, as [`Tokenizer::decode`] shows it.
    pub word: String,
    /// The cosine of the angle between it and the vector: 1 is the same direction.
    pub cosine: f32,
}

impl Facts {
    /// Compares an embedding with the rows of a token table, and names the `k` nearest words of each vector.
    ///
    /// `row` gives the rows from 0 on and `None` after the last one. Every row is asked for once. Begin and end are no words;
    /// the rows of `<|endoftext|>` and beyond count for the mean length only.
    ///
    /// # Errors
    /// [`Code::WrongWidth`] if the rows have another width than the embedding.
    pub fn of(
        embedding: &Embedding,
        tokenizer: &Tokenizer,
        k: usize,
        row: impl Fn(u32) -> Option<Vec<f32>>,
    ) -> Result<Self> {
        let vectors: Vec<&[f32]> = embedding.values.chunks_exact(embedding.width.max(1)).collect();
        let norms: Vec<f32> = vectors.iter().map(|vector| norm(vector)).collect();
        let mut nearest: Vec<Vec<(u32, f32)>> = vec![Vec::new(); vectors.len()];
        let (mut sum, mut count) = (0.0f64, 0u32);
        while let Some(word) = row(count) {
            if word.len() != embedding.width {
                return Err(other_width(embedding, word.len()));
            }
            let length = norm(&word);
            sum += f64::from(length);
            if count < BOS {
                for ((vector, norm), near) in vectors.iter().zip(&norms).zip(&mut nearest) {
                    let cosine = dot(vector, &word) / (norm * length);
                    keep_nearest(near, (count, cosine), k);
                }
            }
            count += 1;
        }
        let vocabulary_norm = if count == 0 { 0.0 } else { (sum / f64::from(count)) as f32 };
        let ratios: Vec<f32> =
            norms.iter().map(|norm| if vocabulary_norm > 0.0 { norm / vocabulary_norm } else { 1.0 }).collect();
        let named = |(id, cosine)| Near { id, word: tokenizer.decode(id), cosine };
        Ok(Self {
            warning: warning(embedding, &ratios),
            nearest: nearest.into_iter().map(|near| near.into_iter().map(named).collect()).collect(),
            budget: embedding.vectors as f32 / (WINDOW - 2) as f32,
            norms,
            vocabulary_norm,
            ratios,
        })
    }

    /// [`of`](Self::of), for a table in one piece: (tokens, width).
    ///
    /// # Errors
    /// [`Code::WrongWidth`] if the table has another width than the embedding.
    pub fn of_table(embedding: &Embedding, tokenizer: &Tokenizer, k: usize, table: &[f32]) -> Result<Self> {
        let width = embedding.width;
        if width == 0 || !table.len().is_multiple_of(width) {
            return Err(other_width(embedding, table.len()));
        }
        Self::of(embedding, tokenizer, k, |id| {
            let start = (id as usize).checked_mul(width)?;
            table.get(start..start + width).map(<[f32]>::to_vec)
        })
    }
}

fn other_width(embedding: &Embedding, found: usize) -> Error {
    let sentence = format!(
        "\u{201c}{}\u{201d} has vectors of {} numbers, the words it is compared with have {found}.",
        short(&embedding.name),
        embedding.width
    );
    Error::new(Code::WrongWidth, sentence)
}

fn warning(embedding: &Embedding, ratios: &[f32]) -> Option<String> {
    let strongest = ratios.iter().copied().fold(0.0, f32::max);
    (strongest > STRONG).then(|| {
        format!(
            "\u{201c}{}\u{201d} is up to {strongest:.0} times as strong as a word: it may overpower the prompt. Try it with a weight below 1, or scaled down.",
            short(&embedding.name)
        )
    })
}

/// In f64, for sums of squares of many small numbers.
fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt() as f32
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    // Eight sums side by side, so that the compiler may use vector instructions: there are 38 million products per vector.
    let mut sums = [0.0f32; 8];
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in ones.zip(others) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f32>() + rest
}

/// Puts a word among the `k` nearest, which are in falling order; of equals the smaller id comes first.
fn keep_nearest(near: &mut Vec<(u32, f32)>, word: (u32, f32), k: usize) {
    // Rows and vectors of zeros have no direction.
    if !word.1.is_finite() || near.len() == k && near.last().is_none_or(|(_, cosine)| *cosine >= word.1) {
        return;
    }
    let place = near.partition_point(|(_, cosine)| *cosine >= word.1);
    near.insert(place, word);
    near.truncate(k);
}
