//! TAESD files: a tiny decoder that stands in for the VAE's (Ollin Boer Bohan, `AutoencoderTiny` in diffusers).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::array::ArrayInfo;
use super::checkpoint::{check_dtypes, insert, read_checked};
use super::model_config::ModelConfig;
use super::{Checkpoint, Source, shown};
use crate::error::{Code, Error, Result};

/// Opens the decoder of a TAESD file, told by its tensors' names: `taesd_decoder.safetensors` and the like in the original's
/// names, or diffusers'. Its arrays are called `taesd.0.weight`, …, counted as diffusers does. Reads the header only.
/// `None` is a file of another kind.
///
/// # Errors
/// When it cannot be read, is TAESD's encoder alone, or belongs to another family of models.
pub async fn open(source: Rc<dyn Source>) -> Result<Option<Checkpoint>> {
    let header = read_checked(source.as_ref(), 0).await?;
    let file = shown(source.name());
    let has = |name: &str| header.arrays.iter().any(|array| array.name == name);
    if has("0.weight") && has("1.conv.0.weight") && has("3.conv.0.weight") {
        return Err(refused(format!("{file} is TAESD's encoder; taesd_decoder.safetensors is what decodes pictures.")));
    }
    let mut arrays = BTreeMap::new();
    for array in header.arrays {
        if let Some(name) = canonical(&array.name) {
            insert(&file, &mut arrays, name, array)?;
        }
    }
    let Some(first) = arrays.get("taesd.0.weight").filter(|_| arrays.contains_key("taesd.2.conv.0.weight")) else {
        return Ok(None);
    };
    check_latents(&file, first)?;
    check_dtypes(&file, &arrays)?;
    Ok(Some(Checkpoint { sources: vec![source], arrays, config: ModelConfig::default() }))
}

/// Our name of a tensor. The original counts the clamp before the first convolution as well.
fn canonical(name: &str) -> Option<String> {
    let (counted_from, rest) = match name.strip_prefix("decoder.layers.") {
        Some(rest) => (0, rest),
        None => (1, name.strip_prefix("taesd_decoder.").or_else(|| name.strip_prefix("decoder.")).unwrap_or(name)),
    };
    let (index, leaf) = rest.split_once('.')?;
    let index: usize = index.parse().ok()?;
    Some(format!("taesd.{}.{leaf}", index.checked_sub(counted_from)?))
}

fn check_latents(file: &str, first: &ArrayInfo) -> Result<()> {
    match first.shape.get(1) {
        Some(4) | None => Ok(()),
        Some(channels) => Err(refused(format!(
            "{file} is a TAESD for another family of models: it takes latents of {channels} channels, Stable Diffusion 1.5's have 4."
        ))),
    }
}

fn refused(sentence: String) -> Error {
    Error::new(Code::WrongFamily, sentence)
}
