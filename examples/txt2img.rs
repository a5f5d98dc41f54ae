//! Text to image from a terminal, by the same engine on native wgpu.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use wordbrush::files::Source;
use wordbrush::files::source::DiskSource;
use wordbrush::gpu::{Options, Storage, Table};
use wordbrush::pipeline::{
    Decoder, Generation, Hires, Image, Init, Mask, MaskedContent, Params, Picture, StableDiffusion, Upscaler,
};
use wordbrush::prompt::Syntax;
use wordbrush::samplers::{Prediction, Sampler, Schedule, Tool, torch_randn};
use wordbrush::{Code, Error, Result};

/// Endings of files that may hold embeddings; what they are is told by their content.
const ENDINGS: [&str; 8] = ["safetensors", "sft", "pt", "pth", "bin", "ckpt", "png", "webp"];

/// Makes a picture from a prompt.
#[derive(Parser)]
struct Args {
    /// A single-file .safetensors checkpoint, or a diffusers folder.
    #[arg(long)]
    model: PathBuf,
    /// What the picture shows.
    #[arg(long)]
    prompt: String,
    /// What it must not show.
    #[arg(long, default_value = "")]
    negative: String,
    /// A separate VAE file (.safetensors).
    #[arg(long)]
    vae: Option<PathBuf>,
    /// A folder of Textual Inversion files, searched recursively.
    #[arg(long)]
    embeddings: Option<PathBuf>,
    /// Denoising steps.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Strength of guidance.
    #[arg(long, default_value_t = 8.0)]
    cfg: f32,
    /// Seed of the noise.
    #[arg(long, default_value_t = 1234)]
    seed: u64,
    /// Pixels.
    #[arg(long, default_value_t = 512)]
    width: usize,
    /// Pixels.
    #[arg(long, default_value_t = 512)]
    height: usize,
    /// Sampler, as ComfyUI names it.
    #[arg(long, default_value = "euler")]
    sampler: String,
    /// Schedule, as ComfyUI names it.
    #[arg(long, default_value = "normal")]
    scheduler: String,
    /// 1: the text encoder's last layer; 2: the one before; …
    #[arg(long, default_value_t = 1)]
    clip_skip: usize,
    /// Pictures made at once; the second's name ends in -2, and so on.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// How far the contrast that guidance adds is taken back, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    cfg_rescale: f32,
    /// Where guidance begins, as a share of the time steps.
    #[arg(long, default_value_t = 0.0)]
    guidance_start: f64,
    /// Where guidance ends.
    #[arg(long, default_value_t = 1.0)]
    guidance_end: f64,
    /// Grammar of the prompts: comfy or a1111.
    #[arg(long, default_value = "comfy")]
    syntax: String,
    /// Never cut an embedding where a window of 75 tokens ends.
    #[arg(long)]
    keep_embeddings_whole: bool,
    /// Storage of weights and activations: f32, f16 or packed; f16 where the adapter has it by default.
    #[arg(long)]
    dtype: Option<String>,
    /// Do not measure which of the kernels' variants are the fastest on this GPU, which takes a few seconds once.
    #[arg(long)]
    no_tune: bool,
    /// Compute on the CPU, which only small models allow.
    #[arg(long)]
    cpu: bool,
    /// A PNG to start from; the result has its size, cut to multiples of 8.
    #[arg(long)]
    image: Option<PathBuf>,
    /// A PNG of the same size: white is painted anew, black is kept.
    #[arg(long, requires = "image")]
    mask: Option<PathBuf>,
    /// How far the mask is blurred, in pixels; 4 by default with A1111's grammar, else 0.
    #[arg(long, requires = "mask")]
    mask_blur: Option<f64>,
    /// What lies under the mask at first: original, fill, latent noise, latent nothing or gray.
    #[arg(long, requires = "mask", default_value = "original")]
    masked_content: String,
    /// How much of the way down from noise is run over the image.
    #[arg(long, default_value_t = 0.75)]
    denoise: f64,
    /// A second pass at a size so many times as large.
    #[arg(long)]
    hires: Option<f64>,
    /// How the picture is made larger for it: latent, latent-nearest-exact or lanczos.
    #[arg(long, default_value = "latent")]
    upscaler: String,
    /// How much of the way down from noise the second pass runs.
    #[arg(long, default_value_t = 0.7)]
    hires_denoise: f64,
    /// The UNet predicts v, whatever the checkpoint says.
    #[arg(long)]
    v_prediction: bool,
    /// The noise levels end in noise alone, whatever the checkpoint says.
    #[arg(long)]
    zero_terminal_snr: bool,
    /// Where the picture goes.
    #[arg(long)]
    out: PathBuf,
    /// A TAESD file (taesd_decoder.safetensors), which then decodes the picture and its previews.
    #[arg(long)]
    taesd: Option<PathBuf>,
    /// Decode in strips wherever that saves memory.
    #[arg(long)]
    vae_tiling: bool,
    /// A folder for previews, one after each step.
    #[arg(long)]
    preview: Option<PathBuf>,
    /// Where noise, conditioning, uncond and latents go, as f32 safetensors.
    #[arg(long)]
    latents: Option<PathBuf>,
}

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

    let mut generation = start(&sd, &params, !args.no_tune).await?;
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
        let (upscaler, denoise) = (Upscaler::from_name(&args.upscaler)?, args.hires_denoise);
        generation = sd.enlarge(&generation, &Hires { scale, upscaler, steps: None, denoise }).await?;
        while generation.step().await? {}
    }
    if let Some(path) = &args.latents {
        write_latents(path, &sd, &params, &generation).await?;
    }
    let images = generation.images(&sd).await?;
    if let Some(gpu) = sd.gpu() {
        eprintln!("GPU memory: {} MB at most", gpu.peak() / 1_000_000);
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

/// Begins the picture with what was measured on this GPU before, or measures it and keeps it.
async fn start(sd: &StableDiffusion, params: &Params, tune: bool) -> Result<Generation> {
    let Some(gpu) = sd.gpu().filter(|_| tune) else { return sd.start(params).await };
    if let Some(table) = Table::load() {
        gpu.use_table(table);
    }
    gpu.set_measuring(true);
    let known = gpu.table();
    let generation = sd.start(params).await?;
    if gpu.table() != known {
        gpu.table().save().unwrap_or_else(|e| eprintln!("the measurements are not kept: {e}"));
    }
    Ok(generation)
}

fn params(args: &Args) -> Result<Params> {
    let syntax = match args.syntax.as_str() {
        "comfy" => Syntax::Comfy,
        "a1111" => Syntax::A1111,
        other => {
            return Err(Error::new(
                Code::BadOption,
                format!("there is no syntax \"{other}\"; known are: comfy, a1111"),
            ));
        }
    };
    let (mut width, mut height, mut init) = (args.width, args.height, None);
    if let Some(path) = &args.image {
        let image = cut(&read_png(path)?);
        let mask = args.mask.as_ref().map(|path| read_png(path)).transpose()?.map(|mask| cut(&mask));
        let content = MaskedContent::from_name(&args.masked_content)?;
        let blur = args.mask_blur.unwrap_or(if syntax == Syntax::A1111 { 4.0 } else { 0.0 });
        let mask = mask.map(|mask| {
            let pixels = mask.rgba.chunks_exact(4).map(|pixel| f32::from(pixel[0]) / 255.0).collect();
            Mask { pixels, blur, content }
        });
        (width, height) = (image.width, image.height);
        init = Some(Init { picture: Picture::Pixels(image), denoise: args.denoise, mask, exact_steps: false });
    }
    let params = Params {
        init,
        prediction: args.v_prediction.then_some(Prediction::V),
        zero_terminal_snr: args.zero_terminal_snr.then_some(true),
        prompt: args.prompt.clone(),
        negative_prompt: args.negative.clone(),
        syntax,
        // Who writes prompts for A1111 expects its noise levels and its noise.
        tool: if syntax == Syntax::A1111 { Tool::A1111 } else { Tool::ComfyUi },
        keep_embeddings_whole: args.keep_embeddings_whole,
        steps: args.steps,
        cfg: args.cfg,
        width,
        height,
        seed: args.seed,
        sampler: Sampler::from_name(&args.sampler)?,
        schedule: Some(Schedule::from_name(&args.scheduler)?),
        clip_skip: args.clip_skip,
        batch: args.batch,
        cfg_rescale: args.cfg_rescale,
        guidance_start: args.guidance_start,
        guidance_end: args.guidance_end,
        decoder: if args.taesd.is_some() { Decoder::Taesd } else { Decoder::Vae },
        vae_tiling: args.vae_tiling,
        ..Params::default()
    };
    params.check()?;
    Ok(params)
}

/// A PNG's pixels, with or without an alpha channel.
fn read_png(path: &Path) -> Result<Image> {
    let refused = |e: String| Error::new(Code::Read, format!("{} cannot be read: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| refused(e.to_string()))?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(|e| refused(e.to_string()))?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or_else(|| refused("it is too large".into()))?];
    let info = reader.next_frame(&mut bytes).map_err(|e| refused(e.to_string()))?;
    bytes.truncate(info.buffer_size());
    let rgba = match info.color_type {
        png::ColorType::GrayscaleAlpha => bytes.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect(),
        _ => bytes,
    };
    Ok(Image { width: info.width as usize, height: info.height as usize, rgba })
}

/// The middle of a picture, with sides that are multiples of 8, as ComfyUI cuts what it encodes.
fn cut(image: &Image) -> Image {
    let [width, height] = [image.width, image.height].map(|side| side / 8 * 8);
    let (left, top) = ((image.width - width) / 2, (image.height - height) / 2);
    let row = |y: usize| &image.rgba[((top + y) * image.width + left) * 4..][..width * 4];
    Image { width, height, rgba: (0..height).flat_map(|y| row(y).to_vec()).collect() }
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
