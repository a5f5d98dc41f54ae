//! A diffusers folder: which of its files are the checkpoint, and their names brought together.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::array::ArrayInfo;
use super::checkpoint::{insert, read_checked};
use super::model_config::ModelConfig;
use super::{Source, family, shown};
use crate::error::{Code, Error, Result};

/// The folders inside a diffusers folder that make a checkpoint.
const COMPONENTS: [&str; 3] = ["text_encoder", "unet", "vae"];
/// The longest `config.json` worth reading.
const LONGEST_CONFIG: u64 = 1 << 20;

/// The files of a folder that matter.
pub struct Chosen {
    /// What to call the folder.
    pub name: String,
    /// The weights, all components together.
    pub sources: Vec<Rc<dyn Source>>,
    /// For each of `sources`: its component.
    components: Vec<&'static str>,
    configs: Vec<(&'static str, Rc<dyn Source>)>,
}

/// The component a path lies in, and the file's name there.
fn place(path: &str) -> Option<(&str, &str)> {
    let (folder, file) = path.rsplit_once('/')?;
    Some((folder.rsplit_once('/').map_or(folder, |(_, last)| last), file))
}

/// Whether these files are a diffusers folder rather than single files.
pub fn is_folder(sources: &[Rc<dyn Source>]) -> bool {
    sources.len() > 1 && sources.iter().any(|source| matches!(place(source.name()), Some(("unet" | "transformer", _))))
}

/// A file of weights, told apart from its other versions by its name.
struct Version {
    /// Lower is better.
    rank: (usize, usize),
    /// Files of one version, other than their shard numbers, have the same.
    group: String,
    shards: usize,
    index: usize,
}

/// Rank, number of shards, and name: what the files of one version have in common, the best version first.
type Group = ((usize, usize), usize, String);
/// One file of a version, and its number.
type Shard = (usize, Rc<dyn Source>);

/// `diffusion_pytorch_model.fp16-00001-of-00002.safetensors` and its kin.
fn version(path: &str, file: &str) -> Option<Version> {
    let stem = file.strip_suffix(".safetensors")?;
    let mut shard = None;
    let mut parts = Vec::new();
    for part in stem.split('.') {
        match numbered_shard(part) {
            Some((part, found)) => {
                shard = Some(found);
                parts.push(part);
            }
            None => parts.push(part),
        }
    }
    let usual = matches!(parts.first(), Some(&("diffusion_pytorch_model" | "model")));
    let rank = match parts.get(1..).unwrap_or_default() {
        [] if usual => 0,
        ["fp16"] if usual => 1,
        [_] if usual => 2,
        _ => 3,
    };
    // A folder within the folder may hold another model: the shallower path is the one meant.
    let depth = path.matches('/').count();
    let parent = path.strip_suffix(file).unwrap_or_default();
    let (index, shards) = shard.unwrap_or((1, 1));
    Some(Version { rank: (depth, rank), group: format!("{parent}{}-of-{shards}", parts.join(".")), shards, index })
}

/// `model-00001-of-00002` → `model`, (1, 2).
fn numbered_shard(part: &str) -> Option<(&str, (usize, usize))> {
    let (rest, shards) = part.rsplit_once("-of-")?;
    let (stem, index) = rest.rsplit_once('-')?;
    Some((stem, (index.parse().ok()?, shards.parse().ok()?)))
}

/// Chooses each component's weights: the plain file, else its half-precision version, else any other.
pub fn choose(sources: &[Rc<dyn Source>]) -> Result<Chosen> {
    let first = sources.first().map_or("", |source| source.name());
    let name = match first.split_once('/') {
        Some((top, rest)) if rest.contains('/') => shown(top),
        _ => "The folder".to_string(),
    };
    for (folder, what) in [("text_encoder_2", "an SDXL folder"), ("transformer", "a Stable Diffusion 3 or Flux folder")]
    {
        if sources.iter().any(|source| place(source.name()).is_some_and(|(at, _)| at == folder)) {
            return Err(family::refused(&name, what, &format!("it has a folder {folder}")));
        }
    }
    let mut chosen = Chosen { name, sources: Vec::new(), components: Vec::new(), configs: Vec::new() };
    for component in COMPONENTS {
        for source in weights_of(&chosen.name, component, sources)? {
            chosen.sources.push(source);
            chosen.components.push(component);
        }
        let of_config = |source: &&Rc<dyn Source>| place(source.name()) == Some((component, "config.json"));
        let configs = sources.iter().filter(of_config).min_by_key(|source| source.name().matches('/').count());
        chosen.configs.extend(configs.map(|source| (component, source.clone())));
    }
    let scheduler = |source: &&Rc<dyn Source>| place(source.name()) == Some(("scheduler", "scheduler_config.json"));
    let schedulers = sources.iter().filter(scheduler).min_by_key(|source| source.name().matches('/').count());
    chosen.configs.extend(schedulers.map(|source| ("scheduler", source.clone())));
    Ok(chosen)
}

fn weights_of(folder: &str, component: &str, sources: &[Rc<dyn Source>]) -> Result<Vec<Rc<dyn Source>>> {
    let mut groups: BTreeMap<Group, Vec<Shard>> = BTreeMap::new();
    let mut pickle = None;
    for source in sources {
        let Some((at, file)) = place(source.name()) else { continue };
        if at != component {
            continue;
        }
        match version(source.name(), file) {
            Some(version) => {
                let group = groups.entry((version.rank, version.shards, version.group)).or_default();
                group.push((version.index, source.clone()));
            }
            None if file.ends_with(".bin") || file.ends_with(".ckpt") => pickle = Some(file),
            None => {}
        }
    }
    let missing = |found: String| {
        let message = format!("{folder}: {component}/ {found}. Expected its weights as .safetensors.");
        Error::new(Code::MissingTensors, message)
    };
    let complete = |((_, shards, _), files): &(&Group, &Vec<Shard>)| {
        files.len() == *shards && (1..=*shards).all(|i| files.iter().any(|(index, _)| *index == i))
    };
    if let Some((_, files)) = groups.iter().find(complete) {
        let mut files = files.clone();
        files.sort_by_key(|(index, _)| *index);
        return Ok(files.into_iter().map(|(_, source)| source).collect());
    }
    Err(match (groups.iter().next(), pickle) {
        (Some(((_, shards, _), files)), _) => {
            missing(format!("has {} of the {shards} parts its weights are split into", files.len()))
        }
        (None, Some(file)) => missing(format!("has only the pickle {}; save it as .safetensors", shown(file))),
        (None, None) => missing("has no weights".to_string()),
    })
}

/// Reads the headers of the chosen files, and the configs.
pub async fn read(chosen: &Chosen) -> Result<(BTreeMap<String, ArrayInfo>, ModelConfig)> {
    let mut arrays = BTreeMap::new();
    for (index, (source, component)) in chosen.sources.iter().zip(&chosen.components).enumerate() {
        let file = shown(source.name());
        let header = read_checked(source.as_ref(), index).await?;
        family::check_names(&file, header.arrays.iter().map(|array| array.name.as_str()))?;
        for array in header.arrays {
            insert(&file, &mut arrays, format!("{component}.{}", array.name), array)?;
        }
    }
    let mut config = ModelConfig::default();
    for (component, source) in &chosen.configs {
        if source.size() <= LONGEST_CONFIG {
            let json = source.read(0, source.size() as usize).await?;
            config.read(component, &String::from_utf8_lossy(&json));
        }
    }
    Ok((arrays, config))
}
