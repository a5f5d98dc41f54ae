//! Says what model files are: `inspect FILE…` prints one line of JSON for each checkpoint, embedding or error.
//!
//! Embeddings are read from whatever they come in: safetensors, torch files new and old, PNG and lossless WebP pictures.
//! Large files are never read whole: of a checkpoint only the header is, and its hash is left out (null).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use serde_json::{Value, json};
use wordbrush::error::{Error, Result};
use wordbrush::files::sniff::{self, Kind};
use wordbrush::files::source::DiskSource;
use wordbrush::files::{Checkpoint, Source, key_names, read_embeddings, safetensors, textual_inversion};

/// Says what model files are, one line of JSON each.
#[derive(Parser)]
struct Args {
    /// Checkpoints, embeddings, or diffusers folders.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let mut failed = false;
    for path in Args::parse().files {
        let file = path.display().to_string();
        match inspect(&path) {
            Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
            Err(Error { code, message }) => {
                failed = true;
                println!("{}", json!({ "file": file, "error": { "code": code.name(), "message": message } }));
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn inspect(path: &Path) -> Result<Vec<Value>> {
    let file = path.display().to_string();
    if path.is_dir() {
        let top = path.file_name().map_or_else(|| "folder".into(), |name| name.to_string_lossy().into_owned());
        let mut sources = Vec::new();
        collect(path, &top, 3, &mut sources)?;
        return Ok(vec![checkpoint(&file, sources)?]);
    }
    let name = path.file_name().map_or_else(|| file.clone(), |name| name.to_string_lossy().into_owned());
    let source = DiskSource::open(path, name.clone())?;
    if pollster::block_on(is_checkpoint(&source))? {
        return Ok(vec![checkpoint(&file, vec![Rc::new(source)])?]);
    }
    let bytes = pollster::block_on(source.read(0, source.size() as usize))?;
    let embeddings = read_embeddings(&name, &bytes)?;
    let keys = textual_inversion::top_level_keys(&name, &bytes)?;
    let line = |embedding: &textual_inversion::Embedding| {
        json!({
            "file": file, "kind": "embedding", "name": embedding.name, "vectors": embedding.vectors,
            "width": embedding.width, "dtype": embedding.dtype.name(), "layout": embedding.layout,
            "key": embedding.key, "sha256": embedding.sha256,
            "keys": keys, "warnings": embedding.warnings,
        })
    };
    Ok(embeddings.iter().map(line).collect())
}

/// Whether to open a file as a checkpoint: by its arrays' names, or because it is too large for anything else.
async fn is_checkpoint(source: &DiskSource) -> Result<bool> {
    if source.size() > textual_inversion::LARGEST_FILE {
        return Ok(true);
    }
    let head = source.read(0, source.size().min(sniff::HEAD as u64) as usize).await?;
    if sniff::sniff(&head) != Kind::Safetensors {
        return Ok(false);
    }
    let header = safetensors::read_header(source, 0).await?;
    let parts = [key_names::LDM_UNET, key_names::LDM_VAE, key_names::LDM_TEXT];
    Ok(header.arrays.iter().any(|array| parts.iter().any(|part| array.name.starts_with(part))))
}

/// All files under a folder, named by their paths in it.
fn collect(folder: &Path, name: &str, depth: usize, sources: &mut Vec<Rc<dyn Source>>) -> Result<()> {
    let refused = |e: std::io::Error| {
        Error::new(wordbrush::error::Code::Read, format!("{} cannot be opened: {e}", folder.display()))
    };
    for entry in std::fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_file() {
            sources.push(Rc::new(DiskSource::open(&path, name)?));
        } else if path.is_dir() && depth > 1 {
            collect(&path, &name, depth - 1, sources)?;
        }
    }
    Ok(())
}

fn checkpoint(file: &str, sources: Vec<Rc<dyn Source>>) -> Result<Value> {
    let opened = pollster::block_on(Checkpoint::open(sources))?;
    let mut dtypes: Vec<_> = opened.arrays.values().map(|array| array.dtype.name()).collect();
    dtypes.sort();
    dtypes.dedup();
    let width = opened.arrays.get("text_encoder.text_model.embeddings.token_embedding.weight");
    let keys: Vec<_> = opened.arrays.keys().take(5).collect();
    Ok(json!({
        "file": file, "kind": "checkpoint", "name": Path::new(file).file_stem().map(|stem| stem.to_string_lossy()),
        "vectors": null, "width": width.and_then(|array| array.shape.get(1)), "dtype": dtypes.join("+"), "sha256": null,
        "keys": keys, "arrays": opened.arrays.len(), "warnings": [],
    }))
}
