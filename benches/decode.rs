//! What decoding costs, as a whole and in strips: counts, and with `--run` the time and how near the pictures are.
//!
//! `cargo bench --bench decode -- --vae FILE [--size 512] [--dtype f16] [--run]` prints a line of JSON for each;
//! `benches/RESULTS.md` keeps them. FILE is a VAE alone or a whole checkpoint.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use wordbrush::files::source::DiskSource;
use wordbrush::files::vae_file;
use wordbrush::gpu::{Gpu, Options, Storage};
use wordbrush::models::{Room, Vae};
use wordbrush::samplers::torch_randn;
use wordbrush::weights::Weights;

#[derive(Parser)]
struct Args {
    /// A file that holds a VAE.
    #[arg(long)]
    vae: String,
    /// Side of the picture in pixels.
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// MiB that strips may take.
    #[arg(long, default_value_t = 128)]
    most: u64,
    /// f32, f16 or packed.
    #[arg(long)]
    dtype: Option<String>,
    /// Decode, do not only count.
    #[arg(long)]
    run: bool,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    pollster::block_on(measure(&args)).unwrap_or_else(|e| panic!("{e}"));
}

async fn measure(args: &Args) -> wordbrush::Result<()> {
    let storages = [Storage::F32, Storage::F16, Storage::Packed];
    let storage = args.dtype.as_ref().and_then(|name| storages.into_iter().find(|storage| storage.name() == name));
    let gpu = Gpu::open(Options { storage, ..Options::default() }).await?;
    let source = Rc::new(DiskSource::open(Path::new(&args.vae), "vae.safetensors")?);
    let weights = Weights::new(&gpu, vae_file::open(source).await?);
    let vae = Vae::load(&weights.at("vae"))?;
    let mut filling = weights.fill();
    while args.run && filling.step().await? {}

    let side = args.size / 8;
    let latents: Vec<f32> = torch_randn(1, side * side * 4).iter().map(|x| x * vae.latent_scale()).collect();
    let x = gpu.upload("latents", &[1, side, side, 4], gpu.storage(), &latents);
    let binding = gpu.largest_tensor();
    let room = |most| Room { most, tensor: gpu.largest_buffer(), binding };
    let ways = [
        ("whole", None),
        ("strips as bindings demand", Some(u64::MAX)),
        ("strips within --most", Some(args.most << 20)),
    ];
    let (mut flops, mut first, mut pictures) = (0, None, Vec::new());
    for (way, most) in ways {
        let decode = || match most {
            None => vae.decode(&x),
            Some(most) => vae.decode_in(&x, &room(most)),
        };
        let (plan, picture) = gpu.record("decode", || decode().keep());
        let stats = plan.stats();
        flops = if flops == 0 { stats.flops } else { flops };
        let fits = way != "whole" || vae.largest(args.size, args.size, gpu.storage().size()) <= binding;
        let (mut seconds, mut spread, mut psnr) = (None, None, None);
        if args.run && fits {
            let begun = Instant::now();
            plan.run();
            let found = picture.read().await?;
            seconds = Some(begun.elapsed().as_secs_f64());
            let mean = found.iter().sum::<f32>() / found.len() as f32;
            spread = Some((found.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / found.len() as f32).sqrt());
            psnr = first.as_ref().map(|first: &Vec<f32>| decibels(first, &found));
            first = first.or(Some(found));
        }
        let line = serde_json::json!({
            "decode": way, "pixels": args.size, "storage": gpu.storage().name(), "dispatches": stats.dispatches,
            "gflop": stats.flops as f64 / 1e9, "work": stats.flops as f64 / flops as f64,
            "arena_mib": stats.arena as f64 / 1048576.0, "s": seconds, "std": spread,
            "psnr_to_first_db": psnr,
        });
        println!("{line}");
        // Kept, so that no way finds another's picture where it was to write its own.
        pictures.push(picture);
        drop(plan);
        // What cannot be bound is refused when it is recorded; its counts are told all the same.
        let _ = gpu.check().await;
    }
    Ok(())
}

/// PSNR of pictures in −1…1.
fn decibels(one: &[f32], other: &[f32]) -> f64 {
    let error: f64 = one.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / one.len() as f64;
    assert!(error.is_finite(), "one of the pictures holds a value that is not a number");
    10.0 * (4.0 / error.max(1e-20)).log10()
}
