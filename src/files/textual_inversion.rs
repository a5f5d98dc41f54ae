//! Textual Inversion embeddings: a few vectors that stand where a word's row would.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::array::DType;
use super::pickle::Pickle;
use super::sniff::{self, Kind};
use super::ti_layout::{self, Node, Place, Tensor, Term};
use super::torch_file::{TorchFile, floats};
use super::{image_embedding, safetensors, shown};
use crate::error::{Code, Error, Result};

/// The largest file read as an embedding; 1024 vectors of f64 take 6 MiB.
pub const LARGEST_FILE: u64 = 32 << 20;

const MOST_VECTORS: usize = 1024;
const WANTED: &str = "a Textual Inversion embedding (.safetensors, .pt, .bin, or a PNG or WebP that carries one)";

/// The vectors of one embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The name prompts use: the file's, without folders and extension; a picture's is written in it.
    pub name: String,
    /// The key the vectors lie under in the file: `*`, `emb_params`, the token.
    pub key: String,
    /// Number of vectors: how many of a prompt's 75 places it takes.
    pub vectors: usize,
    /// Length of each vector: 768 for Stable Diffusion 1.5.
    pub width: usize,
    /// The values, (vectors, width).
    pub values: Vec<f32>,
    /// How the file stores them.
    pub dtype: DType,
    /// Which program's layout the file has.
    pub layout: &'static str,
    /// SHA-256 of the whole file, 64 hexadecimal digits.
    pub sha256: String,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

impl Embedding {
    /// The mean length (L2) of its vectors; words of Stable Diffusion 1.5 have about 0.4.
    #[must_use]
    pub fn mean_norm(&self) -> f32 {
        let norm = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        let norms: f32 = self.values.chunks_exact(self.width.max(1)).map(norm).sum();
        norms / self.vectors.max(1) as f32
    }
}

/// Reads every embedding in a file; most have one.
///
/// # Errors
/// What the file is instead, or what is wrong with it, in a sentence for the user.
pub fn read_embeddings(file_name: &str, bytes: &[u8]) -> Result<Vec<Embedding>> {
    let (node, values) = open(file_name, bytes)?;
    let found = ti_layout::find(file_name, &node)?;
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let picture = sniff::sniff(head(bytes)).is_picture();
    let written = if picture { image_embedding::name(&node) } else { None };
    let (name, mut names) = (written.unwrap_or_else(|| stem(file_name)), HashSet::new());
    let mut embeddings = Vec::new();
    for term in &found.terms {
        let mut embedding = read_term(file_name, term, &values)?;
        embedding.name = match &term.suffix {
            Some(suffix) => format!("{name}#{suffix}"),
            None => name.clone(),
        };
        if !names.insert(embedding.name.clone()) {
            continue;
        }
        embedding.layout = if picture { "A1111 picture" } else { found.layout };
        embedding.sha256 = sha256.clone();
        embedding.warnings.splice(0..0, found.notices.iter().cloned());
        embeddings.push(embedding);
    }
    Ok(embeddings)
}

/// The names at the top of an embedding file, for listings.
///
/// # Errors
/// As [`read_embeddings`], for what is wrong with the container.
pub fn top_level_keys(file_name: &str, bytes: &[u8]) -> Result<Vec<String>> {
    let (node, _) = open(file_name, bytes)?;
    Ok(node.keys().into_iter().map(str::to_string).collect())
}

fn head(bytes: &[u8]) -> &[u8] {
    bytes.get(..sniff::HEAD).unwrap_or(bytes)
}

/// Reads a tensor's values.
type Values<'a> = Box<dyn Fn(&Tensor) -> Result<Vec<f32>> + 'a>;

/// A file's content without its values, and the way to them.
fn open<'a>(file: &'a str, bytes: &'a [u8]) -> Result<(Node, Values<'a>)> {
    check_size(file, bytes.len() as u64)?;
    match sniff::sniff(head(bytes)) {
        Kind::Safetensors => {
            let node = Node::of_safetensors(safetensors::header_of(file, bytes)?);
            Ok((node, Box::new(move |tensor| array_values(file, bytes, tensor))))
        }
        Kind::Zip | Kind::TorchLegacy => {
            let torch = TorchFile::read(file, bytes)?;
            let node = Node::of_pickle(file, &torch.pickle)?;
            Ok((node, Box::new(move |tensor| torch_values(&torch, tensor))))
        }
        // A bare pickle holds no tensors; but if it carries code, that is what the user should hear.
        Kind::Pickle => match Pickle::read(file, bytes) {
            Err(unsafe_pickle) if unsafe_pickle.code == Code::UnsafePickle => Err(unsafe_pickle),
            _ => Err(sniff::refusal(Kind::Pickle, file, WANTED)),
        },
        picture if picture.is_picture() => {
            let node = image_embedding::read(file, bytes, picture)?;
            Ok((node, Box::new(picture_values)))
        }
        kind => Err(sniff::refusal(kind, file, WANTED)),
    }
}

/// Refuses a file too large to be an embedding, before it is read.
///
/// # Errors
/// [`Code::TooLarge`].
pub fn check_size(file_name: &str, size: u64) -> Result<()> {
    if size <= LARGEST_FILE {
        return Ok(());
    }
    let message = format!(
        "{} has {} MiB, too much for a Textual Inversion embedding (at most {}). It looks like a checkpoint or a LoRA.",
        shown(file_name),
        size >> 20,
        LARGEST_FILE >> 20
    );
    Err(Error::new(Code::TooLarge, message))
}

/// The file's name without folders and without an extension that embeddings have.
fn stem(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => {
            let extension = extension.to_ascii_lowercase();
            let known = ["pt", "pt2", "pth", "bin", "ckpt", "pkl", "safetensors", "sft", "png", "webp"];
            if known.contains(&extension.as_str()) { stem.to_string() } else { name.to_string() }
        }
        _ => name.to_string(),
    }
}

fn array_values(file: &str, bytes: &[u8], tensor: &Tensor) -> Result<Vec<f32>> {
    let Place::Array(array) = &tensor.place else { return Ok(Vec::new()) };
    let range = array.offset as usize..(array.offset + array.length) as usize;
    let values = bytes.get(range).and_then(|bytes| floats(bytes, array.dtype));
    values.ok_or_else(|| wrong_dtype(file, &array.name, array.dtype))
}

fn torch_values(torch: &TorchFile, tensor: &Tensor) -> Result<Vec<f32>> {
    let Place::Torch(tensor) = &tensor.place else { return Ok(Vec::new()) };
    torch.values(tensor)
}

fn picture_values(tensor: &Tensor) -> Result<Vec<f32>> {
    let Place::Values(values) = &tensor.place else { return Ok(Vec::new()) };
    Ok(values.to_vec())
}

fn wrong_dtype(file: &str, key: &str, dtype: DType) -> Error {
    let message =
        format!("{}: \"{}\" is stored as {}, expected F16, BF16, F32 or F64.", shown(file), shown(key), dtype.name());
    Error::new(Code::WrongDtype, message)
}

/// Reads one embedding; its name, layout and hash are the caller's to fill in.
fn read_term(file: &str, term: &Term, values: &dyn Fn(&Tensor) -> Result<Vec<f32>>) -> Result<Embedding> {
    let key = shown(&term.key);
    let (mut vectors, mut width, mut all) = (0, None, Vec::new());
    for tensor in &term.tensors {
        let (n, w) = rows(file, &key, &tensor.shape)?;
        if *width.get_or_insert(w) != w {
            let message = format!("{}: \"{key}\" mixes vectors of width {} and {w}.", shown(file), width.unwrap_or(0));
            return Err(Error::new(Code::WrongShape, message));
        }
        vectors += n;
        if vectors > MOST_VECTORS {
            let message =
                format!("{}: \"{key}\" has {vectors} vectors or more, the most is {MOST_VECTORS}.", shown(file));
            return Err(Error::new(Code::TooLarge, message));
        }
        all.extend(values(tensor)?);
    }
    let (Some(first), Some(width), true) = (term.tensors.first(), width.filter(|width| *width > 0), vectors > 0) else {
        return Err(ti_layout::no_vectors(file, &format!("\"{key}\" is empty")));
    };
    if let Some(at) = all.iter().position(|value| !value.is_finite()) {
        let message = format!(
            "{}: vector {} of \"{key}\" has the value {}; the embedding is broken (its training may have diverged).",
            shown(file),
            at / width + 1,
            all.get(at).copied().unwrap_or(f32::NAN)
        );
        return Err(Error::new(Code::NotFinite, message));
    }
    let warnings = warnings(vectors, width, &all);
    Ok(Embedding {
        name: String::new(),
        key: term.key.clone(),
        vectors,
        width,
        values: all,
        dtype: first.dtype,
        layout: "",
        sha256: String::new(),
        warnings,
    })
}

/// How many vectors of which width a tensor of this shape is.
fn rows(file: &str, key: &str, shape: &[usize]) -> Result<(usize, usize)> {
    const WIDTHS: [usize; 3] = [768, 1024, 1280];
    let refused = |what: &str| {
        let message = format!("{}: \"{key}\" has the shape {shape:?}{what}. Expected (vectors, width).", shown(file));
        Error::new(Code::WrongShape, message)
    };
    match shape {
        [width] => Ok((1, *width)),
        [vectors, width] | [1, vectors, width] => {
            let transposed = WIDTHS.contains(vectors) && !WIDTHS.contains(width);
            if transposed { Err(refused(", which looks transposed")) } else { Ok((*vectors, *width)) }
        }
        _ => Err(refused("")),
    }
}

fn warnings(vectors: usize, width: usize, values: &[f32]) -> Vec<String> {
    let mut warnings = Vec::new();
    match width {
        1024 => warnings
            .push("Made for Stable Diffusion 2.x (1024 values a vector); Stable Diffusion 1.5 needs 768.".to_string()),
        1280 => warnings.push(
            "Made for SDXL's second text encoder (1280 values a vector); Stable Diffusion 1.5 needs 768.".to_string(),
        ),
        _ => {}
    }
    if vectors > 75 {
        warnings.push(format!("Its {vectors} vectors do not fit into one window of 75 and will be split."));
    }
    let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    if largest > 10.0 {
        warnings.push(format!(
            "Its largest value is {largest:.1}, where words have about 0.05: expect it to overpower the prompt."
        ));
    }
    warnings
}
