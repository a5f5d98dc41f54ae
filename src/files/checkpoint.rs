//! A Stable Diffusion 1 checkpoint, from one file or from a diffusers folder, under one set of names.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::array::{ArrayInfo, DType};
use super::key_names::{KeyNames, canonical};
use super::model_config::ModelConfig;
use super::safetensors::{self, Header};
use super::sniff::{self, Kind};
use super::{Source, completeness, family, folder, shown};
use crate::error::{Code, Error, Result};

/// A checkpoint whose every needed tensor is known by name, type, shape and place; none has been read.
#[derive(Clone)]
pub struct Checkpoint {
    /// The files the arrays lie in.
    pub sources: Vec<Rc<dyn Source>>,
    /// Component and diffusers name (`unet.conv_in.weight`) → array; its own `name` is the one in the file.
    pub arrays: BTreeMap<String, ArrayInfo>,
    /// What the folder's `config.json` files say.
    pub config: ModelConfig,
}

impl Checkpoint {
    /// Opens a single `.safetensors` checkpoint, or a diffusers folder given as all its files; reads headers only.
    ///
    /// # Errors
    /// What the files are instead, or what is wrong with them, in a sentence for the user.
    pub async fn open(sources: Vec<Rc<dyn Source>>) -> Result<Self> {
        let (name, sources, arrays, config) = if folder::is_folder(&sources) {
            let chosen = folder::choose(&sources)?;
            let (arrays, config) = folder::read(&chosen).await?;
            (chosen.name, chosen.sources, arrays, config)
        } else {
            let source = the_file(&sources)?;
            let (arrays, config) = read_single_file(source.as_ref()).await?;
            (shown(source.name()), vec![source], arrays, config)
        };
        family::check_shapes(&name, &arrays)?;
        completeness::check(&name, &arrays, &completeness::expected(&arrays))?;
        check_dtypes(&name, &arrays)?;
        Ok(Self { sources, arrays, config })
    }
}

/// The one checkpoint among files that are no diffusers folder.
fn the_file(sources: &[Rc<dyn Source>]) -> Result<Rc<dyn Source>> {
    if let [only] = sources {
        return Ok(only.clone());
    }
    let candidates: Vec<_> = sources.iter().filter(|source| source.name().ends_with(".safetensors")).collect();
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(Error::new(
            Code::UnknownFormat,
            format!(
                "There is no checkpoint among these {} files. Expected one .safetensors file, or a diffusers folder with \
                 unet, vae and text_encoder in it.",
                sources.len()
            ),
        )),
        [first, second, ..] => Err(Error::new(
            Code::UnknownFormat,
            format!(
                "There are {} .safetensors files ({}, {}, …) and no diffusers folder. Choose one checkpoint.",
                candidates.len(),
                shown(first.name()),
                shown(second.name())
            ),
        )),
    }
}

async fn read_single_file(source: &dyn Source) -> Result<(BTreeMap<String, ArrayInfo>, ModelConfig)> {
    let header = read_checked(source, 0).await?;
    let file = shown(source.name());
    family::check_names(&file, header.arrays.iter().map(|array| array.name.as_str()))?;
    family::check_parts(&file, &header.arrays)?;
    // Empty tensors by which merging tools mark what no other tensor shows; ComfyUI looks for them too.
    let marked = |mark: &str| header.arrays.iter().any(|array| array.name == mark);
    let (v_prediction, zero_terminal_snr) = (marked("v_pred"), marked("ztsnr"));
    let config = ModelConfig { v_prediction, zero_terminal_snr, ..ModelConfig::default() };
    let names = KeyNames::from_ldm(header.arrays.iter().map(|array| array.name.as_str()));
    let mut arrays = BTreeMap::new();
    for array in header.arrays {
        if let Some(name) = names.to_diffusers(&array.name) {
            insert(&file, &mut arrays, name, array)?;
        }
    }
    Ok((arrays, config))
}

/// The header of a file that should be safetensors; a pickle is answered with what to do about it.
pub(super) async fn read_checked(source: &dyn Source, index: usize) -> Result<Header> {
    let head = source.read(0, source.size().min(sniff::HEAD as u64) as usize).await?;
    let file = shown(source.name());
    match sniff::sniff(&head) {
        Kind::Zip | Kind::TorchLegacy | Kind::TorchTar | Kind::Pickle => Err(Error::new(
            Code::UnknownFormat,
            format!(
                "{file} is a PyTorch pickle (.ckpt, .pt or .bin), which can carry code. Wordbrush opens checkpoints as \
                 .safetensors only: save it as .safetensors, or download that version. If it is a Textual Inversion \
                 embedding, drop it on the embeddings zone."
            ),
        )),
        Kind::Safetensors | Kind::Unknown => safetensors::read_header(source, index).await,
        other => Err(sniff::refusal(other, source.name(), "a .safetensors checkpoint")),
    }
}

/// Adds an array under its canonical name, in its canonical shape.
pub(super) fn insert(
    file: &str,
    arrays: &mut BTreeMap<String, ArrayInfo>,
    name: String,
    mut array: ArrayInfo,
) -> Result<()> {
    let Some(name) = canonical(&name) else { return Ok(()) };
    // LDM keeps the VAE's attention as 1×1 convolutions; the bytes are those of the matrix.
    if name.starts_with("vae.")
        && name.contains(".attentions.")
        && array.shape.ends_with(&[1, 1])
        && array.shape.len() == 4
    {
        array.shape.truncate(2);
    }
    let twice = shown(&array.name);
    match arrays.insert(name, array) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            Code::BadSafetensors,
            format!(
                "{file} holds one tensor twice, as \"{}\" and as \"{twice}\"; it is damaged or was merged wrongly.",
                shown(&other.name)
            ),
        )),
    }
}

pub(super) fn check_dtypes(file: &str, arrays: &BTreeMap<String, ArrayInfo>) -> Result<()> {
    let odd = arrays.values().find(|array| !matches!(array.dtype, DType::F16 | DType::BF16 | DType::F32));
    match odd {
        None => Ok(()),
        Some(array) => Err(Error::new(
            Code::WrongDtype,
            format!(
                "{file}: \"{}\" is stored as {}, expected F16, BF16 or F32.",
                shown(&array.name),
                array.dtype.name()
            ),
        )),
    }
}
