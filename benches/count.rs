//! What a picture of full-size Stable Diffusion 1.5 asks of the device, class by class, beside the work model.
//!
//! `cargo xtask bench --count [--size 512] [--dtype f16]`: nothing is computed and no weights are needed, so it takes seconds and
//! little memory anywhere. `tests/counts.rs` holds the limits; `benches/RESULTS.md` keeps the tables.

#[path = "../tests/support/full_size.rs"]
mod full_size;

use std::collections::BTreeMap;

use clap::Parser;
use full_size::picture;
use wordbrush::gpu::{Counted, Dispatch, Pace, Storage};

#[derive(Parser)]
struct Args {
    /// Side of the picture in pixels.
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// f32, f16 or packed.
    #[arg(long, default_value = "f16")]
    dtype: String,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A class of the work model (`spec/flops.py`, 512×512, batch 2, f16): operations, multiplications and additions, bytes of
/// weights, bytes read, bytes written; and which classes of dispatches are that.
type Model = (&'static str, [u64; 5], &'static [&'static str]);

const UNET: [Model; 6] = [
    (
        "conv 3×3",
        [49, 789_326_069_760, 1_043_297_280, 186_515_456, 118_685_696],
        &["conv 3×3", "conv 2×2 in four phases", "conv 3×3 of the stretched"],
    ),
    ("conv 3×3, stride 2", [3, 11_324_620_800, 38_707_200, 9_175_040, 2_293_760], &["conv 3×3, stride 2"]),
    ("linear and conv 1×1", [142, 547_776_102_400, 542_105_600, 757_923_840, 633_077_760], &["linear", "conv 1×1"]),
    ("self-attention", [16, 244_989_296_640, 0, 138_608_640, 46_202_880], &["self-attention"]),
    ("cross-attention", [16, 7_115_243_520, 0, 53_890_560, 46_202_880], &["cross-attention"]),
    ("norms", [61, 0, 0, 180_224_000, 134_021_120], NORMS),
];
const VAE: [Model; 4] = [
    (
        "conv 3×3",
        [33, 2_437_209_391_104, 96_480_000, 1_342_210_048, 970_457_088],
        &["conv 3×3", "conv 2×2 in four phases", "conv 3×3 of the stretched"],
    ),
    ("linear and conv 1×1", [5, 42_949_804_032, 2_424_864, 213_942_272, 117_473_280], &["linear", "conv 1×1"]),
    ("self-attention", [1, 34_359_738_368, 0, 12_582_912, 4_194_304], &["self-attention"]),
    ("norms", [30, 0, 0, 918_552_576, 918_552_576], NORMS),
];
const CLIP: [Model; 3] = [
    ("linear and conv 1×1", [48, 26_159_874_048, 169_869_312, 19_869_696, 25_546_752], &["linear", "conv 1×1"]),
    ("self-attention", [12, 437_133_312, 0, 8_515_584, 2_838_528], &["self-attention"]),
    ("norms", [0; 5], NORMS),
];
const NORMS: &[&str] = &["group_norm", "group_norm_stats", "layer_norm"];

fn main() {
    let args = Args::parse();
    let storages = [Storage::F32, Storage::F16, Storage::Packed];
    let Some(storage) = storages.into_iter().find(|storage| storage.name() == args.dtype) else {
        println!("--dtype is f32, f16 or packed");
        return;
    };
    let run = picture(args.size, storage);
    println!(
        "Stable Diffusion 1.5, {0}×{0}, batch 2, {1}: counted, not run. MB are 10^6 bytes.",
        args.size, args.dtype
    );
    if args.size != 512 {
        println!("The work model's numbers in brackets are those of 512×512 in f16.");
    }
    table(run.plan("unet step"), &UNET);
    println!(
        "bytes written by the CPU per step {}, read back {}, buffers made {}, bind groups made {}",
        run.step.uploaded, run.step.read_back, run.step.buffers, run.step.bind_groups
    );
    table(run.plan("vae decode"), &VAE);
    table(run.plan("clip"), &CLIP);
    for label in ["unet time", "unet prompt"] {
        let stats = run.plan(label).stats;
        println!("\n{label} (once): {} dispatches, {:.2} GFLOP", stats.dispatches, stats.flops as f64 / 1e9);
    }
    println!(
        "\nbytes on the device: {:.0} MB once loaded, {:.0} MB at most",
        megabytes(run.loaded),
        megabytes(run.peak)
    );
}

fn table(plan: &Counted, model: &[Model]) {
    println!("\n{}", plan.label);
    println!("{:<26}{:>14}{:>20}{:>20}{:>20}{:>20}", "", "dispatches", "GFLOP", "held MB", "read MB", "written MB");
    let mut rest: BTreeMap<&str, Vec<&Dispatch>> = BTreeMap::new();
    for dispatch in &plan.dispatches {
        let known = model.iter().find(|(_, _, classes)| classes.contains(&dispatch.class));
        rest.entry(known.map_or(dispatch.class, |(name, ..)| name)).or_default().push(dispatch);
    }
    for (name, expected, _) in model {
        row(name, sums(&rest.remove(name).unwrap_or_default()), Some(expected));
    }
    for (name, dispatches) in rest {
        row(name, sums(&dispatches), None);
    }
    let all = model.iter().fold([0; 5], |all, (_, part, _)| std::array::from_fn(|i| all[i] + part[i]));
    row("all", sums(&plan.dispatches.iter().collect::<Vec<_>>()), Some(&all));
    let largest = plan.dispatches.iter().map(|dispatch| dispatch.largest).max().unwrap_or(0);
    println!(
        "arena {:.1} MiB, largest binding {:.1} MiB",
        plan.stats.arena as f64 / 1048576.0,
        largest as f64 / 1048576.0
    );
    submits(plan);
}

/// In how many dispatches and submits a plan goes to a GPU, by what is known of the GPU's speed.
fn submits(plan: &Counted) {
    for tera in [0, 1, 2, 4, 6, 10] {
        let mut pace = Pace::unknown(false);
        pace.learn(tera * 1_000_000_000_000, 1.0);
        let parts: Vec<u64> = plan.dispatches.iter().flat_map(|dispatch| dispatch.cut(pace)).collect();
        println!(
            "{}: {} dispatches, {:.1} GFLOP at most; {} submits",
            if tera == 0 { "unknown speed".to_string() } else { format!("{tera} TFLOP/s") },
            parts.len(),
            parts.iter().max().map_or(0.0, |flops| *flops as f64 / 1e9),
            pace.submits(parts).len()
        );
    }
}

fn sums(dispatches: &[&Dispatch]) -> [u64; 5] {
    dispatches.iter().fold([0; 5], |[n, flops, held, read, written], dispatch| {
        [n + 1, flops + dispatch.flops, held + dispatch.held, read + dispatch.read, written + dispatch.written]
    })
}

fn row(name: &str, found: [u64; 5], model: Option<&[u64; 5]>) {
    let beside = |i: usize, number: fn(u64) -> String| {
        let expected = model.map_or("–".to_string(), |model| number(model[i]));
        format!("{} ({expected})", number(found[i]))
    };
    let gflop = |flops: u64| format!("{:.1}", flops as f64 / 1e9);
    let mb = |bytes: u64| format!("{:.1}", megabytes(bytes));
    let count = |n: u64| n.to_string();
    let bytes: String = (2..5).map(|i| format!("{:>20}", beside(i, mb))).collect();
    println!("{name:<26}{:>14}{:>20}{bytes}", beside(0, count), beside(1, gflop));
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
