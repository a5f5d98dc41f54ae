//! From files and prompts to pictures: against diffusers' trajectories, and the promises that need no oracle.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use checkpoints::{arrays, converted, embedding, file, folder, load, load_with};
use support::{Fixture, STORAGES, relative_error};
use wordbrush::Code;
use wordbrush::files::{DType, LocalFuture, MemorySource, Source};
use wordbrush::gpu::{Options, Storage};
use wordbrush::pipeline::{Image, Params, StableDiffusion};

/// A finished picture and what it was decoded from.
fn generate(sd: &StableDiffusion, params: &Params) -> (Vec<f32>, Image) {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        (generation.latents().await.expect("latents"), generation.image(sd).await.expect("an image"))
    })
}

fn small(prompt: &str) -> Params {
    Params { prompt: prompt.to_string(), steps: 2, width: 64, height: 64, ..Params::default() }
}

/// Peak signal-to-noise ratio of 8-bit pictures, in dB.
fn psnr(found: &Image, expected: &[f32]) -> f64 {
    let rgb = found.rgba.chunks(4).flat_map(|pixel| pixel[..3].to_vec());
    let error: f64 = rgb.zip(expected).map(|(a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) * expected.len() as f64 / error.max(1e-9)).log10()
}

/// ComfyUI's KSampler on diffusers' networks. The prompts of the fixtures are random rows, which here come in as two
/// embeddings of 75 vectors, one in each prompt.
fn trajectories_of_diffusers(name: &str) {
    let fixture = Fixture::read(&format!("{name}.euler"));
    let width = fixture.shape("rows.positive")[2];
    let side = fixture.shape("noise")[2] * 8;
    let checkpoint = arrays(name);
    for storage in STORAGES {
        let mut sd = load(file(&checkpoint), storage);
        for which in ["positive", "negative"] {
            let rows = &fixture.numbers(&format!("rows.{which}"))[width..76 * width];
            sd.add_embedding(&format!("{which}.safetensors"), &embedding(rows, width)).expect("an embedding");
        }
        let params = |prompt: &str, negative: &str, steps, cfg: usize| Params {
            prompt: prompt.to_string(),
            negative_prompt: negative.to_string(),
            steps,
            cfg: cfg as f32,
            width: side,
            height: side,
            ..Params::default()
        };
        // README of the fixtures: 1e-4 in f32; halves round every layer's result, 4e-3 to 6e-3 in diffusers too.
        let (most, least_psnr) = if storage == Storage::F32 { (1e-4, 50.0) } else { (2e-2, 35.0) };
        for (steps, cfg) in [(2, 8), (4, 8), (2, 1), (4, 1)] {
            let params = params("embedding:positive", "embedding:negative", steps, cfg);
            let (latents, image) = generate(&sd, &params);
            let case = format!("steps{steps}.cfg{cfg}");
            let error = relative_error(&latents, fixture.numbers(&format!("latents.{case}")));
            let psnr = psnr(&image, fixture.numbers(&format!("rgb.{case}")));
            println!("{name} {case} {storage:?}: latents {error:.1e}, {psnr:.1} dB");
            assert!(error <= most, "{name} {case} {storage:?}: latents {error:.2e}");
            assert!(psnr >= least_psnr, "{name} {case} {storage:?}: {psnr:.1} dB");
        }
        let (latents, _) = generate(&sd, &params("(embedding:positive:1.5)", "", 2, 8));
        let error = relative_error(&latents, fixture.numbers("latents.weighted"));
        println!("{name} weighted {storage:?}: latents {error:.1e}");
        assert!(error <= most, "{name} weighted {storage:?}: latents {error:.2e}");
    }
}

// One test each: two run at a time.

#[test]
fn trajectories_of_four_levels() {
    trajectories_of_diffusers("four_levels");
}

#[test]
fn trajectories_of_three_levels() {
    trajectories_of_diffusers("three_levels");
}

#[test]
fn trajectories_of_two_levels() {
    trajectories_of_diffusers("two_levels");
}

/// The kernels for GPUs, with their sizes baked into the text, where the adapter would get those for software: norms from
/// the statistics that products leave, and all else that only they do.
fn the_gpus_kernels_agree_with_diffusers(storage: Storage, most: f64, least: f64) {
    let fixture = Fixture::read("two_levels.euler");
    let width = fixture.shape("rows.positive")[2];
    let options = Options { storage: Some(storage), software: Some(false), ..Options::default() };
    let mut sd = load_with(file(&arrays("two_levels")), options);
    assert!(!sd.gpu().expect("a GPU").adapter().software);
    for which in ["positive", "negative"] {
        let rows = &fixture.numbers(&format!("rows.{which}"))[width..76 * width];
        sd.add_embedding(&format!("{which}.safetensors"), &embedding(rows, width)).expect("an embedding");
    }
    let params = Params { negative_prompt: "embedding:negative".to_string(), ..small("embedding:positive") };
    let (latents, image) = generate(&sd, &params);
    let error = relative_error(&latents, fixture.numbers("latents.steps2.cfg8"));
    let psnr = psnr(&image, fixture.numbers("rgb.steps2.cfg8"));
    println!("{storage:?}: latents {error:.1e}, {psnr:.1} dB");
    assert!(error <= most && psnr >= least, "{storage:?}: latents {error:.2e}, {psnr:.1} dB");
}

// Two storages: compiling a pipeline for each of some hundred shapes takes a CPU adapter half a minute.

#[test]
fn the_gpus_kernels_agree_in_f32() {
    the_gpus_kernels_agree_with_diffusers(Storage::F32, 1e-4, 50.0);
}

#[test]
fn the_gpus_kernels_agree_in_f16() {
    the_gpus_kernels_agree_with_diffusers(Storage::F16, 2e-2, 35.0);
}

/// The heart of Textual Inversion: rows are rows, wherever they come from.
#[test]
fn an_embedding_of_a_words_rows_is_the_word() {
    let checkpoint = arrays("two_levels");
    let (table, width) = token_table(&checkpoint);
    let row = |id: usize| table[id * width..(id + 1) * width].to_vec();
    let (a, cat) = (320, 2368);
    for storage in STORAGES {
        let mut sd = load(file(&checkpoint), storage);
        sd.add_embedding("cat_copy.safetensors", &embedding(&row(cat), width)).expect("an embedding");
        sd.add_embedding("a_cat.safetensors", &embedding(&[row(a), row(cat)].concat(), width)).expect("an embedding");
        let word = generate(&sd, &small("a photo of a cat, (cat:1.3)"));
        let copy = generate(&sd, &small("a photo of a embedding:cat_copy , (embedding:cat_copy:1.3)"));
        let two = generate(&sd, &small("a photo of embedding:a_cat , (embedding:cat_copy:1.3)"));
        assert!(word == copy && word == two, "{storage:?}");
        let other = generate(&sd, &small("a photo of a dog, (cat:1.3)"));
        assert!(relative_error(&other.0, &word.0) > 1e-3, "{storage:?}: the prompt matters");
        let weighed = generate(&sd, &small("a photo of a cat, (cat:0.3)"));
        assert!(relative_error(&weighed.0, &word.0) > 1e-4, "{storage:?}: the weight matters");
    }
}

fn token_table(checkpoint: &[checkpoints::Array]) -> (Vec<f32>, usize) {
    let table = checkpoint.iter().find(|array| array.0.ends_with("token_embedding.weight")).expect("a table");
    (table.3.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(), table.2[1])
}

#[test]
fn same_seed_same_bytes() {
    let sd = load(file(&arrays("three_levels")), Storage::Packed);
    let png = |seed| {
        let (_, image) = generate(&sd, &Params { seed, ..small("a cat") });
        image.png().expect("a PNG")
    };
    let first = png(7);
    assert_eq!(first, png(7));
    assert_ne!(first, png(8));
    // Torch's generator takes the seed's low 32 bits.
    assert_eq!(first, png(7 + (1 << 32)));
    assert_eq!(&first[..8], b"\x89PNG\r\n\x1a\n");
}

/// The weights of the fixtures are exact in f16, bf16 and f32, so every container must give the same bits.
#[test]
fn every_container_gives_the_same_picture() {
    // The token table too: by way of f16 and bf16 its numbers become such as all three types hold.
    let halves = converted(&arrays("two_levels"), DType::F16);
    let checkpoint = converted(&converted(&halves, DType::BF16), DType::F16);
    let expected = generate(&load(file(&checkpoint), Storage::F32), &small("a cat"));
    let mut with_ema = checkpoint.clone();
    for (name, dtype, shape, bytes) in &checkpoint {
        if let Some(rest) = name.strip_prefix("model.diffusion_model.") {
            let name = format!("model_ema.diffusion_model{}", rest.replace('.', ""));
            with_ema.push((name, *dtype, shape.clone(), vec![0; bytes.len()]));
        }
    }
    let old_spelling: Vec<_> = checkpoint
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            // Some tools write the VAE's attention as matrices, not as 1×1 convolutions.
            let flat = name.contains(".mid.attn_1.") && shape.len() == 4;
            (name.clone(), *dtype, if flat { shape[..2].to_vec() } else { shape.clone() }, bytes.clone())
        })
        .collect();
    for (what, sources) in [
        ("bf16", file(&converted(&checkpoint, DType::BF16))),
        ("f32", file(&converted(&checkpoint, DType::F32))),
        ("EMA keys", file(&with_ema)),
        ("matrices", file(&old_spelling)),
        ("a diffusers folder", folder(&checkpoint)),
    ] {
        let found = generate(&load(sources, Storage::F32), &small("a cat"));
        assert!(found == expected, "{what}: {:.1e}", relative_error(&found.0, &expected.0));
    }
}

#[test]
fn guidance_of_one_leaves_the_negative_prompt_out() {
    let sd = load(file(&arrays("two_levels")), Storage::F32);
    let flops = |cfg| {
        let params = Params { cfg, ..small("a cat") };
        let generation = pollster::block_on(sd.start(&params)).expect("a start");
        generation.step_stats().expect("stats").flops
    };
    // Twice the work but for what both prompts share, which is done once.
    let (one, both) = (flops(1.0), flops(8.0));
    assert!(one < both && both < 2 * one, "{both} of {one}");
    let with =
        |negative: &str, cfg| generate(&sd, &Params { negative_prompt: negative.to_string(), cfg, ..small("a cat") }).0;
    assert_eq!(with("dog", 1.0), with("", 1.0));
    assert_ne!(with("dog", 8.0), with("", 8.0));
}

#[test]
fn long_prompts_take_several_windows() {
    let sd = load(file(&arrays("two_levels")), Storage::F32);
    let long = "cat ".repeat(100);
    for (prompt, negative, tokens) in [(long.as_str(), "dog", vec![77, 154]), ("dog", long.as_str(), vec![154, 77])] {
        let params = Params { negative_prompt: negative.to_string(), ..small(prompt) };
        let generation = pollster::block_on(sd.start(&params)).expect("a start");
        assert_eq!(generation.conditioning().tokens(), tokens);
        let (latents, _) = generate(&sd, &params);
        assert!(latents.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn memory_comes_back() {
    let sd = load(file(&arrays("three_levels")), Storage::Packed);
    generate(&sd, &small("a cat"));
    let before = sd.gpu().expect("a GPU").allocated();
    for _ in 0..3 {
        drop(pollster::block_on(sd.start(&small("stopped at once"))));
        // Decoding gives the text encoder back.
        generate(&sd, &small("a cat"));
    }
    assert_eq!(sd.gpu().expect("a GPU").allocated(), before);
}

#[test]
fn parameters_that_cannot_be_used() {
    let sd = load(file(&arrays("three_levels")), Storage::Packed);
    let refused = |params: Params| {
        let error = pollster::block_on(sd.start(&params)).err().expect("a refusal");
        assert_eq!(error.code, Code::BadOption, "{error}");
        error.message
    };
    let good = small("a cat");
    assert!(refused(Params { width: 100, ..good.clone() }).contains("width is 100"));
    assert!(refused(Params { height: 0, ..good.clone() }).contains("height is 0"));
    assert!(refused(Params { height: 1 << 20, ..good.clone() }).contains("multiple of 8"));
    assert!(refused(Params { steps: 0, ..good.clone() }).contains('0'));
    assert!(refused(Params { steps: 100_000, ..good.clone() }).contains("100000"));
    assert!(refused(Params { cfg: f32::NAN, ..good.clone() }).contains("NaN"));
    assert!(refused(Params { clip_skip: 0, ..good.clone() }).contains("clip skip"));
    generate(&sd, &good);
}

#[test]
fn embeddings_that_do_not_fit_are_explained() {
    let mut sd = load(file(&arrays("three_levels")), Storage::Packed);
    let mut refused = |name: &str, bytes: &[u8]| sd.add_embedding(name, bytes).expect_err("a refusal");
    let wide = refused("sd2.safetensors", &embedding(&[0.1; 1024], 1024));
    assert_eq!(wide.code, Code::WrongWidth);
    assert!(wide.message.contains("1024 != 64") && wide.message.contains("Stable Diffusion 2"), "{wide}");
    assert_eq!(refused("nan.pt", &embedding(&[f32::NAN; 64], 64)).code, Code::NotFinite);
    assert_eq!(refused("page.pt", b"<!DOCTYPE html><html>").code, Code::HtmlPage);
    assert_eq!(refused("lfs.pt", b"version https://git-lfs.github.com/spec/v1\n").code, Code::LfsPointer);
    assert_eq!(refused("empty.pt", b"").code, Code::EmptyFile);
    assert!(sd.library().is_empty());
    let warnings = pollster::block_on(sd.start(&small("embedding:nan"))).expect("a start").warnings().to_vec();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn broken_numbers_are_no_picture() {
    let mut checkpoint = converted(&arrays("two_levels"), DType::F32);
    let bias = checkpoint.iter_mut().find(|array| array.0 == "model.diffusion_model.out.2.bias").expect("a bias");
    bias.3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let sd = load(file(&checkpoint), Storage::Packed);
    let error = pollster::block_on(async {
        let mut generation = sd.start(&small("a cat")).await.expect("a start");
        while generation.step().await.expect("a step") {}
        generation.image(&sd).await.expect_err("no picture")
    });
    assert_eq!(error.code, Code::NumericNan);
}

#[test]
fn shapes_that_fit_nowhere_are_refused_by_name() {
    let checkpoint = arrays("two_levels");
    for (name, shape) in [
        ("model.diffusion_model.input_blocks.1.0.in_layers.0.weight", vec![16]),
        ("model.diffusion_model.input_blocks.1.0.in_layers.2.weight", vec![32, 32, 1, 9]),
        ("model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight", vec![128, 32]),
        ("first_stage_model.decoder.conv_in.weight", vec![64, 2, 3, 3]),
        ("model.diffusion_model.time_embed.0.weight", vec![128, 30]),
        ("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight", vec![257, 32]),
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", vec![0, 128]),
    ] {
        let mut broken = checkpoint.clone();
        let array = broken.iter_mut().find(|array| array.0 == name).expect(name);
        array.3.resize(shape.iter().product::<usize>() * array.1.size(), 0);
        array.2 = shape;
        let error = pollster::block_on(StableDiffusion::open(file(&broken), Options::default())).err();
        let error = error.unwrap_or_else(|| panic!("{name} was accepted"));
        assert_eq!(error.code, Code::WrongShape, "{error}");
    }
}

/// A file that fails once it is half read, as one that was moved meanwhile.
struct Failing(MemorySource);

impl Source for Failing {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, wordbrush::Result<Vec<u8>>> {
        if offset > 1 << 20 {
            return Box::pin(async { Err(wordbrush::Error::new(Code::Read, "the file is gone")) });
        }
        self.0.read(offset, length)
    }
}

#[test]
fn a_failed_load_leaves_the_loaded_model_usable() {
    let checkpoint = arrays("two_levels");
    let sd = load(file(&checkpoint), Storage::Packed);
    let before = generate(&sd, &small("a cat"));
    let bytes = checkpoints::safetensors(&checkpoint);
    let failing = Failing(MemorySource::new("moved.safetensors", bytes));
    pollster::block_on(async {
        let mut other =
            StableDiffusion::open(vec![std::rc::Rc::new(failing)], Options::default()).await.expect("a header");
        let unready = other.start(&small("a cat")).await.err().expect("not loaded yet");
        assert_eq!(unready.code, Code::Busy);
        let error = loop {
            match other.load().await {
                Ok(more) => assert!(more, "the file cannot be read to its end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, Code::Read);
    });
    assert!(before == generate(&sd, &small("a cat")));
}
