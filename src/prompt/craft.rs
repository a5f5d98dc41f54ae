//! Embeddings made without training: from words, mixed, joined, scaled, picked apart (`embeddings.md` §6.4).
//!
//! What comes out has the layout `crafted`, the key `emb_params` and no `sha256`: its hash is that of the file it is saved as,
//! which the writer knows. Values are checked: what is not finite is refused.

use super::{Tokenizer, short};
use crate::error::{Code, Error, Result};
use crate::files::DType;
use crate::files::textual_inversion::Embedding;

/// No reader takes more.
const MOST_VECTORS: usize = 1024;

/// The rows of a phrase's tokens: a prompt with this embedding is the prompt with the phrase in its place, bit for bit.
///
/// `row` gives the token table's rows.
///
/// # Errors
/// [`Code::BadOption`] for a phrase without tokens or with too many, [`Code::WrongShape`] if the table lacks one of them.
pub fn from_text(
    name: &str,
    phrase: &str,
    tokenizer: &Tokenizer,
    row: impl Fn(u32) -> Option<Vec<f32>>,
) -> Result<Embedding> {
    let ids = tokenizer.encode(phrase);
    if ids.is_empty() {
        return Err(bad(format!("\u{201c}{}\u{201d} has no words to make an embedding of.", short(phrase))));
    }
    check_count(ids.len())?;
    let (mut values, mut width) = (Vec::new(), None);
    for id in ids {
        let word = row(id).filter(|word| *width.get_or_insert(word.len()) == word.len()).ok_or_else(|| {
            let shown = tokenizer.decode(id);
            Error::new(
                Code::WrongShape,
                format!("The text encoder has no row for the token {id} (\u{201c}{shown}\u{201d})."),
            )
        })?;
        values.extend(word);
    }
    crafted(name, width.unwrap_or(0), values)
}

/// `Σ weight·embedding`, vector by vector: first with first, second with second. An embedding that has fewer vectors than
/// another adds nothing to the later ones, as if it went on with zeros.
///
/// # Errors
/// [`Code::BadOption`] for nothing to mix or a weight that is no number, [`Code::WrongWidth`] for different widths,
/// [`Code::NotFinite`] if the sums overflow.
pub fn mix(name: &str, parts: &[(f32, &Embedding)]) -> Result<Embedding> {
    let width = common_width(parts.iter().map(|(_, embedding)| *embedding))?;
    let longest = parts.iter().map(|(_, embedding)| embedding.values.len()).max().unwrap_or(0);
    // Sums are kept in f64, so that the order of the parts does not show.
    let mut sums = vec![0.0f64; longest];
    for (weight, embedding) in parts {
        if !weight.is_finite() {
            return Err(bad(format!("{weight} is not a weight for \u{201c}{}\u{201d}.", short(&embedding.name))));
        }
        sums.iter_mut().zip(&embedding.values).for_each(|(sum, value)| *sum += f64::from(*weight) * f64::from(*value));
    }
    crafted(name, width, sums.into_iter().map(|sum| sum as f32).collect())
}

/// All vectors of the first, then all of the second, …
///
/// # Errors
/// [`Code::BadOption`] for nothing to join or too many vectors, [`Code::WrongWidth`] for different widths.
pub fn concatenate(name: &str, parts: &[&Embedding]) -> Result<Embedding> {
    let width = common_width(parts.iter().copied())?;
    check_count(parts.iter().map(|embedding| embedding.vectors).sum())?;
    crafted(name, width, parts.iter().flat_map(|embedding| embedding.values.iter().copied()).collect())
}

/// Every value times a factor: another strength, the same direction.
///
/// # Errors
/// [`Code::BadOption`] for a factor that is no number, [`Code::NotFinite`] if the products overflow.
pub fn scale(name: &str, embedding: &Embedding, factor: f32) -> Result<Embedding> {
    mix(name, &[(factor, embedding)])
}

/// Some of an embedding's vectors, counted from 0, in the order given; one may be taken more than once.
///
/// # Errors
/// [`Code::BadOption`] for no vectors, too many, or one that the embedding does not have.
pub fn pick(name: &str, embedding: &Embedding, vectors: &[usize]) -> Result<Embedding> {
    check_count(vectors.len())?;
    let width = common_width([embedding])?;
    let rows: Vec<&[f32]> = embedding.values.chunks_exact(width.max(1)).collect();
    let mut values = Vec::with_capacity(vectors.len() * width);
    for vector in vectors {
        values.extend_from_slice(rows.get(*vector).ok_or_else(|| {
            let count = rows.len();
            bad(format!(
                "\u{201c}{}\u{201d} has {count} vectors; there is no number {}.",
                short(&embedding.name),
                vector + 1
            ))
        })?);
    }
    crafted(name, width, values)
}

fn bad(sentence: String) -> Error {
    Error::new(Code::BadOption, sentence)
}

fn check_count(vectors: usize) -> Result<()> {
    if vectors <= MOST_VECTORS {
        return Ok(());
    }
    Err(bad(format!("An embedding of {vectors} vectors is too large; the most is {MOST_VECTORS}.")))
}

/// The width of all, if there are any and they have one.
fn common_width<'a>(embeddings: impl IntoIterator<Item = &'a Embedding>) -> Result<usize> {
    let mut first: Option<&Embedding> = None;
    for embedding in embeddings {
        let first = *first.get_or_insert(embedding);
        if embedding.width != first.width {
            let sentence = format!(
                "\u{201c}{}\u{201d} has vectors of {} numbers and \u{201c}{}\u{201d} of {}: they are for different models.",
                short(&first.name),
                first.width,
                short(&embedding.name),
                embedding.width
            );
            return Err(Error::new(Code::WrongWidth, sentence));
        }
    }
    first.map(|first| first.width).ok_or_else(|| bad("There is no embedding to make one of.".to_owned()))
}

fn crafted(name: &str, width: usize, values: Vec<f32>) -> Result<Embedding> {
    let vectors = values.len().checked_div(width).unwrap_or(0);
    if vectors == 0 {
        return Err(bad(format!("\u{201c}{}\u{201d} would have no vectors.", short(name))));
    }
    if values.iter().any(|value| !value.is_finite()) {
        let sentence =
            format!("\u{201c}{}\u{201d} would have numbers that are not finite; use smaller weights.", short(name));
        return Err(Error::new(Code::NotFinite, sentence));
    }
    Ok(Embedding {
        name: name.to_owned(),
        key: "emb_params".to_owned(),
        vectors,
        width,
        values,
        dtype: DType::F32,
        layout: "crafted",
        sha256: String::new(),
        warnings: Vec::new(),
    })
}
