//! What the command line asks for.

use std::path::{Path, PathBuf};

use clap::Parser;
use wordbrush::pipeline::{Decoder, Hires, Image, Init, Mask, MaskedContent, Own, Params, Picture, Upscaler};
use wordbrush::prompt::Syntax;
use wordbrush::samplers::{Prediction, Sampler, Schedule, Tool};
use wordbrush::{Code, Error, Result};

use super::noise::Noise;

/// Makes a picture from a prompt.
#[derive(Parser)]
pub struct Args {
    /// A single-file .safetensors checkpoint, or a diffusers folder.
    #[arg(long)]
    pub model: PathBuf,
    /// What the picture shows.
    #[arg(long)]
    pub prompt: String,
    /// What it must not show.
    #[arg(long, default_value = "")]
    pub negative: String,
    /// A separate VAE file (.safetensors).
    #[arg(long)]
    pub vae: Option<PathBuf>,
    /// A folder of Textual Inversion files, searched recursively.
    #[arg(long)]
    pub embeddings: Option<PathBuf>,
    /// Denoising steps.
    #[arg(long, default_value_t = 20)]
    pub steps: usize,
    /// Strength of guidance.
    #[arg(long, default_value_t = 8.0)]
    pub cfg: f32,
    /// Seed of the noise.
    #[arg(long, default_value_t = 1234)]
    pub seed: u64,
    /// Pixels.
    #[arg(long, default_value_t = 512)]
    pub width: usize,
    /// Pixels.
    #[arg(long, default_value_t = 512)]
    pub height: usize,
    /// Sampler, as ComfyUI names it.
    #[arg(long, default_value = "euler")]
    pub sampler: String,
    /// Schedule, as ComfyUI names it.
    #[arg(long, default_value = "normal")]
    pub scheduler: String,
    /// 1: the text encoder's last layer; 2: the one before; …
    #[arg(long, default_value_t = 1)]
    pub clip_skip: usize,
    /// Pictures made at once; the second's name ends in -2, and so on.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// How far the contrast that guidance adds is taken back, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub cfg_rescale: f32,
    /// Where guidance begins, as a share of the time steps.
    #[arg(long, default_value_t = 0.0)]
    pub guidance_start: f64,
    /// Where guidance ends.
    #[arg(long, default_value_t = 1.0)]
    pub guidance_end: f64,
    /// Grammar of the prompts: comfy or a1111.
    #[arg(long, default_value = "comfy")]
    pub syntax: String,
    /// Never cut an embedding where a window of 75 tokens ends.
    #[arg(long)]
    pub keep_embeddings_whole: bool,
    /// Storage of weights and activations: f32, f16 or packed; f16 where the adapter has it by default.
    #[arg(long)]
    pub dtype: Option<String>,
    /// Do not measure which of the kernels' variants are the fastest on this GPU, which takes a few seconds once.
    #[arg(long)]
    pub no_tune: bool,
    /// Compute on the CPU, which only small models allow.
    #[arg(long)]
    pub cpu: bool,
    /// A PNG to start from; the result has its size, cut to multiples of 8.
    #[arg(long)]
    pub image: Option<PathBuf>,
    /// A PNG of the same size: white is painted anew, black is kept.
    #[arg(long, requires = "image")]
    pub mask: Option<PathBuf>,
    /// How far the mask is blurred, in pixels; 4 by default with A1111's grammar, else 0.
    #[arg(long, requires = "mask")]
    pub mask_blur: Option<f64>,
    /// What lies under the mask at first: original, fill, latent noise, latent nothing or gray.
    #[arg(long, requires = "mask", default_value = "original")]
    pub masked_content: String,
    /// Paint only what is masked, with so many pixels around it, at the size of the result (A1111's way).
    #[arg(long, requires = "mask")]
    pub masked_padding: Option<usize>,
    /// How much of the way down from noise is run over the image.
    #[arg(long, default_value_t = 0.75)]
    pub denoise: f64,
    /// A second pass at a size so many times as large.
    #[arg(long)]
    pub hires: Option<f64>,
    /// How the picture is made larger for it: latent, latent-nearest-exact or lanczos.
    #[arg(long, default_value = "latent")]
    pub upscaler: String,
    /// How much of the way down from noise the second pass runs.
    #[arg(long, default_value_t = 0.7)]
    pub hires_denoise: f64,
    /// Steps of the second pass, if not as many as the first has.
    #[arg(long)]
    pub hires_steps: Option<usize>,
    /// Its own prompt.
    #[arg(long)]
    pub hires_prompt: Option<String>,
    /// Its own negative prompt.
    #[arg(long)]
    pub hires_negative: Option<String>,
    /// Its own seed.
    #[arg(long)]
    pub hires_seed: Option<u64>,
    /// Its own sampler.
    #[arg(long)]
    pub hires_sampler: Option<String>,
    /// Its own schedule.
    #[arg(long)]
    pub hires_scheduler: Option<String>,
    /// Its own strength of guidance.
    #[arg(long)]
    pub hires_cfg: Option<f32>,
    #[command(flatten)]
    noise: Noise,
    /// The UNet predicts v, whatever the checkpoint says.
    #[arg(long)]
    pub v_prediction: bool,
    /// The noise levels end in noise alone, whatever the checkpoint says.
    #[arg(long)]
    pub zero_terminal_snr: bool,
    /// Where the picture goes.
    #[arg(long)]
    pub out: PathBuf,
    /// A TAESD file (taesd_decoder.safetensors), which then decodes the picture and its previews.
    #[arg(long)]
    pub taesd: Option<PathBuf>,
    /// Decode in strips wherever that saves memory.
    #[arg(long)]
    pub vae_tiling: bool,
    /// A folder for previews, one after each step.
    #[arg(long)]
    pub preview: Option<PathBuf>,
    /// Where noise, conditioning, uncond and latents go, as f32 safetensors.
    #[arg(long)]
    pub latents: Option<PathBuf>,
}

/// The parameters of the picture.
pub fn params(args: &Args) -> Result<Params> {
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
        // Where only what is masked is painted, the picture keeps its size.
        let whole = args.masked_padding.is_none();
        let fitting = |image: Image| if whole { cut(&image) } else { image };
        let image = fitting(read_png(path)?);
        let mask = args.mask.as_ref().map(|path| read_png(path)).transpose()?.map(fitting);
        let content = MaskedContent::from_name(&args.masked_content)?;
        let blur = args.mask_blur.unwrap_or(if syntax == Syntax::A1111 { 4.0 } else { 0.0 });
        let mask = mask.map(|mask| {
            let pixels = mask.rgba.chunks_exact(4).map(|pixel| f32::from(pixel[0]) / 255.0).collect();
            Mask { pixels, blur, content, only_masked: args.masked_padding }
        });
        if whole {
            (width, height) = (image.width, image.height);
        }
        init = Some(Init { picture: Picture::Pixels(image), denoise: args.denoise, mask, exact_steps: false });
    }
    let params = args.noise.applied(Params {
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
    })?;
    params.check()?;
    Ok(params)
}

/// The second pass.
pub fn hires(args: &Args, scale: f64) -> Result<Hires> {
    Ok(Hires {
        scale,
        upscaler: Upscaler::from_name(&args.upscaler)?,
        steps: args.hires_steps,
        denoise: args.hires_denoise,
        own: Own {
            prompt: args.hires_prompt.clone(),
            negative_prompt: args.hires_negative.clone(),
            seed: args.hires_seed,
            sampler: args.hires_sampler.as_deref().map(Sampler::from_name).transpose()?,
            schedule: args.hires_scheduler.as_deref().map(Schedule::from_name).transpose()?,
            cfg: args.hires_cfg,
        },
    })
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
