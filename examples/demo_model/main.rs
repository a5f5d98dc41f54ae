//! Measures that the demo model means what it says: makes the pictures of `prompts.json` and reads what is in them.
//!
//!     cargo run --release --example demo_model -- generate --model target/demo-model/shapes.safetensors \
//!         --embeddings www/demo/embeddings --set attributes --out target/demo-model/pictures
//!     cargo run --release --example demo_model -- read target/demo-model/pictures
//!     cargo run --release --example demo_model -- accuracy tests/golden/demo/held_out

mod attributes;
mod held_out;
mod scores;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use clap::{Args, Parser};
use held_out::Picture;
use scores::{Prompts, SETS, Scores, Share};
use wordbrush::files::source::DiskSource;
use wordbrush::gpu::Options;
use wordbrush::pipeline::{Params, StableDiffusion};
use wordbrush::samplers::{Sampler, Schedule};

const PROMPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo_model/prompts.json");
const SIDE: usize = 128;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Makes the demo model's pictures and reads what is in them.
#[derive(Parser)]
enum Command {
    /// Makes the pictures of a set as PNG files.
    Generate(Generate),
    /// Reads the pictures of all sets in a folder, or a single one.
    Read(Read),
    /// Reads labelled pictures (make_held_out.py) and says how often the reader is right.
    Accuracy(Accuracy),
}

#[derive(Args)]
struct Generate {
    /// The checkpoint, a .safetensors.
    #[arg(long)]
    model: PathBuf,
    /// A folder of embeddings.
    #[arg(long)]
    embeddings: Option<PathBuf>,
    #[arg(long, default_value = PROMPTS)]
    prompts: PathBuf,
    /// Which pictures.
    #[arg(long, value_parser = SETS)]
    set: String,
    /// The folder they go to.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 20)]
    steps: usize,
    #[arg(long, default_value_t = 2.0)]
    cfg: f32,
    /// By either tool's name.
    #[arg(long, default_value = "euler")]
    sampler: String,
    #[arg(long, default_value = "normal")]
    scheduler: String,
    /// Only so many, evenly from the whole set.
    #[arg(long)]
    limit: Option<usize>,
    /// A negative prompt for all; the sets "negative" and "short-negative" have their own.
    #[arg(long)]
    negative: Option<String>,
}

#[derive(Args)]
struct Read {
    /// Pictures named as `generate` does.
    folder: Option<PathBuf>,
    #[arg(long, default_value = PROMPTS)]
    prompts: PathBuf,
    /// One picture instead.
    #[arg(long, conflicts_with = "folder")]
    png: Option<PathBuf>,
    /// The same pictures from elsewhere: says how far they differ.
    #[arg(long)]
    against: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Accuracy {
    /// NAME of NAME.png and NAME.json.
    sheet: PathBuf,
}

fn main() {
    let done = match Command::parse() {
        Command::Generate(args) => pollster::block_on(generate(&args)),
        Command::Read(args) => read(&args),
        Command::Accuracy(args) => accuracy(&args.sheet),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()).into())
}

fn prompts(path: &Path) -> Result<Prompts> {
    serde_json::from_slice(&bytes_of(path)?).map_err(|e| format!("{}: {e}", path.display()).into())
}

async fn generate(args: &Generate) -> Result<()> {
    let prompts = prompts(&args.prompts)?;
    let name = args.model.file_name().unwrap_or_default().to_string_lossy();
    let mut sd = StableDiffusion::open(vec![Rc::new(DiskSource::open(&args.model, name)?)], Options::default()).await?;
    while sd.load().await? {}
    if let (Some(folder), true) = (&args.embeddings, args.set != "concepts-missing") {
        add_embeddings(&mut sd, folder)?;
    }
    let negative = match (&args.negative, args.set.as_str()) {
        (Some(text), _) => text,
        (None, "negative" | "short-negative") => &prompts.negative,
        (None, _) => "",
    };
    std::fs::create_dir_all(&args.out)?;
    let all = prompts.jobs(&args.set);
    let limit = args.limit.unwrap_or(all.len()).min(all.len());
    let begun = Instant::now();
    for n in 0..limit {
        // Spread over the set, so that a few pictures are of all concepts.
        let job = &all[n * all.len() / limit];
        let params = Params {
            prompt: job.prompt.clone(),
            negative_prompt: negative.to_string(),
            steps: args.steps,
            cfg: args.cfg,
            width: SIDE,
            height: SIDE,
            seed: job.seed,
            sampler: Sampler::from_name(&args.sampler)?,
            schedule: Some(Schedule::from_name(&args.scheduler)?),
            ..Params::default()
        };
        let mut generation = sd.start(&params).await?;
        if n == 0 || args.set != "concepts-missing" {
            generation.warnings().iter().for_each(|warning| eprintln!("{}: {}", job.file, warning.message));
        }
        while generation.step().await? {}
        let image = generation.image(&sd).await?;
        std::fs::write(args.out.join(&job.file), image.png_with(&generation.recipe(&sd))?)?;
        let seconds = begun.elapsed().as_secs_f64();
        eprint!("\r{}: {} of {limit}, {:.2} s each ", args.set, n + 1, seconds / (n + 1) as f64);
    }
    eprintln!();
    Ok(())
}

/// Adds every file of a folder that holds an embedding, and names those that do not.
fn add_embeddings(sd: &mut StableDiffusion, folder: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|e| format!("{} cannot be read: {e}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    for path in files.iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match sd.add_embedding(&name, &bytes_of(path)?) {
            Ok(added) => added.iter().for_each(|e| eprintln!("embedding:{} ({} vectors)", e.name, e.vectors)),
            Err(error) => eprintln!("{name} passed over: {error}"),
        }
    }
    Ok(())
}

fn picture(path: &Path) -> Result<Picture> {
    Picture::read_png(&bytes_of(path)?).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn read(args: &Read) -> Result<()> {
    if let Some(path) = &args.png {
        let picture = picture(path)?;
        println!("{}", serde_json::to_string(&attributes::read(&picture.rgb, picture.width, picture.height))?);
        return Ok(());
    }
    let folder = args.folder.as_ref().ok_or("name a folder of pictures, or one with --png")?;
    let prompts = prompts(&args.prompts)?;
    let mut found = Vec::new();
    for set in SETS {
        let scores = Scores::of(&prompts, set, |file| -> Result<_> {
            let path = folder.join(file);
            let read = |picture: Picture| attributes::read(&picture.rgb, picture.width, picture.height);
            path.exists().then(|| picture(&path).map(read)).transpose()
        })?;
        if scores.pictures > 0 {
            found.push((scores, args.against.as_ref().map(|other| compare(&prompts, set, folder, other)).transpose()?));
        }
    }
    for (scores, differences) in &found {
        if !args.json {
            print!("{scores}");
            if let Some(psnr) = differences.as_ref().filter(|psnr| !psnr.is_empty()) {
                let mean = psnr.iter().sum::<f64>() / psnr.len() as f64;
                println!(
                    "  {:22} {mean:.1} dB, the worst {:.1} dB, {} pictures",
                    "against the others",
                    psnr[0],
                    psnr.len()
                );
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found.iter().map(|(scores, _)| scores).collect::<Vec<_>>())?);
    }
    Ok(())
}

/// Peak signal-to-noise ratios of the pictures that are in both folders, the worst first.
fn compare(prompts: &Prompts, set: &str, ours: &Path, theirs: &Path) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for job in prompts.jobs(set) {
        let (ours, theirs) = (ours.join(&job.file), theirs.join(&job.file));
        if ours.exists() && theirs.exists() {
            let (a, b) = (picture(&ours)?, picture(&theirs)?);
            let squares = a.rgb.iter().zip(&b.rgb).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
            let mean = squares.sum::<f64>() / a.rgb.len() as f64;
            all.push(10.0 * (255.0f64.powi(2) / mean.max(1e-3)).log10());
        }
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}

fn accuracy(sheet: &Path) -> Result<()> {
    let mut shares = [Share::default(); held_out::ATTRIBUTES.len()];
    for (picture, label) in held_out::read_sheet(sheet)? {
        let reading = attributes::read(&picture.rgb, picture.width, picture.height);
        for (share, right) in shares.iter_mut().zip(held_out::compare(&reading, &label)) {
            right.into_iter().for_each(|right| share.add(right));
        }
    }
    for (name, share) in held_out::ATTRIBUTES.iter().zip(&shares) {
        println!("{name:12} {share}");
    }
    Ok(())
}
