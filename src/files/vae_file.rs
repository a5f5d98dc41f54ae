//! A separate VAE file, as ComfyUI's VAELoader takes one: only the decoder's part of a checkpoint.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::checkpoint::{check_dtypes, insert, read_checked};
use super::key_names::{KeyNames, LDM_VAE};
use super::model_config::ModelConfig;
use super::{Checkpoint, Source, completeness, family, shown};
use crate::error::{Code, Error, Result};

/// Opens a VAE saved by itself: LDM names with or without `first_stage_model.`, or diffusers names; also takes the VAE
/// out of a whole checkpoint. Reads the header only.
///
/// # Errors
/// What the file is instead, or what is missing, in a sentence for the user.
pub async fn open(source: Rc<dyn Source>) -> Result<Checkpoint> {
    let header = read_checked(source.as_ref(), 0).await?;
    let file = shown(source.name());
    family::check_names(&file, header.arrays.iter().map(|array| array.name.as_str()))?;
    let within = header.arrays.iter().any(|array| array.name.starts_with(LDM_VAE));
    let diffusers = header.arrays.iter().any(|array| array.name.starts_with("decoder.up_blocks."));
    let ldm = |name: &str| if within { name.to_string() } else { format!("{LDM_VAE}{name}") };
    let ldm_names: Vec<String> = header.arrays.iter().map(|array| ldm(&array.name)).collect();
    let names = KeyNames::from_ldm(ldm_names.iter().map(String::as_str));
    let mut arrays = BTreeMap::new();
    for array in header.arrays {
        let name = if diffusers { Some(format!("vae.{}", array.name)) } else { names.to_diffusers(&ldm(&array.name)) };
        if let Some(name) = name.filter(|name| name.starts_with("vae.")) {
            insert(&file, &mut arrays, name, array)?;
        }
    }
    if !arrays.keys().any(|name| name.starts_with("vae.decoder.")) {
        let message = format!("{file} holds no VAE: no tensor's name starts with decoder. or {LDM_VAE}decoder.");
        return Err(Error::new(Code::WrongFamily, message));
    }
    completeness::check(&file, &arrays, &completeness::expected_vae(&arrays))?;
    check_dtypes(&file, &arrays)?;
    Ok(Checkpoint { sources: vec![source], arrays, config: ModelConfig::default() })
}
