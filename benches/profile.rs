//! Where the time of a picture goes, kernel by kernel.
//!
//! `cargo xtask bench --profile [--model FILE] [--size 128] [--steps 4] [--dtype f16] [--kernels gpu|software] [--matrices]` prints a table and
//! writes `target/profile.html`, the same as a picture: what the page shows with `?profile`. Without a model it is the page's own.

#[path = "../tests/support/demo.rs"]
mod published;

use std::path::Path;
use std::rc::Rc;

use clap::Parser;
use wordbrush::Result;
use wordbrush::files::source::DiskSource;
use wordbrush::gpu::{Options, Storage, Timed};
use wordbrush::pipeline::{Params, StableDiffusion};

#[derive(Parser)]
struct Args {
    /// A single-file checkpoint.
    #[arg(long)]
    model: Option<String>,
    /// What is drawn.
    #[arg(long, default_value = "a red circle on a white background")]
    prompt: String,
    /// Side of the picture in pixels.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Denoising steps.
    #[arg(long, default_value_t = 4)]
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
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

const FILE: &str = "target/profile.html";

fn main() {
    let args = Args::parse();
    let (adapter, rows) = pollster::block_on(measure(&args)).unwrap_or_else(|e| panic!("{e}"));
    println!("{adapter}, {0}×{0}, {1} steps", args.size, args.steps);
    table(&rows);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    match std::fs::write(&file, page(&adapter, &rows)) {
        Ok(()) => println!("\nAs a picture: {}", file.display()),
        Err(error) => println!("\n{} cannot be written: {error}", file.display()),
    }
}

/// The adapter's name and what was timed: the second picture, as the first also compiles.
async fn measure(args: &Args) -> Result<(String, Vec<Timed>)> {
    let storages = [Storage::F32, Storage::F16, Storage::Packed];
    let options = Options {
        storage: args.dtype.as_ref().and_then(|name| storages.into_iter().find(|storage| storage.name() == name)),
        software: args.kernels.as_ref().map(|kernels| kernels == "software"),
        matrices: args.matrices,
        ..Options::default()
    };
    let mut sd = match &args.model {
        None => published::open(options).await?,
        Some(file) => {
            StableDiffusion::open(vec![Rc::new(DiskSource::open(Path::new(file), "model.safetensors")?)], options)
                .await?
        }
    };
    while sd.load().await? {}
    let gpu = sd.gpu().expect("a GPU").clone();
    let params = |prompt: &str| Params {
        prompt: prompt.to_string(),
        steps: args.steps,
        width: args.size,
        height: args.size,
        ..Params::default()
    };
    make(&sd, &params("")).await?;
    gpu.set_profiling(true)?;
    make(&sd, &params(&args.prompt)).await?;
    Ok((format!("{}, {}", gpu.adapter().name, gpu.storage().name()), gpu.profile().await?))
}

async fn make(sd: &StableDiffusion, params: &Params) -> Result<()> {
    let mut generation = sd.start(params).await?;
    while generation.step().await? {}
    generation.image(sd).await.map(drop)
}

/// Plans in the order they ran, in each the slowest first.
fn table(rows: &[Timed]) {
    let all: f64 = rows.iter().map(|row| row.seconds).sum();
    let mut plans: Vec<&str> = Vec::new();
    rows.iter().for_each(|row| {
        if !plans.contains(&row.plan) {
            plans.push(row.plan)
        }
    });
    for plan in plans {
        let mut of_plan: Vec<&Timed> = rows.iter().filter(|row| row.plan == plan).collect();
        of_plan.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let seconds: f64 = of_plan.iter().map(|row| row.seconds).sum();
        println!("\n{plan}: {:.3} ms, {:.1} %", seconds * 1e3, 100.0 * seconds / all);
        println!(
            "{:<28}{:<18}{:<22}{:>8}{:>12}{:>8}{:>12}{:>10}",
            "", "kernel", "result", "times", "ms", "%", "GFLOP/s", "GB/s"
        );
        for row in of_plan {
            let shape: Vec<String> = row.shape.iter().map(usize::to_string).collect();
            println!(
                "{:<28}{:<18}{:<22}{:>8}{:>12.3}{:>8.1}{:>12.1}{:>10.2}",
                row.class,
                row.kernel,
                shape.join("×"),
                row.dispatches,
                row.seconds * 1e3,
                100.0 * row.seconds / all,
                row.flops as f64 / row.seconds / 1e9,
                row.bytes as f64 / row.seconds / 1e9,
            );
        }
    }
}

/// The page's own view of a profile, in a file that needs no server.
fn page(adapter: &str, rows: &[Timed]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "plan": row.plan, "class": row.class, "kernel": row.kernel, "shape": row.shape,
                "dispatches": row.dispatches, "seconds": row.seconds, "flops": row.flops, "bytes": row.bytes,
            })
        })
        .collect();
    // A module that stands in a page can import nothing beside it, so they all become one.
    let modules = [
        include_str!("../www/ui/format.js"),
        include_str!("../www/text/en.js"),
        include_str!("../www/ui/dom.js"),
        include_str!("../www/ui/profile_view.js"),
    ];
    let lines = modules.iter().flat_map(|module| module.lines()).filter(|line| !line.starts_with("import "));
    let view = lines.collect::<Vec<_>>().join("\n").replace("export default {", "const words = {");
    let style = include_str!("../www/style.css");
    let rows = serde_json::Value::from(rows).to_string().replace('<', "\\u003c");
    let adapter = serde_json::json!(adapter).to_string().replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Wordbrush: a profile</title>\n<style>\n{style}</style>\n<main></main>\n\
         <script type=\"module\">\n{view}\ndocument.querySelector('main').append(element('h1', {{ textContent: {adapter} }}), \
         profileView({rows}, words.profile));\n</script>\n"
    )
}
