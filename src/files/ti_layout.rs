//! Where the vectors lie in an embedding file: a dozen programs have each written their own layout.

use std::rc::Rc;

use super::array::{ArrayInfo, DType};
use super::pickle::{Id, Pickle, TensorRef, Value};
use super::safetensors::Header;
use super::{clipped, shown};
use crate::error::{Code, Error, Result};

/// Values looked at in one file; an embedding has a few dozen.
const MOST_NODES: usize = 20_000;
/// Levels of containers looked into; the deepest layout has three.
const DEEPEST: usize = 5;

/// A file's content, as far as embeddings care.
pub enum Node {
    /// A tensor.
    Tensor(Tensor),
    /// Named values, in the file's order.
    Dict(Vec<(String, Node)>),
    /// A list or tuple.
    List(Vec<Node>),
    /// Text, where it may matter: a picture's name for its embedding.
    Text(String),
    /// Anything else.
    Other,
}

/// A tensor that has not been read yet.
#[derive(Clone)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Where its elements are.
    pub place: Place,
}

/// Where a tensor's elements are.
#[derive(Clone)]
pub enum Place {
    /// In a safetensors file.
    Array(ArrayInfo),
    /// In a torch file.
    Torch(TensorRef),
    /// Read already.
    Values(Rc<Vec<f32>>),
}

impl Tensor {
    fn is_float(&self) -> bool {
        matches!(self.dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
    }
}

/// The rows of one embedding.
pub struct Term {
    /// The key in the file: `*`, `emb_params`, the token.
    pub key: String,
    /// What tells it from the file's other embeddings, when there are several.
    pub suffix: Option<String>,
    /// Its rows, tensor after tensor.
    pub tensors: Vec<Tensor>,
}

/// What a file holds.
pub struct Found {
    /// The layout's name.
    pub layout: &'static str,
    /// The embeddings, in the file's order.
    pub terms: Vec<Term>,
    /// Sentences for the user.
    pub notices: Vec<String>,
}

impl Node {
    /// The content of a safetensors file: a flat dict.
    pub fn of_safetensors(header: Header) -> Self {
        let entries = header.arrays.into_iter().map(|array| {
            let (name, dtype, shape) = (array.name.clone(), array.dtype, array.shape.clone());
            (name, Node::Tensor(Tensor { dtype, shape, place: Place::Array(array) }))
        });
        Node::Dict(entries.collect())
    }

    /// The content of a pickle. Shared parts are looked at once for each place they stand in, so there is a budget.
    pub fn of_pickle(file: &str, pickle: &Pickle) -> Result<Self> {
        let mut left = MOST_NODES;
        Self::of_value(pickle, pickle.root(), DEEPEST, &mut left).ok_or_else(|| {
            let message = format!("{} holds more than {MOST_NODES} values, too many for an embedding.", shown(file));
            Error::new(Code::TooLarge, message)
        })
    }

    fn of_value(pickle: &Pickle, id: Id, depth: usize, left: &mut usize) -> Option<Self> {
        if let Some(tensor) = pickle.tensor(id) {
            let (dtype, shape) = (tensor.storage.dtype, tensor.shape.clone());
            return Some(Node::Tensor(Tensor { dtype, shape, place: Place::Torch(tensor.clone()) }));
        }
        if depth == 0 {
            return Some(Node::Other);
        }
        if let Some(raw) = pickle.raw_pairs(id) {
            *left = left.checked_sub(raw.len() + 1)?;
            let pairs = pickle.pairs(id).unwrap_or_default();
            let pairs = pairs.into_iter().map(|(key, id)| Some((key, Self::of_value(pickle, id, depth - 1, left)?)));
            return Some(Node::Dict(pairs.collect::<Option<_>>()?));
        }
        match pickle.get(id) {
            Value::List(items) | Value::Tuple(items) => {
                *left = left.checked_sub(items.len() + 1)?;
                let items = items.iter().map(|id| Self::of_value(pickle, *id, depth - 1, left));
                Some(Node::List(items.collect::<Option<_>>()?))
            }
            _ => Some(Node::Other),
        }
    }

    /// The value of a dict's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Dict(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    fn float(&self) -> Option<&Tensor> {
        match self {
            Node::Tensor(tensor) if tensor.is_float() => Some(tensor),
            _ => None,
        }
    }

    /// The float tensors among a dict's values, with their keys.
    fn floats(&self) -> Vec<(&str, &Tensor)> {
        match self {
            Node::Dict(entries) => {
                entries.iter().filter_map(|(key, node)| Some((key.as_str(), node.float()?))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The names at the top, for sentences and listings.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Node::Dict(entries) => entries.iter().map(|(key, _)| key.as_str()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Finds the vectors, by the first layout that fits.
pub fn find(file: &str, node: &Node) -> Result<Found> {
    if let Some(params) = node.get("string_to_param") {
        return string_to_param(file, params);
    }
    if let Node::List(items) = node {
        return list(file, items);
    }
    for (key, layout) in [("clip_l", "SDXL"), ("emb_params", "kohya")] {
        if let Some(tensor) = node.get(key).and_then(Node::float) {
            let mut found = one(layout, key, vec![tensor.clone()]);
            if key == "clip_l" && node.get("clip_g").is_some() {
                found.notices.push("SDXL embedding: its CLIP-L half is used, its CLIP-G half is not.".to_string());
            }
            return Ok(found);
        }
    }
    if let Some(found) = flattened(node) {
        return Ok(found);
    }
    if let Some(what) = other_family(node) {
        return Err(not_an_embedding(file, &format!("It is {what}")));
    }
    match node.floats().as_slice() {
        [(key, tensor)] => Ok(one("diffusers", key, vec![(*tensor).clone()])),
        [] => match node {
            Node::Tensor(tensor) => Ok(one("tensor", "", vec![tensor.clone()])),
            _ => Err(nothing_found(file, node)),
        },
        several => numbered(several).ok_or_else(|| nothing_found(file, node)),
    }
}

fn one(layout: &'static str, key: &str, tensors: Vec<Tensor>) -> Found {
    Found { layout, terms: vec![Term { key: key.to_string(), suffix: None, tensors }], notices: Vec::new() }
}

/// Several embeddings are told apart by their keys; the first is what `embedding:FILE` means elsewhere.
fn several(layout: &'static str, terms: Vec<(String, Vec<Tensor>)>) -> Found {
    let many = terms.len() > 1;
    let mut notices = Vec::new();
    if many {
        notices.push(format!("The file holds {} embeddings; other programs use only the first.", terms.len()));
    }
    let term = |(key, tensors): (String, Vec<Tensor>)| Term { suffix: many.then(|| key.clone()), key, tensors };
    Found { layout, terms: terms.into_iter().map(term).collect(), notices }
}

/// A1111's layout, and the original paper's, whose `ParameterDict` has become a dict already.
fn string_to_param(file: &str, params: &Node) -> Result<Found> {
    if let Some(tensor) = params.float() {
        return Ok(one("A1111", "string_to_param", vec![tensor.clone()]));
    }
    let params = params.get("_parameters").unwrap_or(params);
    let terms: Vec<_> =
        params.floats().into_iter().map(|(key, tensor)| (key.to_string(), vec![tensor.clone()])).collect();
    if terms.is_empty() {
        return Err(no_vectors(file, "its string_to_param is empty"));
    }
    Ok(several("A1111", terms))
}

/// A list of tensors, or of dicts of tensors: the rows of one width, 768 if there are any.
fn list(file: &str, items: &[Node]) -> Result<Found> {
    let of_item = |item: &Node| match item.float() {
        Some(tensor) => vec![tensor.clone()],
        None => item.floats().into_iter().map(|(_, tensor)| tensor.clone()).collect(),
    };
    let all: Vec<Tensor> = items.iter().flat_map(of_item).collect();
    let mut widths = all.iter().filter_map(|tensor| tensor.shape.last());
    let Some(width) = widths.clone().find(|width| **width == 768).or_else(|| widths.next()).copied() else {
        return Err(no_vectors(file, "its list holds no float tensors"));
    };
    let (used, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|tensor| tensor.shape.last() == Some(&width));
    let mut found = one("list", "", used);
    if !others.is_empty() {
        found.notices.push(format!("{} tensors of another width than {width} are left out.", others.len()));
    }
    Ok(found)
}

/// Names with the path of a nested layout in them: `bundle_emb.NAME.…` (inside LoRAs) and `string_to_param.TERM`.
fn flattened(node: &Node) -> Option<Found> {
    let mut bundles: Vec<(String, Vec<Tensor>)> = Vec::new();
    let mut terms = Vec::new();
    for (key, tensor) in node.floats() {
        if let Some(term) = key.strip_prefix("string_to_param.") {
            terms.push((term.to_string(), vec![tensor.clone()]));
        }
        let Some(rest) = key.strip_prefix("bundle_emb.") else { continue };
        let name = rest.split_once(".string_to_param.").map(|(name, _)| name).or(rest.strip_suffix(".clip_l"));
        let Some(name) = name else { continue };
        match bundles.iter_mut().find(|(known, _)| known == name) {
            Some((_, tensors)) => tensors.push(tensor.clone()),
            None => bundles.push((name.to_string(), vec![tensor.clone()])),
        }
    }
    match (terms.is_empty(), bundles.is_empty()) {
        (false, _) => Some(several("A1111", terms)),
        (true, false) => Some(several("bundle", bundles)),
        (true, true) => None,
    }
}

/// `tok`, `tok_1`, `tok_2`, …: one embedding, a vector for each.
fn numbered(tensors: &[(&str, &Tensor)]) -> Option<Found> {
    let (first, _) = tensors.iter().min_by_key(|(key, _)| key.len())?;
    let number = |key: &str| match key.strip_prefix(first)? {
        "" => Some(0),
        rest => rest.strip_prefix('_')?.parse::<usize>().ok().filter(|n| *n > 0),
    };
    let mut rows = tensors.iter().map(|(key, tensor)| Some((number(key)?, *tensor))).collect::<Option<Vec<_>>>()?;
    rows.sort_by_key(|(number, _)| *number);
    let width = tensors.first()?.1.shape.last()?;
    let whole = rows.iter().enumerate().all(|(i, (number, tensor))| i == *number && tensor.shape.last() == Some(width));
    whole.then(|| one("numbered tokens", first, rows.into_iter().map(|(_, tensor)| tensor.clone()).collect()))
}

/// What a file is that is no embedding, told by its keys.
fn other_family(node: &Node) -> Option<String> {
    let keys = node.keys();
    let evidence = |what: &str, test: &dyn Fn(&str) -> bool| {
        let key = keys.iter().find(|key| test(key))?;
        Some(format!("{what}: it has \"{}\"", shown(key)))
    };
    evidence("a LoRA, a change to a checkpoint", &|key| {
        key.starts_with("lora_")
            || [".lora_up.", ".lora_down.", ".lora_A.", ".lora_B.", "_lora.", ".hada_w1_a"]
                .iter()
                .any(|mark| key.contains(mark))
    })
    .or_else(|| {
        evidence("a checkpoint; drop it where models go, as .safetensors", &|key| {
            key == "state_dict" || key.starts_with("model.diffusion_model.") || key.starts_with("cond_stage_model.")
        })
    })
    .or_else(|| {
        evidence("an optimizer's state, which A1111 saves beside an embedding", &|key| {
            key == "optimizer_state_dict" || key == "param_groups"
        })
    })
    .or_else(|| evidence("a hypernetwork", &|key| ["320", "640", "768", "1280"].contains(&key)))
    .or_else(|| {
        evidence("a ControlNet", &|key| key.starts_with("control_model.") || key.contains("controlnet_cond_embedding."))
    })
    .or_else(|| {
        evidence("a VAE", &|key| {
            ["first_stage_model.", "decoder.", "encoder.down", "encoder.conv_in", "post_quant_conv."]
                .iter()
                .any(|mark| key.starts_with(mark))
        })
    })
    .or_else(|| evidence("a UNet", &|key| key.starts_with("down_blocks.") || key.starts_with("input_blocks.")))
    .or_else(|| evidence("a text encoder", &|key| key.starts_with("text_model.")))
}

fn not_an_embedding(file: &str, what: &str) -> Error {
    Error::new(Code::NotAnEmbedding, format!("{} is no Textual Inversion embedding. {what}.", shown(file)))
}

/// The error for a file of the right kind with nothing in it.
pub fn no_vectors(file: &str, why: &str) -> Error {
    Error::new(Code::NotAnEmbedding, format!("No vectors found in {}: {why}.", shown(file)))
}

fn nothing_found(file: &str, node: &Node) -> Error {
    let keys = node.keys();
    if let Node::Dict(entries) = node {
        let integers = entries.iter().find_map(|(key, node)| match node {
            Node::Tensor(tensor) if !tensor.is_float() => Some((key, tensor.dtype)),
            _ => None,
        });
        if let (Some((key, dtype)), true) = (integers, node.floats().is_empty()) {
            let message = format!(
                "{}: \"{}\" is stored as {}, expected F16, BF16, F32 or F64.",
                shown(file),
                shown(key),
                dtype.name()
            );
            return Error::new(Code::WrongDtype, message);
        }
    }
    if keys.is_empty() {
        return no_vectors(file, "it holds nothing");
    }
    let list = keys.iter().take(5).map(|key| clipped(key, 40)).collect::<Vec<_>>().join(", ");
    let more = if keys.len() > 5 { ", …" } else { "" };
    not_an_embedding(file, &format!("It holds {} values in no known layout ({list}{more})", keys.len()))
}
