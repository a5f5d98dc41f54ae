//! Text to image from a terminal, by the same engine on native wgpu.

mod args;
mod noise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use args::{Args, hires, params};
use clap::Parser;
use wordbrush::files::Source;
use wordbrush::files::source::DiskSource;
use wordbrush::gpu::{Gpu, Options, Storage, Table};
use wordbrush::pipeline::{Generation, Params, StableDiffusion};
use wordbrush::samplers::torch_randn;
use wordbrush::{Code, Error, Result};

/// Endings of files that may hold embeddings; what they are is told by their content.
const ENDINGS: [&str; 8] = ["safetensors", "sft", "pt", "pth", "bin", "ckpt", "png", "webp"];

fn main() {
    if let Err(error) = pollster::block_on(run(&Args::parse())) {
        eprintln!("{}: {error}", error.code.name());
        std::process::exit(1);
    }
}

async fn run(args: &Args) -> Result<()> {
    let params = params(args)?;
    let storage = args.dtype.as_deref().map(storage).transpose()?;
    let begun = Instant::now();
    let mut sd = if args.cpu {
        StableDiffusion::open_on_cpu(sources(&args.model)?).await?
    } else {
        StableDiffusion::open(sources(&args.model)?, Options { storage, ..Options::default() }).await?
    };
    match sd.gpu() {
        Some(gpu) => {
            eprintln!("{} ({}), {} storage", gpu.adapter().name, gpu.adapter().backend, gpu.storage().name());
        }
        None => eprintln!("the CPU, f32 storage"),
    }
    if let Some(vae) = &args.vae {
        sd.open_vae(sources(vae)?.swap_remove(0)).await?;
    }
    while sd.load().await? {}
    if let Some(taesd) = &args.taesd {
        sd.open_vae(sources(taesd)?.swap_remove(0)).await?;
    }
    while sd.load().await? {}
    eprintln!("loaded {} MB in {:.1} s", sd.loaded().1 / 1_000_000, begun.elapsed().as_secs_f64());
    if let Some(folder) = &args.embeddings {
        add_embeddings(&mut sd, folder)?;
    }

    let tables = Table::folder();
    if let Some(gpu) = sd.gpu().filter(|_| !args.no_tune) {
        if let Some(table) = tables.as_deref().and_then(|folder| Table::load(folder, &gpu.tuned_for())) {
            gpu.use_table(table);
        }
        gpu.set_measuring(true);
    }
    let known = sd.gpu().map(Gpu::table);
    let mut generation = sd.start(&params).await?;
    for warning in generation.warnings() {
        eprintln!("warning: {}", warning.message);
    }
    if let Some(stats) = generation.step_stats() {
        let (gflop, mib) = (stats.flops as f64 / 1e9, stats.arena >> 20);
        eprintln!("a step: {} dispatches, {gflop:.1} GFLOP, arena {mib} MiB", stats.dispatches);
    }
    let begun = Instant::now();
    let mut more = true;
    while more {
        more = generation.step().await?;
        if let Some(folder) = &args.preview {
            let name = format!("step_{:02}.png", generation.progress().done);
            let taesd = args.taesd.is_some();
            let image = if taesd { generation.preview_by_taesd(&sd).await? } else { generation.preview(&sd).await? };
            write(&folder.join(name), &image.png()?)?;
        }
    }
    eprintln!("{} steps in {:.1} s", params.steps, begun.elapsed().as_secs_f64());
    if let Some(scale) = args.hires {
        generation = sd.enlarge(&generation, &hires(args, scale)?).await?;
        while generation.step().await? {}
    }
    if let Some(path) = &args.latents {
        write_latents(path, &sd, &params, &generation).await?;
    }
    let images = generation.images(&sd).await?;
    if let Some(gpu) = sd.gpu() {
        eprintln!("GPU memory: {} MB at most", gpu.peak() / 1_000_000);
        if let Some(folder) = tables.filter(|_| known.is_some_and(|known| known != gpu.table())) {
            gpu.table().save(&folder).unwrap_or_else(|e| eprintln!("the measurements are not kept: {e}"));
        }
    }
    while sd.hash().await? {}
    for (i, image) in images.iter().enumerate() {
        let name = args.out.file_stem().unwrap_or_default().to_string_lossy();
        let numbered = || args.out.with_file_name(format!("{name}-{}.png", i + 1));
        let path = if i == 0 { args.out.clone() } else { numbered() };
        write(&path, &image.png_with(&generation.recipe_of(i, &sd))?)?;
    }
    Ok(())
}

fn storage(name: &str) -> Result<Storage> {
    [Storage::F32, Storage::F16, Storage::Packed].into_iter().find(|storage| storage.name() == name).ok_or_else(|| {
        Error::new(Code::BadOption, format!("there is no dtype \"{name}\"; known are: f32, f16, packed"))
    })
}

/// The file, or every file below the folder under its path in it.
fn sources(model: &Path) -> Result<Vec<Rc<dyn Source>>> {
    let mut sources: Vec<Rc<dyn Source>> = Vec::new();
    if model.is_dir() {
        for path in files_below(model)? {
            let name = path.strip_prefix(model).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            sources.push(Rc::new(DiskSource::open(&path, name)?));
        }
    } else {
        let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy();
        sources.push(Rc::new(DiskSource::open(model, name)?));
    }
    Ok(sources)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let refused = |e: std::io::Error| Error::new(Code::Read, format!("{} cannot be read: {e}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Adds every embedding below `folder`; a file that is none is named and passed over.
fn add_embeddings(sd: &mut StableDiffusion, folder: &Path) -> Result<()> {
    for path in files_below(folder)? {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if !ENDINGS.contains(&ending.as_str()) {
            continue;
        }
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let bytes = std::fs::read(&path)
            .map_err(|e| Error::new(Code::Read, format!("{} cannot be read: {e}", path.display())))?;
        match sd.add_embedding(&name, &bytes) {
            Ok(added) => added.iter().for_each(|e| eprintln!("embedding:{} ({} vectors)", e.name, e.vectors)),
            Err(error) => eprintln!("{name} passed over: {}: {error}", error.code.name()),
        }
    }
    Ok(())
}

async fn write_latents(path: &Path, sd: &StableDiffusion, params: &Params, generation: &Generation) -> Result<()> {
    let (h, w) = (params.height / 8, params.width / 8);
    // Without guidance the negative prompt is not encoded with the picture: here it is all the same.
    let guided = sd.start(&Params { cfg: 2.0, ..params.clone() }).await?;
    let conditioning = guided.conditioning();
    let context = guided.context().await?;
    let longest = conditioning.tokens().into_iter().max().unwrap_or(0);
    let width = sd.text_width();
    let prompt = |item: usize| {
        let used = conditioning.tokens()[item];
        (vec![1, used, width], context[item * longest * width..][..used * width].to_vec())
    };
    let mut arrays: BTreeMap<&str, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    let n = params.batch;
    arrays.insert("noise", (vec![n, 4, h, w], torch_randn(params.seed, n * 4 * h * w)));
    arrays.insert("latents", (vec![n, 4, h, w], generation.latents().await?));
    arrays.insert("conditioning", prompt(1));
    arrays.insert("uncond", prompt(0));
    write(path, &safetensors(&arrays))
}

/// A safetensors file of f32 arrays.
fn safetensors(arrays: &BTreeMap<&str, (Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, (shape, values)) in arrays {
        let start = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert((*name).to_string(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
        .map_err(|e| Error::new(Code::Read, format!("{} cannot be written: {e}", path.display())))
}
