//! Pictures made on the CPU: the same as the GPU's, and the same promises.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use std::rc::Rc;

use checkpoints::{arrays, embedding, f32s, file, load, safetensors};
use support::{golden, relative_error};
use wordbrush::files::source::DiskSource;
use wordbrush::files::{DType, LocalFuture, MemorySource, Source};
use wordbrush::gpu::Storage;
use wordbrush::pipeline::{Decoder, Image, Params, StableDiffusion};
use wordbrush::prompt::Syntax;
use wordbrush::{Code, recipe};

/// candle's feed-forward has the tanh form of GELU: in diffusers too that moves the last latents by 3e-4 to 5e-4
/// (`golden/models/README.md`), and more steps of more guidance carry it on.
const OTHER_GELU: f64 = 1e-3;
/// The text encoder has no such difference: only the order of sums is another. A1111's scale divides by a mean near zero.
const SAME_FORMULA: f64 = 1e-4;
/// design.md's bound for f32; measured 65 dB and more.
const LEAST_PSNR: f64 = 50.0;

const TABLE: &str = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight";

fn on_cpu(sources: Vec<Rc<dyn Source>>) -> StableDiffusion {
    pollster::block_on(async {
        let mut sd = StableDiffusion::open_on_cpu(sources).await.unwrap_or_else(|e| panic!("{e}"));
        while sd.load().await.unwrap_or_else(|e| panic!("{e}")) {}
        sd
    })
}

fn small(prompt: &str) -> Params {
    Params { prompt: prompt.to_string(), steps: 3, width: 64, height: 64, ..Params::default() }
}

/// What the UNet sees at the last step, the last latents, the picture.
fn generate(sd: &StableDiffusion, params: &Params) -> (Vec<f32>, Vec<f32>, Image) {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        let context = generation.context().await.expect("a context");
        (context, generation.latents().await.expect("latents"), generation.image(sd).await.expect("an image"))
    })
}

/// Peak signal-to-noise ratio of two pictures, in dB.
fn psnr(one: &Image, other: &Image) -> f64 {
    let error: f64 = one.rgba.iter().zip(&other.rgba).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    // The fourth byte is always the same and does not count.
    10.0 * (255.0f64.powi(2) * (one.rgba.len() * 3 / 4) as f64 / error.max(1e-9)).log10()
}

/// Prompts with everything in them: what they look like in words, and how they are read.
fn cases() -> Vec<(&'static str, Params)> {
    let long = "a house by the sea, ".repeat(20);
    let a1111 = |prompt: &str| Params { syntax: Syntax::A1111, ..small(prompt) };
    vec![
        ("plain", small("a photo of a cat")),
        ("weights and an embedding", small("a (photo:1.4) of (embedding:felix:0.6), {red|blue} (sky:-0.5)")),
        (
            "two windows",
            Params { negative_prompt: "(dog:1.3)".to_string(), ..small(&format!("{long}embedding:felix")) },
        ),
        ("a long negative prompt", Params { negative_prompt: format!("{long}(dog:1.2)"), ..small("embedding:felix") }),
        (
            "an early layer, no guidance, not square",
            Params { clip_skip: 2, cfg: 1.0, width: 96, ..small("(a cat:1.2)") },
        ),
        ("A1111's weights", Params { negative_prompt: "[dog]".to_string(), ..a1111("a ((photo)) of (felix:1.3)") }),
        ("schedules and parts", a1111("a [cat:felix:0.5] AND a [dog|house] :0.7")),
    ]
}

#[test]
fn pictures_are_those_of_the_gpu() {
    for name in ["two_levels", "three_levels"] {
        let checkpoint = arrays(name);
        let (mut gpu, mut cpu) = (load(file(&checkpoint), Storage::F32), on_cpu(file(&checkpoint)));
        assert!(gpu.gpu().is_some() && cpu.gpu().is_none());
        assert_eq!(cpu.text_width(), gpu.text_width());
        let rows = support::Numbers::new(3).take(2 * cpu.text_width(), Storage::F32);
        for sd in [&mut gpu, &mut cpu] {
            sd.add_embedding("felix.safetensors", &embedding(&rows, rows.len() / 2)).expect("an embedding");
        }
        for (case, params) in cases() {
            let ((context, latents, image), expected) = (generate(&cpu, &params), generate(&gpu, &params));
            let (seen, error) = (relative_error(&context, &expected.0), relative_error(&latents, &expected.1));
            let psnr = psnr(&image, &expected.2);
            println!("{name}, {case}: context {seen:.1e}, latents {error:.1e}, {psnr:.1} dB");
            assert!(seen <= SAME_FORMULA, "{name}, {case}: context {seen:.2e}");
            assert!(error <= OTHER_GELU, "{name}, {case}: latents {error:.2e}");
            assert!(psnr >= LEAST_PSNR, "{name}, {case}: {psnr:.1} dB");
        }
        // The comparison would notice a prompt that is passed over.
        let [cat, dog] = ["a cat", "a dog"].map(|prompt| generate(&cpu, &small(prompt)).1);
        assert!(relative_error(&cat, &dog) > 10.0 * OTHER_GELU, "{name}: the prompt matters");
    }
}

#[test]
fn an_embedding_of_a_words_rows_is_the_word() {
    let checkpoint = arrays("two_levels");
    let table = checkpoint.iter().find(|array| array.0 == TABLE).expect("a table");
    let (width, cat) = (table.2[1], 2368);
    let row: Vec<f32> = table.3[cat * width * 4..(cat + 1) * width * 4]
        .chunks(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let mut sd = on_cpu(file(&checkpoint));
    sd.add_embedding("copy.safetensors", &embedding(&row, width)).expect("an embedding");
    let word = generate(&sd, &small("a (cat:1.3)"));
    assert!(word == generate(&sd, &small("a (embedding:copy:1.3)")));
    assert!(word.2.png().expect("a PNG") == generate(&sd, &small("a (cat:1.3)")).2.png().expect("a PNG"), "same bytes");
    let facts = sd.embedding_facts("copy").expect("facts");
    assert_eq!(facts.nearest[0][0].id, 2368);
}

/// TAESD decodes and shows previews here too: the same picture as the GPU's.
#[test]
fn a_taesd_decodes() {
    let checkpoint = arrays("two_levels");
    let taesd =
        || Rc::new(DiskSource::open(&golden("models/taesd.safetensors"), "taesd_decoder.safetensors").expect("a file"));
    let params = Params { decoder: Decoder::Taesd, ..small("a cat") };
    let mut pictures = Vec::new();
    for mut sd in [on_cpu(file(&checkpoint)), load(file(&checkpoint), Storage::F32)] {
        pollster::block_on(async {
            assert!(sd.start(&params).await.err().expect("no TAESD yet").message.contains("taesd_decoder"));
            assert_eq!(sd.open_vae(taesd()).await.expect("a TAESD"), Decoder::Taesd);
            while sd.load().await.expect("a slice") {}
        });
        pictures.push(generate(&sd, &params).2);
    }
    let psnr = psnr(&pictures[0], &pictures[1]);
    println!("TAESD: {psnr:.1} dB");
    assert!(psnr >= LEAST_PSNR, "{psnr} dB");
    assert!(pictures[0] != generate(&on_cpu(file(&checkpoint)), &small("a cat")).2);
}

#[test]
fn loading_goes_on_in_slices_and_its_recipe_names_the_file() {
    let checkpoint = arrays("two_levels");
    pollster::block_on(async {
        let mut sd = StableDiffusion::open_on_cpu(file(&checkpoint)).await.expect("a header");
        let (at_first, total) = sd.loaded();
        assert_eq!((at_first, sd.start(&small("a cat")).await.err().expect("not loaded").code), (0, Code::Busy));
        let mut slices = 0;
        while sd.load().await.expect("a slice") {
            slices += 1;
            assert!(sd.loaded().0 < total);
        }
        assert!(slices > 0 && sd.loaded() == (total, total), "{slices}");
        while sd.hash().await.expect("a slice") {}
        let mut generation = sd.start(&small("a cat")).await.expect("a start");
        while generation.step().await.expect("a step") {}
        assert!(generation.step_stats().is_none() && !generation.step().await.expect("no step"));
        let image = generation.image(&sd).await.expect("an image");
        let png = image.png_with(&generation.recipe(&sd)).expect("a PNG");
        let read = recipe::read(&png).expect("a recipe");
        assert_eq!((read.prompt.as_str(), read.model.as_deref()), ("a cat", Some("model.safetensors")));
        assert_eq!(read.model_hash.expect("a hash").len(), 10);
    });
}

#[test]
fn a_separate_vae_decodes() {
    let checkpoint = arrays("two_levels");
    let white = checkpoint.iter().filter_map(|(name, dtype, shape, bytes)| {
        let rest = name.strip_prefix("first_stage_model.")?;
        let bright = half::f16::from_f32(9.0).to_le_bytes().repeat(3);
        let bytes = if rest == "decoder.conv_out.bias" { bright } else { bytes.clone() };
        Some((rest.to_string(), *dtype, shape.clone(), bytes))
    });
    let white: Rc<dyn Source> =
        Rc::new(MemorySource::new("white.safetensors", safetensors(&white.collect::<Vec<_>>())));
    let mut sd = on_cpu(file(&checkpoint));
    let own = generate(&sd, &small("a cat")).2;
    pollster::block_on(async {
        let wrong: Rc<dyn Source> = Rc::new(MemorySource::new("e.safetensors", embedding(&[0.0; 64], 64)));
        assert_eq!(sd.open_vae(wrong).await.expect_err("no VAE").code, Code::WrongFamily);
        let before = sd.loaded();
        sd.open_vae(white.clone()).await.expect("a VAE");
        assert!(sd.loaded().1 > before.1);
        sd.drop_vae();
        assert!(!sd.load().await.expect("nothing to load"));
    });
    assert!(generate(&sd, &small("a cat")).2 == own, "a VAE that was given up changes nothing");
    pollster::block_on(async {
        sd.open_vae(white).await.expect("a VAE");
        while sd.load().await.expect("a slice") {}
    });
    assert!(generate(&sd, &small("a cat")).2.rgba.iter().all(|&byte| byte == 255), "a bias of 9 is white");
    assert_eq!(sd.model().vae.as_deref(), Some("white.safetensors"));
}

#[test]
fn shapes_that_fit_nowhere_are_refused() {
    let checkpoint = arrays("two_levels");
    for (name, shape) in [
        ("model.diffusion_model.input_blocks.1.0.in_layers.0.weight", vec![16]),
        ("model.diffusion_model.input_blocks.1.0.in_layers.2.weight", vec![32, 32, 1, 9]),
        ("model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight", vec![128, 32]),
        ("first_stage_model.decoder.conv_in.weight", vec![64, 2, 3, 3]),
        ("first_stage_model.post_quant_conv.weight", vec![4, 8, 1, 1]),
        ("model.diffusion_model.time_embed.0.weight", vec![128, 30]),
        ("model.diffusion_model.out.2.weight", vec![3, 32, 3, 3]),
        ("model.diffusion_model.input_blocks.0.0.weight", vec![32, 7, 3, 3]),
        ("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight", vec![257, 32]),
        ("cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight", vec![64, 128]),
        (TABLE, vec![0, 128]),
        (TABLE, vec![49408, 64]),
    ] {
        let mut broken = checkpoint.clone();
        let array = broken.iter_mut().find(|array| array.0 == name).expect(name);
        array.3.resize(shape.iter().product::<usize>() * array.1.size(), 0);
        array.2 = shape.clone();
        let error = pollster::block_on(async {
            let mut sd = StableDiffusion::open_on_cpu(file(&broken)).await?;
            while sd.load().await? {}
            Ok::<_, wordbrush::Error>(sd)
        });
        let error = error.err().unwrap_or_else(|| panic!("{name} {shape:?} was accepted"));
        assert!(
            [Code::WrongShape, Code::WrongFamily].contains(&error.code),
            "{name} {shape:?}: {:?} {error}",
            error.code
        );
    }
}

#[test]
fn broken_numbers_are_no_picture() {
    let mut checkpoint = arrays("two_levels");
    let bias = checkpoint.iter_mut().find(|array| array.0 == "model.diffusion_model.out.2.bias").expect("a bias");
    (bias.1, bias.3) = (DType::F32, f32s(&[f32::NAN; 4]));
    let sd = on_cpu(file(&checkpoint));
    let error = pollster::block_on(async {
        let mut generation = sd.start(&small("a cat")).await.expect("a start");
        while generation.step().await.expect("a step") {}
        generation.image(&sd).await.expect_err("no picture")
    });
    assert_eq!(error.code, Code::NumericNan);
}

/// A file that begins with a header and goes on with more zeros than anyone has memory for.
struct Vast {
    header: Vec<u8>,
    size: u64,
}

impl Source for Vast {
    fn name(&self) -> &str {
        "vast.safetensors"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, wordbrush::Result<Vec<u8>>> {
        let rest = self.header.get(offset as usize..).unwrap_or_default();
        let mut bytes = rest[..length.min(rest.len())].to_vec();
        bytes.resize(length, 0);
        Box::pin(async { Ok(bytes) })
    }
}

#[test]
fn what_is_too_large_for_a_cpu_is_refused_before_it_is_loaded() {
    let checkpoint = arrays("two_levels");
    let mut header = serde_json::Map::new();
    let mut end = 0u64;
    for (name, dtype, shape, _) in &checkpoint {
        // 128 numbers for each of eight million words.
        let shape = if name == TABLE { vec![8_000_000, shape[1]] } else { shape.clone() };
        let start = end;
        end += (shape.iter().product::<usize>() * dtype.size()) as u64;
        let entry = serde_json::json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let header = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let vast = Rc::new(Vast { size: header.len() as u64 + end, header });
    let error = pollster::block_on(StableDiffusion::open_on_cpu(vec![vast])).err().expect("a refusal");
    println!("{error}");
    assert_eq!(error.code, Code::TooLarge);
    assert!(error.message.contains("1025 million") && error.message.contains("4.1 GB"), "{error}");

    let sd = on_cpu(file(&checkpoint));
    let large = Params { width: 1024, height: 1024, ..small("a cat") };
    let error = pollster::block_on(sd.start(&large)).err().expect("a refusal");
    println!("{error}");
    assert!(error.code == Code::BadOption && error.message.contains("MiB"), "{error}");
}
