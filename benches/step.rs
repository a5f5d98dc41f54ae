//! What a denoising step and a decoding cost: counts, and how fast this adapter does them.
//!
//! `cargo xtask bench -- --model FILE [--size 512] [--steps 2] [--dtype f16] [--kernels gpu|software] [--matrices]`
//! prints a line of JSON; `benches/RESULTS.md` keeps them. `benches/full_size.py` writes a model to measure with.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use serde_json::Value;
use wordbrush::Result;
use wordbrush::files::Source;
use wordbrush::files::source::DiskSource;
use wordbrush::gpu::{Options, Storage, Table};
use wordbrush::pipeline::{Generation, Params, StableDiffusion};

#[derive(Parser)]
struct Args {
    /// A single-file checkpoint.
    #[arg(long, default_value = "/work/full/sd15-random.safetensors")]
    model: String,
    /// Side of the picture in pixels.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Steps to measure, after one that is not.
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// f32, f16 or packed.
    #[arg(long)]
    dtype: Option<String>,
    /// gpu or software: which kernels, whatever the adapter is.
    #[arg(long)]
    kernels: Option<String>,
    /// On the adapter's matrix units too.
    #[arg(long)]
    matrices: bool,
    /// Bring previews in blocks of six steps, between blocks without, and tell both times: take 40 steps or so.
    #[arg(long)]
    preview: bool,
    /// Measure which tile shapes are the fastest here, before, and keep it for the next run; see `kernels::tune`.
    #[arg(long)]
    tune: bool,
    /// Leave the decoder out.
    #[arg(long)]
    no_decode: bool,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if !Path::new(&args.model).exists() {
        println!("{} does not exist: name a checkpoint with --model (benches/full_size.py writes one)", args.model);
        return;
    }
    pollster::block_on(measure(&args)).unwrap_or_else(|e| panic!("{e}"));
}

async fn measure(args: &Args) -> Result<()> {
    let storage = [Storage::F32, Storage::F16, Storage::Packed].into_iter();
    let options = Options {
        storage: args.dtype.as_ref().and_then(|name| storage.clone().find(|storage| storage.name() == name)),
        software: args.kernels.as_ref().map(|kernels| kernels == "software"),
        matrices: args.matrices,
        ..Options::default()
    };
    let source: Rc<dyn Source> = Rc::new(DiskSource::open(Path::new(&args.model), "model.safetensors")?);
    let begun = Instant::now();
    let mut sd = StableDiffusion::open(vec![source], options).await?;
    while sd.load().await? {}
    let load = begun.elapsed().as_secs_f64();
    let gpu = sd.gpu().expect("a GPU").clone();
    let loaded = gpu.peak();

    let params = Params {
        prompt: "a photo of a cat".to_string(),
        steps: args.steps + 1,
        width: args.size,
        height: args.size,
        ..Params::default()
    };
    gpu.set_measuring(args.tune);
    let folder = Table::folder().filter(|_| args.tune);
    if let Some(table) = folder.as_deref().and_then(|folder| Table::load(folder, &gpu.tuned_for())) {
        gpu.use_table(table);
    }
    let begun = Instant::now();
    let mut generation = sd.start(&params).await?;
    let start = begun.elapsed().as_secs_f64();
    if let Some(folder) = &folder {
        gpu.table().save(folder).unwrap_or_else(|e| println!("the measurements are not kept: {e}"));
    }
    let stats = generation.step_stats().expect("a plan");
    generation.step().await?;
    let (preview, begun) = (previews(args, &sd, &mut generation).await?, Instant::now());
    // Those of the last step: by then the device knows how fast it is.
    let mut submits = 0;
    let mut more = true;
    while more {
        let before = gpu.traffic().submits;
        more = generation.step().await?;
        submits = gpu.traffic().submits - before;
    }
    // Null where previews were measured, which tell their own.
    let submits = preview.is_none().then_some(submits);
    let step = if preview.is_some() { f64::NAN } else { begun.elapsed().as_secs_f64() / args.steps as f64 };
    let sampled = gpu.peak();
    let begun = Instant::now();
    let decode = if args.no_decode {
        None
    } else {
        generation.image(&sd).await?;
        Some(begun.elapsed().as_secs_f64())
    };
    let adapter = gpu.adapter();
    let line = serde_json::json!({
        "adapter": adapter.name,
        "storage": gpu.storage().name(),
        "kernels": if adapter.software { "software" } else { "gpu" },
        "pixels": args.size,
        "load_s": load,
        "start_s": start,
        "tuned": gpu.table().variants.len(),
        "step": { "dispatches": stats.dispatches, "submits": submits, "gflop": stats.flops as f64 / 1e9,
                  "arena_mib": stats.arena as f64 / 1048576.0, "s": step, "gflop_per_s": stats.flops as f64 / 1e9 / step },
        "decode_s": decode,
        "preview": preview,
        "gpu_bytes": { "loaded": loaded, "sampling": sampled, "peak": gpu.peak() },
    });
    println!("{line}");
    Ok(())
}

/// Times of steps with and without a preview, block by block on the same run, and of the first preview.
async fn previews(args: &Args, sd: &StableDiffusion, generation: &mut Generation) -> Result<Option<Value>> {
    const BLOCK: usize = 6;
    if !args.preview {
        return Ok(None);
    }
    let begun = Instant::now();
    generation.preview(sd).await?;
    let first = begun.elapsed().as_secs_f64();
    let (mut times, mut busy) = ([Vec::new(), Vec::new()], [0.0; 2]);
    for i in 0..args.steps {
        let looking = i / BLOCK % 2;
        let (begun, busy_before) = (Instant::now(), cpu_seconds());
        generation.step().await?;
        if looking == 1 {
            generation.preview(sd).await?;
        }
        // A block's first step still does, or does not yet do, what the block before it asked for.
        if i % BLOCK > 0 {
            times[looking].push(begun.elapsed().as_secs_f64());
            busy[looking] += cpu_seconds() - busy_before;
        }
    }
    let cpu = [0, 1].map(|looking| busy[looking] / times[looking].len() as f64);
    let [without, with] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    });
    Ok(Some(serde_json::json!({
        "first_s": first, "step_s": without, "step_with_preview_s": with,
        "step_cpu_s": cpu[0], "step_with_preview_cpu_s": cpu[1],
    })))
}

/// What this process has used of the CPU, on which a software adapter computes: on a busy machine the clock tells little.
/// Zero where there is no /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
