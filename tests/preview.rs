//! Previews: like the picture that comes, for whatever VAE is in use, and without a trace in it.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use checkpoints::{arrays, file, load};
use wordbrush::files::{MemorySource, Source};
use wordbrush::gpu::{Options, Storage};
use wordbrush::pipeline::{Generation, Image, Params, StableDiffusion};

fn small(prompt: &str) -> Params {
    Params { prompt: prompt.to_string(), steps: 3, width: 64, height: 64, ..Params::default() }
}

/// The published demo model, as the page unpacks it.
fn demo() -> StableDiffusion {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/demo/shapes.safetensors.gz");
    let packed = std::fs::read(path).expect("the model");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
    pollster::block_on(async {
        let source = Rc::new(MemorySource::new("shapes.safetensors", bytes));
        let mut sd = StableDiffusion::open(vec![source], Options::default()).await.unwrap_or_else(|e| panic!("{e}"));
        while sd.load().await.unwrap_or_else(|e| panic!("{e}")) {}
        sd
    })
}

/// PSNR of a preview against the picture at its size: each pixel against the mean of 8×8.
fn likeness(preview: &Image, picture: &Image) -> f64 {
    assert_eq!((preview.width * 8, preview.height * 8), (picture.width, picture.height));
    let mut error = 0.0;
    for (i, pixel) in preview.rgba.chunks_exact(4).enumerate() {
        let (y, x) = (i / preview.width * 8, i % preview.width * 8);
        for (c, &byte) in pixel[..3].iter().enumerate() {
            let at = |j: usize| f64::from(picture.rgba[((y + j / 8) * picture.width + x + j % 8) * 4 + c]);
            error += ((0..64).map(at).sum::<f64>() / 64.0 - f64::from(byte)).powi(2);
        }
    }
    10.0 * (255.0f64.powi(2) * (preview.width * preview.height * 3) as f64 / error.max(1e-9)).log10()
}

/// A picture with a preview after each step that is `looked` at; the decoded latents and all that was seen.
fn watch(sd: &StableDiffusion, params: &Params, looked: impl Fn(usize) -> bool) -> (Image, Vec<Image>) {
    pollster::block_on(async {
        let mut generation: Generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        let mut previews = Vec::new();
        for step in 0..params.steps {
            generation.step().await.unwrap_or_else(|e| panic!("{e}"));
            if looked(step) {
                previews.push(generation.preview(sd).await.unwrap_or_else(|e| panic!("{e}")));
            }
        }
        (generation.image(sd).await.expect("an image"), previews)
    })
}

#[test]
fn the_last_preview_is_the_picture_in_small() {
    let sd = demo();
    for (prompt, seed) in [("a red circle on a white background", 1), ("a blue square on a yellow background", 2)] {
        let params = Params {
            prompt: prompt.to_string(),
            cfg: 3.0,
            steps: 10,
            width: 128,
            height: 128,
            seed,
            ..Params::default()
        };
        let (picture, previews) = watch(&sd, &params, |_| true);
        let likenesses: Vec<f64> = previews.iter().map(|preview| likeness(preview, &picture)).collect();
        println!("{prompt}: {likenesses:.1?} dB");
        assert!(likenesses[9] >= 18.0 && likenesses[9] > likenesses[0], "{prompt}: {likenesses:.1?} dB");
    }
}

#[test]
fn looking_changes_nothing_and_sees_the_same_however_often() {
    let sd = load(file(&arrays("two_levels")), Storage::Packed);
    let params = small("a cat");
    let (never, none) = watch(&sd, &params, |_| false);
    let (always, all) = watch(&sd, &params, |_| true);
    let before = sd.gpu().expect("a GPU").allocated();
    let (once, last) = watch(&sd, &params, |step| step == 2);
    assert!(never == always && never == once);
    assert_eq!((none.len(), all.len(), last.len()), (0, 3, 1));
    assert!(all[2] == last[0] && all[0] != all[2]);
    assert_eq!(sd.gpu().expect("a GPU").allocated(), before, "previews keep no memory");
}

#[test]
fn another_vae_has_other_colours() {
    let checkpoint = arrays("two_levels");
    let mut sd = load(file(&checkpoint), Storage::Packed);
    let before = watch(&sd, &small("a cat"), |step| step == 2).1;
    let bright = checkpoint.iter().filter_map(|(name, dtype, shape, bytes)| {
        let rest = name.strip_prefix("first_stage_model.")?;
        let white = half::f16::from_f32(9.0).to_le_bytes().repeat(3);
        let bytes = if rest == "decoder.conv_out.bias" { white } else { bytes.clone() };
        Some((rest.to_string(), *dtype, shape.clone(), bytes))
    });
    let bytes = checkpoints::safetensors(&bright.collect::<Vec<_>>());
    let source: Rc<dyn Source> = Rc::new(MemorySource::new("bright.safetensors", bytes));
    pollster::block_on(async {
        sd.open_vae(source).await.expect("a VAE");
        while sd.load().await.expect("a slice") {}
    });
    let after = watch(&sd, &small("a cat"), |step| step == 2).1;
    assert!(after[0].rgba.iter().all(|&byte| byte >= 254), "a bias of 9 is white");
    assert!(before[0] != after[0]);
}

#[test]
fn the_cpu_draws_the_same() {
    let checkpoint = arrays("two_levels");
    let on_gpu = watch(&load(file(&checkpoint), Storage::F32), &small("a cat"), |_| true).1;
    let sd = pollster::block_on(async {
        let mut sd = StableDiffusion::open_on_cpu(file(&checkpoint)).await.unwrap_or_else(|e| panic!("{e}"));
        while sd.load().await.unwrap_or_else(|e| panic!("{e}")) {}
        sd
    });
    for (cpu, gpu) in watch(&sd, &small("a cat"), |_| true).1.iter().zip(&on_gpu) {
        let far = cpu.rgba.iter().zip(&gpu.rgba).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(2), "{far:?}");
    }
}
