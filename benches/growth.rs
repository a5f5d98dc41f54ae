//! How a picture's cost grows with its pixels, its prompts' windows and the pictures made at once.
//!
//! `cargo xtask bench --growth` counts full-size SD 1.5 in f16, with guidance, on a device that only counts: exact, and the same
//! anywhere. `cargo xtask bench --growth --model FILE [--rounds 5]` times steps of a model on this adapter, in turn: take a small one
//! where that is a CPU. `benches/RESULTS.md` keeps the tables.

#[path = "../tests/support/full_size.rs"]
mod full_size;

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use full_size::{Run, counted};
use wordbrush::Result;
use wordbrush::files::Source;
use wordbrush::files::source::DiskSource;
use wordbrush::gpu::{Options, Stats, Storage};
use wordbrush::pipeline::{Params, StableDiffusion};

#[derive(Parser)]
struct Args {
    /// A single-file checkpoint to time, instead of counting.
    #[arg(long)]
    model: Option<String>,
    /// Side of the pictures whose windows and number grow.
    #[arg(long)]
    size: Option<usize>,
    /// Steps of each that are timed, after one that is not.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let (base, sides) = match args.model {
        Some(_) => (args.size.unwrap_or(128), vec![64, 128, 192, 256, 384, 512]),
        None => (args.size.unwrap_or(512), vec![256, 384, 512, 640, 768, 896, 1024]),
    };
    let axes: [(&str, Vec<(String, Params)>); 3] = [
        ("pixels", sides.into_iter().map(|side| (format!("{side}²"), asked(side, 1, 1))).collect()),
        ("windows", (1..=4).map(|windows| (windows.to_string(), asked(base, windows, 1))).collect()),
        ("pictures", (1..=4).map(|pictures| (pictures.to_string(), asked(base, 1, pictures))).collect()),
    ];
    for (axis, points) in &axes {
        match &args.model {
            Some(model) => {
                pollster::block_on(time(axis, points, Path::new(model), args.rounds)).unwrap_or_else(|e| panic!("{e}"))
            }
            None => count(axis, points),
        }
    }
}

/// Pictures of this side at once, the prompt in so many windows of 75 tokens.
fn asked(side: usize, windows: usize, pictures: usize) -> Params {
    let words = 75 * (windows - 1) + 1;
    Params { prompt: "cat ".repeat(words), width: side, height: side, batch: pictures, ..Params::default() }
}

fn count(axis: &str, points: &[(String, Params)]) {
    println!(
        "\n| {axis} | step, GFLOP | times | dispatches | bytes moved, MB | times | arena, MiB | decode, GFLOP | arena, MiB | dispatches | peak, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut first: Option<[f64; 2]> = None;
    for (name, params) in points {
        let run = match counted(params, Storage::F16) {
            Ok(run) => run,
            Err(refusal) => {
                println!("| {name} | refused: {refusal} |");
                continue;
            }
        };
        let (step, decode) = (run.plan("unet step").stats, decoding(&run));
        let moved: u64 = run.plan("unet step").dispatches.iter().map(|d| d.held + d.read + d.written).sum();
        let now = [step.flops as f64 / 1e9, moved as f64 / 1e6];
        let first = *first.get_or_insert(now);
        println!(
            "| {name} | {:.0} | {:.2} | {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.0} | {} | {:.0} |",
            now[0],
            now[0] / first[0],
            step.dispatches,
            now[1],
            now[1] / first[1],
            mebibytes(step.arena),
            decode.flops as f64 / 1e9,
            mebibytes(decode.arena),
            decode.dispatches,
            run.peak as f64 / 1e6,
        );
    }
}

/// What follows the steps: the plans of the decoder, its strips among them, for one picture.
fn decoding(run: &Run) -> Stats {
    run.plan("vae decode").stats
}

async fn time(axis: &str, points: &[(String, Params)], model: &Path, rounds: usize) -> Result<()> {
    let source: Rc<dyn Source> = Rc::new(DiskSource::open(model, "model.safetensors")?);
    let mut sd = StableDiffusion::open(vec![source], Options::default()).await?;
    while sd.load().await? {}
    let gpu = sd.gpu().expect("a GPU").clone();
    let mut entrants = Vec::new();
    for (name, params) in points {
        let before = gpu.allocated();
        let mut generation = sd.start(&Params { steps: rounds + 2, ..params.clone() }).await?;
        let stats = generation.step_stats().expect("a plan");
        generation.step().await?;
        entrants.push((name, generation, stats, gpu.allocated() - before, Vec::new()));
    }
    // In turn, so that what else the machine does falls on all alike.
    for _ in 0..rounds {
        for (_, generation, _, _, times) in &mut entrants {
            let begun = Instant::now();
            generation.step().await?;
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    println!("\n{}, {}, median of {rounds} steps in turn", gpu.adapter().name, gpu.storage().name());
    println!("| {axis} | step, s | times | GFLOP | times | GFLOP/s | dispatches | arena, MiB | all its buffers, MiB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut first = None;
    for (name, _, stats, bytes, mut times) in entrants {
        times.sort_by(f64::total_cmp);
        let (seconds, gflop) = (times[times.len() / 2], stats.flops as f64 / 1e9);
        let (first_seconds, first_gflop) = *first.get_or_insert((seconds, gflop));
        println!(
            "| {name} | {seconds:.3} | {:.2} | {gflop:.2} | {:.2} | {:.2} | {} | {:.1} | {:.1} |",
            seconds / first_seconds,
            gflop / first_gflop,
            gflop / seconds,
            stats.dispatches,
            mebibytes(stats.arena),
            mebibytes(bytes),
        );
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1048576.0
}
