//! Previews: like the picture that comes, for whatever VAE is in use, and without a trace in it.

#[path = "support/checkpoints.rs"]
mod checkpoints;
#[path = "support/demo.rs"]
mod published;
mod support;

use std::rc::Rc;

use checkpoints::{arrays, file, load};
use published::demo;
use support::golden;
use wordbrush::Code;
use wordbrush::files::safetensors::header_of;
use wordbrush::files::{DType, MemorySource, Source};
use wordbrush::gpu::Storage;
use wordbrush::pipeline::{Decoder, Generation, Image, Params, StableDiffusion};

fn small(prompt: &str) -> Params {
    Params { prompt: prompt.to_string(), steps: 3, width: 64, height: 64, ..Params::default() }
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
    let prompts = [("a red circle on a white background", 1), ("a blue square on a yellow background", 2)];
    let watched = prompts.map(|(prompt, seed)| {
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
        // The best linear map there is for this VAE, fitted to its own training pictures, comes within 20 dB; a map fitted to
        // noise within 13 to 14.
        assert!(likenesses[9] >= 15.0, "{prompt}: {likenesses:.1?} dB");
        (picture, previews)
    });
    // It is this picture and not the other one.
    let [(one, first), (other, second)] = &watched;
    for (preview, own, others) in [(&first[9], one, other), (&second[9], other, one)] {
        let (like, unlike) = (likeness(preview, own), likeness(preview, others));
        assert!(like > unlike + 3.0, "{like:.1} dB from its own picture, {unlike:.1} dB from the other");
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

/// The arrays of `golden/models/taesd.safetensors`, called otherwise.
fn taesd(rename: impl Fn(&str) -> String) -> Rc<dyn Source> {
    let bytes = std::fs::read(golden("models/taesd.safetensors")).expect("a fixture");
    let header = header_of("taesd", &bytes).expect("a header");
    let arrays = header.arrays.iter().map(|array| {
        let part = &bytes[array.offset as usize..][..array.length as usize];
        (rename(&array.name), array.dtype, array.shape.clone(), part.to_vec())
    });
    Rc::new(MemorySource::new("some/taesd.safetensors", checkpoints::safetensors(&arrays.collect::<Vec<_>>())))
}

/// A name in the original's way, where the clamp is layer 0.
fn original(name: &str) -> String {
    let rest = name.strip_prefix("decoder.layers.").expect("a decoder's");
    let (index, leaf) = rest.split_once('.').expect("an index");
    format!("{}.{leaf}", index.parse::<usize>().expect("a number") + 1)
}

fn bring(sd: &mut StableDiffusion, source: Rc<dyn Source>) -> wordbrush::Result<Decoder> {
    pollster::block_on(async {
        let decoder = sd.open_vae(source).await?;
        while sd.load().await? {}
        Ok(decoder)
    })
}

#[test]
fn a_taesd_is_known_by_its_tensors_and_decodes_where_it_is_asked_to() {
    let mut sd = load(file(&arrays("two_levels")), Storage::Packed);
    let by_vae = small("a cat");
    let by_taesd = Params { decoder: Decoder::Taesd, ..small("a cat") };
    let early = pollster::block_on(sd.start(&by_taesd)).err().expect("no TAESD yet");
    assert!(early.code == Code::BadOption && early.message.contains("taesd_decoder"), "{early}");
    let (own, _) = watch(&sd, &by_vae, |_| false);

    let mut pictures = Vec::new();
    let names: [fn(&str) -> String; 4] = [
        str::to_string,
        original,
        |name| format!("decoder.{}", original(name)),
        |name| format!("taesd_decoder.{}", original(name)),
    ];
    for rename in names {
        assert_eq!(bring(&mut sd, taesd(rename)).expect("a TAESD"), Decoder::Taesd);
        pictures.push(watch(&sd, &by_taesd, |_| false).0);
    }
    assert!(pictures.iter().all(|picture| *picture == pictures[0]) && pictures[0] != own);
    assert!(watch(&sd, &by_vae, |_| false).0 == own, "the VAE stays");
    assert_eq!(sd.model().vae, None);

    pollster::block_on(async {
        let mut generation = sd.start(&by_taesd).await.expect("a start");
        while generation.step().await.expect("a step") {}
        // Euler's last step goes all the way: what it denoised is the picture.
        assert!(generation.preview_by_taesd(&sd).await.expect("a preview") == pictures[0]);
        let infotext = generation.recipe(&sd).extra;
        assert!(infotext.contains(&("VAE Decoder".to_string(), "TAESD".to_string())), "{infotext:?}");
    });
}

#[test]
fn what_is_no_taesd_decoder_is_refused_by_name() {
    let mut sd = load(file(&arrays("two_levels")), Storage::Packed);
    let encoder = ["0.weight", "1.conv.0.weight", "3.conv.0.weight"];
    let arrays: Vec<checkpoints::Array> =
        encoder.iter().map(|name| ((*name).to_string(), DType::F16, vec![4, 4, 1, 1], vec![0; 32])).collect();
    let encoder = Rc::new(MemorySource::new("taesd_encoder.safetensors", checkpoints::safetensors(&arrays)));
    let error = bring(&mut sd, encoder).expect_err("an encoder");
    assert!(error.code == Code::WrongFamily && error.message.contains("encoder"), "{error}");
    let lacking = taesd(|name| original(name).replace("8.conv.2.weight", "8.conv.9.weight"));
    let error = bring(&mut sd, lacking).expect_err("a tensor is missing");
    assert_eq!(error.code, Code::MissingTensors, "{error}");
}
