//! Which tile shape is how fast for the work of Stable Diffusion 1.5, and which part of what the adapter can do at all.
//!
//! `cargo xtask bench --tiles [--dtype f16] [--seconds 2] [--only TEXT] [--largest GFLOP] [--matrices]`: products of the UNet at 512×512 with
//! guidance, of the VAE and of the text encoder, each by every tile shape that fits, with the kernels of GPUs whatever the adapter is;
//! then attention. The adapter's peak is measured too: multiplications and additions of 32-bit floats that touch no memory.

use clap::Parser;
use wordbrush::Result;
use wordbrush::gpu::{Gpu, Kernel, Options, Plan, Storage, Tensor};
use wordbrush::kernels::{Activation, Attention, Gemm, Geometry, Memory, Rows, Split, Tile, attention_on, gemm_on};

#[derive(Parser)]
struct Args {
    /// f32, f16 or packed.
    #[arg(long)]
    dtype: Option<String>,
    /// What takes longer is measured once.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only problems whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// Larger problems are left out.
    #[arg(long, default_value_t = f64::INFINITY)]
    largest: f64,
    /// On the adapter's matrix units too.
    #[arg(long)]
    matrices: bool,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A product: name, input (B, H, W, C), columns, filter.
type Product = (&'static str, [usize; 4], usize, usize);

const PRODUCTS: [Product; 17] = [
    ("unet conv 3×3, 64²", [2, 64, 64, 320], 320, 3),
    ("unet conv 3×3, 64², after a skip", [2, 64, 64, 960], 320, 3),
    ("unet conv 3×3, 32²", [2, 32, 32, 640], 640, 3),
    ("unet conv 3×3, 32², after a skip", [2, 32, 32, 1280], 640, 3),
    ("unet conv 3×3, 16²", [2, 16, 16, 1280], 1280, 3),
    ("unet conv 3×3, 8²", [2, 8, 8, 1280], 1280, 3),
    ("unet linear, 64²", [2, 1, 4096, 320], 320, 1),
    ("unet linear, 64², feed-forward in", [2, 1, 4096, 320], 2560, 1),
    ("unet linear, 64², feed-forward out", [2, 1, 4096, 1280], 320, 1),
    ("unet linear, 32²", [2, 1, 1024, 640], 640, 1),
    ("unet linear, 32², feed-forward in", [2, 1, 1024, 640], 5120, 1),
    ("unet linear, 16²", [2, 1, 256, 1280], 1280, 1),
    ("unet linear, 16², feed-forward in", [2, 1, 256, 1280], 10_240, 1),
    ("vae conv 3×3, 64²", [1, 64, 64, 512], 512, 3),
    ("vae conv 3×3, 256²", [1, 256, 256, 256], 256, 3),
    ("vae conv 3×3, 512²", [1, 512, 512, 128], 128, 3),
    ("clip linear", [2, 1, 77, 768], 3072, 1),
];

/// An attention: name, batch, queries, keys, heads, numbers per head.
const ATTENTIONS: [(&str, [usize; 5]); 6] = [
    ("unet self-attention, 64²", [2, 4096, 4096, 8, 40]),
    ("unet self-attention, 32²", [2, 1024, 1024, 8, 80]),
    ("unet self-attention, 16²", [2, 256, 256, 8, 160]),
    ("unet cross-attention, 64²", [2, 4096, 77, 8, 40]),
    ("vae self-attention", [1, 4096, 4096, 1, 512]),
    ("clip self-attention", [2, 77, 77, 12, 64]),
];

/// Before a problem is measured.
const WARM: f64 = 0.2;

fn main() {
    let args = Args::parse();
    pollster::block_on(measure(&args)).unwrap_or_else(|e| panic!("{e}"));
}

async fn measure(args: &Args) -> Result<()> {
    let storages = [Storage::F32, Storage::F16, Storage::Packed].into_iter();
    let storage = args.dtype.as_ref().and_then(|name| storages.clone().find(|storage| storage.name() == name));
    let gpu =
        Gpu::open(Options { storage, software: Some(false), matrices: args.matrices, ..Options::default() }).await?;
    let peak = peak(&gpu).await?;
    println!("{}, {}; {:.1} GFLOP/s in 32-bit floats at most", gpu.adapter().name, gpu.storage().name(), peak / 1e9);
    let wanted = |name: &str, gflop: f64| name.contains(&args.only) && gflop <= args.largest;
    for (name, input, n, kernel) in PRODUCTS {
        let gflop = 2e-9 * (input.iter().product::<usize>() * n * kernel * kernel) as f64;
        if wanted(name, gflop) {
            println!("\n{name}: {gflop:.2} GFLOP");
            product(&gpu, (input, n, kernel), (gflop, peak), args.seconds).await?;
        }
    }
    for (name, sizes) in ATTENTIONS {
        let [batch, queries, keys, heads, dim] = sizes;
        let gflop = 4e-9 * (batch * queries * keys * heads * dim) as f64;
        if wanted(name, gflop) {
            println!("\n{name}: {gflop:.2} GFLOP");
            attention(&gpu, sizes, (gflop, peak), args.seconds).await?;
        }
    }
    Ok(())
}

/// All that are compared are compiled first: a device that waits for its shaders slows down.
async fn compare(gpu: &Gpu, plans: Vec<(String, Plan)>, work: (f64, f64), most: f64) -> Result<()> {
    for (i, (what, plan)) in plans.iter().enumerate() {
        if i == 0 {
            gpu.warm(plan, WARM.min(most)).await?;
        }
        row(what, gpu.seconds(plan, most).await?, work);
    }
    Ok(())
}

fn row(what: &str, seconds: f64, (gflop, peak): (f64, f64)) {
    let rate = gflop * 1e9 / seconds;
    println!(
        "  {what:<24}{:>10.3} ms{:>12.1} GFLOP/s{:>8.1} % of the peak",
        seconds * 1e3,
        rate / 1e9,
        100.0 * rate / peak
    );
}

/// Every tile shape; the rate is that of the direct algorithm, so Winograd's may pass the peak.
async fn product(gpu: &Gpu, problem: ([usize; 4], usize, usize), work: (f64, f64), most: f64) -> Result<()> {
    let ([b, h, w, c], n, kernel) = problem;
    let input = gpu.empty("input", &[b, h, w, c], gpu.storage());
    let weight = gpu.empty("weight", &[kernel, kernel, c, n], gpu.storage());
    let bias = gpu.empty("bias", &[n], Storage::F32);
    let padding = kernel / 2;
    let geometry = Geometry { kernel, phases: 1, stride: 1, padding, padding_end: padding, stretched: None };
    let args = Gemm {
        input: &input,
        input2: None,
        normal: None,
        weight: &weight,
        bias: Some(&bias),
        row_bias: None,
        activation: Activation::None,
        residual: None,
        geometry,
        out: None,
        strip: None,
    };
    let fits = |tile: &Tile| tile.fits(gpu.storage(), gpu.workgroup_memory());
    let matrices = gpu.adapter().matrices.is_some() && gpu.storage() == Storage::F16;
    let cooperative = Tile::COOPERATIVE.into_iter().filter(|_| matrices);
    let worth = |tile: &Tile| tile.memory != Memory::Stored || gpu.storage() == Storage::F16;
    let winograd = Tile::WINOGRAD.into_iter().filter(|_| kernel == 3);
    let tiles = Tile::SHARED.into_iter().chain(Tile::TEAMED).filter(worth).chain(winograd).chain(cooperative);
    let plans = tiles.filter(fits).map(|tile| (tile.to_string(), gpu.record("product", || gemm_on(tile, &args)).0));
    compare(gpu, plans.collect(), work, most).await
}

async fn attention(gpu: &Gpu, sizes: [usize; 5], work: (f64, f64), most: f64) -> Result<()> {
    let [batch, queries, keys, heads, head_dim] = sizes;
    let rows = |tokens| gpu.empty("rows", &[batch, tokens, heads * head_dim], gpu.storage());
    let (q, k, v) = (rows(queries), rows(keys), rows(keys));
    fn part(tensor: &Tensor) -> Rows<'_> {
        Rows { tensor, offset: 0 }
    }
    let args = Attention { q: part(&q), k: part(&k), v: part(&v), heads, head_dim, seen: None, causal: false };
    let fits = |split: &Split| split.fits(head_dim) && split.runs_on(gpu);
    let tiled: Vec<Split> = Split::TILED.into_iter().chain(Split::SHUFFLED).filter(fits).collect();
    let splits = if head_dim > 160 { vec![Split::Wide] } else { tiled };
    let plan = |split: Split| (split.to_string(), gpu.record("attention", || attention_on(split, &args)).0);
    compare(gpu, splits.into_iter().map(plan).collect(), work, most).await
}

/// Chains of multiplications and additions, eight vectors of four at a time in every thread.
const CHAINS: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<out4>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let factor = vec4<f32>(1.0 + f32(id.x) * 1e-9);
  var a = vec4<f32>(f32(id.x)); var b = a + 1.0; var c = a + 2.0; var d = a + 3.0;
  var e = a + 4.0; var f = a + 5.0; var g = a + 6.0; var h = a + 7.0;
  for (var i = 0u; i < ROUNDS; i++) {
    a = a * factor + factor; b = b * factor + factor; c = c * factor + factor; d = d * factor + factor;
    e = e * factor + factor; f = f * factor + factor; g = g * factor + factor; h = h * factor + factor;
  }
  out[id.x] = store_out(a + b + c + d + e + f + g + h);
}
";
const ROUNDS: usize = 512;

/// Multiplications and additions per second, where nothing else is done.
async fn peak(gpu: &Gpu) -> Result<f64> {
    let mut best = 0.0;
    // Enough to fill the adapter, but not for long where it is a CPU.
    for workgroups in [64, 1024, 16_384] {
        let plan: (Plan, Tensor) = gpu.record("peak", || {
            let out = gpu.result(&[workgroups * 256 * 4], Storage::F32);
            gpu.run(Kernel {
                name: "chains",
                class: "peak",
                wgsl: &[CHAINS],
                constants: &[("ROUNDS", ROUNDS.into())],
                params: &[],
                uniform: false,
                read: &[],
                write: &[Some(&out)],
                workgroups: [workgroups, 1, 1],
                flops: (workgroups * 256 * ROUNDS * 64) as u64,
            });
            out
        });
        let seconds = gpu.seconds(&plan.0, 0.5).await?;
        best = f64::max(best, plan.0.stats().flops as f64 / seconds);
        if seconds > 0.2 {
            break;
        }
    }
    Ok(best)
}
