//! Prompts in both dialects, embeddings from all sides and recipes, through the GPU.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use std::rc::Rc;

use checkpoints::{Array, arrays, embedding, f32s, file, load};
use support::{Fixture, relative_error};
use wordbrush::Code;
use wordbrush::files::{DType, MemorySource, Source};
use wordbrush::gpu::Storage;
use wordbrush::pipeline::{Craft, Image, Params, StableDiffusion};
use wordbrush::prompt::{Parsed, Part, Piece, Scenario, Span, Syntax, Token, Window};
use wordbrush::recipe::{self, Dialect};

fn small(prompt: &str) -> Params {
    Params { prompt: prompt.to_string(), steps: 2, width: 64, height: 64, ..Params::default() }
}

fn a1111(prompt: &str) -> Params {
    Params { syntax: Syntax::A1111, ..small(prompt) }
}

/// Latents after `steps` steps of a picture.
fn latents(sd: &StableDiffusion, params: &Params, steps: usize) -> Vec<f32> {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        for _ in 0..steps {
            generation.step().await.expect("a step");
        }
        generation.latents().await.expect("latents")
    })
}

fn picture(sd: &StableDiffusion, params: &Params) -> Image {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.expect("a step") {}
        generation.image(sd).await.expect("an image")
    })
}

/// What the UNet sees of a prompt alone: (tokens, width).
fn context(sd: &StableDiffusion, params: &Params) -> Vec<f32> {
    pollster::block_on(async {
        let generation = sd.start(&Params { cfg: 1.0, ..params.clone() }).await.unwrap_or_else(|e| panic!("{e}"));
        generation.context().await.expect("a context")
    })
}

const TABLE: &str = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight";

/// The rows of a word in a checkpoint's token table.
fn word(checkpoint: &[Array], id: usize) -> Vec<f32> {
    let table = checkpoint.iter().find(|array| array.0 == TABLE).expect("a table");
    let row = table.2[1] * 4;
    table.3[id * row..(id + 1) * row].chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

const A: usize = 320;
const CAT: usize = 2368;

/// ComfyUI's and A1111's formulas, computed by `golden/prompt/make_conditioning.py` on transformers' hidden states.
#[test]
fn conditioning_is_that_of_both_systems() {
    let fixture = Fixture::of("prompt/conditioning.safetensors");
    let width = fixture.shape("table")[1];
    let table = fixture.numbers("table");
    // Begin and end of the empty prompt, which comes out of the model's own table.
    let mut checkpoint = arrays("two_levels");
    let words = checkpoint.iter_mut().find(|array| array.0 == TABLE).expect("a table");
    words.3[49406 * width * 4..].copy_from_slice(&f32s(&table[..2 * width]));
    let sd = load(file(&checkpoint), Storage::F32);
    let rows = Rc::new(
        wordbrush::files::read_embeddings("rows.safetensors", &embedding(table, width)).expect("rows")[0].clone(),
    );
    let mut compared = 0;
    for name in fixture.names("").filter_map(|name| name.strip_suffix(".index")) {
        let tokens = |(&index, &weight): (&f32, &f32)| Token {
            piece: Piece::Row { embedding: rows.clone(), row: index as usize },
            weight,
        };
        let all = fixture.numbers(&format!("{name}.index")).iter().zip(fixture.numbers(&format!("{name}.weights")));
        let tokens: Vec<Token> = all.map(tokens).collect();
        let windows = tokens.chunks(77).map(|tokens| Window { tokens: tokens.to_vec() }).collect();
        let parsed = Rc::new(Parsed { windows, ..Parsed::default() });
        let skip = fixture.numbers(&format!("{name}.skip"))[0] as usize;
        for (syntax, which) in [(Syntax::Comfy, "comfy"), (Syntax::A1111, "a1111")] {
            let key = format!("{name}.{which}");
            if fixture.names(&key).next().is_none() {
                continue;
            }
            let span = Span { until: 1, text: String::new(), parsed: parsed.clone() };
            let prompt =
                Scenario { parts: vec![Part { weight: 1.0, spans: vec![span] }], warnings: vec![], used: vec![] };
            let params = Params { cfg: 1.0, syntax, clip_skip: skip, ..small("") };
            let found = pollster::block_on(async {
                sd.start_with(&params, [prompt.clone(), prompt]).await.expect("a start").context().await
            });
            let found = found.expect("a context");
            let error = relative_error(&found, fixture.numbers(&key));
            println!("{key}: {error:.1e}");
            // f32 everywhere; A1111's scale divides by a mean near zero, which costs two more digits.
            assert!(error <= 1e-4, "{key}: {error:.2e}");
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}

#[test]
fn schedules_change_the_prompt_between_steps() {
    let sd = load(file(&arrays("two_levels")), Storage::F32);
    let cat = latents(&sd, &a1111("a cat"), 1);
    assert_eq!(latents(&sd, &a1111("a [cat:dog:1]"), 1), cat);
    let mixed = latents(&sd, &a1111("a [cat:dog:1]"), 2);
    assert_ne!(mixed, latents(&sd, &a1111("a cat"), 2));
    assert_ne!(mixed, latents(&sd, &a1111("a dog"), 2));
    assert_eq!(latents(&sd, &a1111("a [cat|dog]"), 2), mixed, "cat at the first step, dog at the second");
    // The long half of a schedule takes two windows, the short one one.
    let long = format!("[cat:{}:1]", "dog ".repeat(100));
    assert_eq!(latents(&sd, &a1111(&long), 1), latents(&sd, &a1111("cat"), 1));
    assert!(latents(&sd, &a1111(&long), 2).iter().all(|x| x.is_finite()));
}

#[test]
fn parts_joined_by_and_are_weighed() {
    let sd = load(file(&arrays("two_levels")), Storage::F32);
    let cat = latents(&sd, &a1111("a cat"), 2);
    let close = |found: &[f32], what: &str| {
        let error = relative_error(found, &cat);
        assert!(error < 1e-5, "{what}: {error:.1e}");
    };
    close(&latents(&sd, &a1111("a cat AND a dog :0"), 2), "a part of no weight");
    close(&latents(&sd, &a1111("a cat :0.25 AND a cat :0.75"), 2), "halves of the same");
    assert!(relative_error(&latents(&sd, &a1111("a cat AND a dog"), 2), &cat) > 1e-3);
    // Seven parts and the negative prompt in one batch.
    let many = ["a cat :0.125"; 8].join(" AND ");
    close(&latents(&sd, &a1111(&many), 2), "eighths");
}

#[test]
fn choices_are_made_by_the_seed() {
    let sd = load(file(&arrays("two_levels")), Storage::F32);
    let mut seen = [false; 2];
    for seed in 0..8 {
        let with = |prompt: &str| context(&sd, &Params { seed, ..small(prompt) });
        let chosen = with("a {cat|dog} // comment");
        let options = [with("a cat "), with("a dog ")];
        let which = options.iter().position(|option| *option == chosen).expect("one of the options");
        seen[which] = true;
    }
    assert_eq!(seen, [true, true], "each option comes up within eight seeds");
}

#[test]
fn weights_of_nothing_and_one() {
    let sd = load(file(&arrays("two_levels")), Storage::Packed);
    let width = sd.text_width();
    let (plain, one) = (context(&sd, &small("a cat")), context(&sd, &small("(a:1.0) (cat:1)")));
    assert_eq!(plain, one);
    let (empty, none) = (context(&sd, &small("")), context(&sd, &small("(a cat:0)")));
    assert_eq!(none[width..3 * width], empty[width..3 * width], "weight 0 is the empty prompt at those places");
    assert_ne!(plain[width..3 * width], empty[width..3 * width]);
}

/// Words, rows of words, a crafted embedding, what was exported of it and read again: the same bits.
#[test]
fn an_embedding_is_the_same_from_wherever_it_comes() {
    let checkpoint = arrays("two_levels");
    let rows = [word(&checkpoint, A), word(&checkpoint, CAT)].concat();
    let mut sd = load(file(&checkpoint), Storage::Packed);
    let width = sd.text_width();
    let expected = context(&sd, &small("photo of a cat"));
    let crafted = sd.craft_embedding("made", &Craft::Text("a cat".to_string())).expect("an embedding");
    assert_eq!((crafted.vectors, &crafted.values), (2, &rows));
    assert_eq!(crafted.sha256.len(), 64);
    for format in ["safetensors", "pt"] {
        let bytes = sd.export_embedding("made", format).expect("a file");
        sd.add_embedding(&format!("again_{format}.{format}"), &bytes).expect("read again");
    }
    let f16: Vec<u8> = rows.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    let halves = checkpoints::safetensors(&[("<cat>".to_string(), DType::F16, vec![2, width], f16)]);
    sd.add_embedding("halves.bin", &halves).expect("a diffusers file under another ending");
    sd.add_embedding("sub/inside.safetensors", &embedding(&rows, width)).expect("a file in a folder");
    for (name, key) in [("sdxl", "clip_l"), ("lora", "bundle_emb.bundled.string_to_param.*")] {
        let bytes = checkpoints::safetensors(&[(key.to_string(), DType::F32, vec![2, width], f32s(&rows))]);
        sd.add_embedding(&format!("{name}.safetensors"), &bytes).expect(key);
    }
    sd.add_embedding("in_a_picture.png", &picture_with(&rows, width)).expect("a picture with an embedding");
    let names: Vec<String> = sd.library().iter().map(|(name, _)| name.to_string()).collect();
    let parts = Craft::Concatenate(vec!["first".to_string(), "second".to_string()]);
    for (name, at) in [("first", 0), ("second", 1)] {
        sd.craft_embedding(name, &Craft::Rows("made".to_string(), vec![at])).expect("a row");
    }
    sd.craft_embedding("joined", &parts).expect("rows joined");
    sd.craft_embedding("doubled", &Craft::Scale("made".to_string(), 2.0)).expect("scaled");
    sd.craft_embedding("halved", &Craft::Mix(vec![(0.5, "doubled".to_string())])).expect("mixed");
    for name in ["made", "again_safetensors", "again_pt", "halves", "sub/inside", "inside", "joined", "halved", "MADE"]
    {
        assert_eq!(context(&sd, &small(&format!("photo of embedding:{name}"))), expected, "{name}");
    }
    assert_ne!(context(&sd, &small("photo of embedding:doubled")), expected);
    for name in ["sdxl", "lora", "in_a_picture"] {
        let name = names.iter().find(|known| known.contains(name)).unwrap_or_else(|| panic!("{name} of {names:?}"));
        assert_eq!(context(&sd, &small(&format!("photo of embedding:{name}"))), expected, "{name}");
    }
    // A bare word in A1111's dialect.
    assert_eq!(context(&sd, &a1111("photo of made")), expected);

    let refused = sd.craft_embedding("x", &Craft::Scale("mode".to_string(), 2.0)).expect_err("a refusal");
    assert_eq!(refused.code, Code::BadOption);
    assert!(refused.message.contains("made"), "{refused}");
    let facts = sd.embedding_facts("made").expect("facts");
    assert_eq!(facts.nearest[1][0].id as usize, CAT);
    assert!((facts.nearest[1][0].cosine - 1.0).abs() < 1e-5);
}

/// The corpus holds one embedding in every layout and container: zip and legacy, paper, lists, bundles, pictures, ….
#[test]
fn every_file_format_gives_the_same_conditioning() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let index = std::fs::read_to_string(corpus.join("index.json")).expect("an index");
    let index: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&index).expect("JSON");
    let values = &index["a1111.pt"]["embeddings"][0]["sha256"];
    let mut sd = load(file(&arrays("three_levels")), Storage::Packed);
    let mut expected = None;
    let mut compared = 0;
    for (name, entry) in &index {
        let embeddings = entry["embeddings"].as_array().map_or(&[][..], Vec::as_slice);
        if embeddings.len() != 1 || embeddings[0]["sha256"] != *values || embeddings[0]["width"] != 64 {
            continue;
        }
        let bytes = std::fs::read(corpus.join("files").join(name)).expect("a file of the corpus");
        // Some names in the corpus no prompt can call; what a file is, is told by its content alone.
        let added = sd.add_embedding("same.pt", &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = context(&sd, &small(&format!("photo of embedding:{} !", added[0].name)));
        assert!(sd.remove_embedding(&added[0].name), "{name}");
        assert!(found == *expected.get_or_insert_with(|| found.clone()), "{name}");
        compared += 1;
    }
    let without = context(&sd, &small("photo of !"));
    assert!(expected.expect("some") != without && compared >= 40, "{compared}");
}

/// A table of f32 numbers is halved on the way in; an embedding of the same numbers must come out the same.
#[test]
fn rows_of_an_f32_checkpoint_stay_equal() {
    let mut checkpoint = arrays("two_levels");
    let table = checkpoint.iter_mut().find(|array| array.0 == TABLE).expect("a table");
    let values = support::Numbers::new(5).take(table.3.len() / 4, Storage::F32);
    table.3 = f32s(&values);
    let width = table.2[1];
    let row = word(&checkpoint, CAT);
    for storage in support::STORAGES {
        let mut sd = load(file(&checkpoint), storage);
        sd.add_embedding("copy.safetensors", &embedding(&row, width)).expect("an embedding");
        assert_eq!(context(&sd, &small("a embedding:copy")), context(&sd, &small("a cat")), "{storage:?}");
    }
}

#[test]
fn too_much_side_by_side_is_refused() {
    let sd = load(file(&arrays("two_levels")), Storage::Packed);
    let prompt = format!("{}{}", "a cat AND ".repeat(20), "cat ".repeat(75 * 40));
    let error = pollster::block_on(sd.start(&a1111(&prompt))).err().expect("a refusal");
    assert_eq!(error.code, Code::BadOption, "{error}");
}

/// A picture that carries an embedding in its text, as A1111 writes it.
fn picture_with(rows: &[f32], width: usize) -> Vec<u8> {
    use base64::Engine;
    let rows: Vec<&[f32]> = rows.chunks(width).collect();
    let tensor = serde_json::json!({ "TORCHTENSOR": rows });
    let json = serde_json::json!({ "string_to_param": { "*": tensor }, "name": "in_a_picture" });
    let text = base64::engine::general_purpose::STANDARD.encode(json.to_string());
    let png = Image { width: 8, height: 8, rgba: vec![200; 256] }.png().expect("a PNG");
    recipe::images::embed_in_png(&png, &[("sd-ti-embedding", text)]).expect("a PNG with a text")
}

#[test]
fn the_order_of_loading_does_not_matter() {
    let checkpoint = arrays("two_levels");
    let width = word(&checkpoint, CAT).len();
    let files = [("one.safetensors", word(&checkpoint, A)), ("two.safetensors", word(&checkpoint, CAT))];
    let contexts = [[0, 1], [1, 0]].map(|order| {
        let mut sd = load(file(&checkpoint), Storage::Packed);
        for i in order {
            sd.add_embedding(files[i].0, &embedding(&files[i].1, width)).expect("an embedding");
        }
        context(&sd, &small("embedding:two and embedding:one"))
    });
    assert_eq!(contexts[0], contexts[1]);
}

#[test]
fn embeddings_can_be_kept_whole() {
    let checkpoint = arrays("two_levels");
    let mut sd = load(file(&checkpoint), Storage::Packed);
    let width = sd.text_width();
    sd.add_embedding("eight.safetensors", &embedding(&word(&checkpoint, CAT).repeat(8), width)).expect("an embedding");
    let prompt = format!("{}embedding:eight", "cat ".repeat(70));
    let cut = small(&prompt);
    let whole = Params { keep_embeddings_whole: true, ..cut.clone() };
    let warnings = |params: &Params| pollster::block_on(sd.start(params)).expect("a start").warnings().len();
    assert_eq!((warnings(&cut), warnings(&whole)), (1, 0));
    let recipe = pollster::block_on(sd.start(&whole)).expect("a start").recipe(&sd);
    assert_eq!(recipe.extra.len(), 1, "the recipe says so");
    assert_ne!(context(&sd, &cut), context(&sd, &whole));
}

/// The VAE's part of a checkpoint as a file of its own.
fn vae_file(checkpoint: &[Array], prefix: &str, bias: f32) -> Rc<dyn Source> {
    let ours = checkpoint.iter().filter_map(|(name, dtype, shape, bytes)| {
        let rest = name.strip_prefix("first_stage_model.")?;
        let changed = rest == "decoder.conv_out.bias" && bias != 0.0;
        let bytes = if changed { half::f16::from_f32(bias).to_le_bytes().repeat(3) } else { bytes.clone() };
        Some((format!("{prefix}{rest}"), *dtype, shape.clone(), bytes))
    });
    Rc::new(MemorySource::new("other/bright.safetensors", checkpoints::safetensors(&ours.collect::<Vec<_>>())))
}

#[test]
fn a_separate_vae_decodes() {
    let checkpoint = arrays("two_levels");
    let mut sd = load(file(&checkpoint), Storage::Packed);
    let own = picture(&sd, &small("a cat"));
    let mut take = |source: Rc<dyn Source>| {
        pollster::block_on(async {
            sd.open_vae(source).await?;
            while sd.load().await? {}
            Ok(picture(&sd, &small("a cat")))
        })
    };
    for prefix in ["", "first_stage_model."] {
        assert!(take(vae_file(&checkpoint, prefix, 0.0)).expect("the same VAE") == own, "{prefix}");
    }
    let bright = take(vae_file(&checkpoint, "", 9.0)).expect("another VAE");
    assert!(bright.rgba.iter().all(|&byte| byte == 255), "a bias of 9 is white");
    let refused: wordbrush::Result<Image> =
        take(Rc::new(MemorySource::new("e.safetensors", embedding(&[0.0; 64], 64))));
    assert_eq!(refused.expect_err("an embedding is no VAE").code, Code::WrongFamily);
    assert!(picture(&sd, &small("a cat")) == bright, "the VAE in use stays");
    assert_eq!(sd.model().vae.as_deref(), Some("bright.safetensors"));
}

#[test]
fn a_picture_carries_its_recipe_and_the_recipe_gives_the_picture() {
    let checkpoint = arrays("two_levels");
    let bytes = checkpoints::safetensors(&checkpoint);
    let mut sd = load(file(&checkpoint), Storage::Packed);
    let width = sd.text_width();
    let rows = embedding(&word(&checkpoint, CAT), width);
    let hash = sd.add_embedding("feline.safetensors", &rows).expect("an embedding")[0].sha256[..12].to_string();
    while pollster::block_on(sd.hash()).expect("a slice") {}
    let params = Params {
        prompt: "a {red|green} (embedding:feline:1.2), \"quoted\": 日本".to_string(),
        negative_prompt: "text, \\{mark\\}, {blurry|grainy}".to_string(),
        seed: u64::MAX - 5,
        cfg: 7.1,
        clip_skip: 2,
        ..small("")
    };
    let png = pollster::block_on(async {
        let mut generation = sd.start(&params).await.expect("a start");
        while generation.step().await.expect("a step") {}
        let image = generation.image(&sd).await.expect("an image");
        image.png_with(&generation.recipe(&sd)).expect("a PNG")
    });
    let read = recipe::read(&png).expect("a recipe");
    assert_eq!(read.embeddings, [("feline".to_string(), hash)]);
    let sha256 = {
        use sha2::Digest;
        sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(read.model_hash.as_deref(), Some(&sha256[..10]));
    assert_eq!((read.seed, read.cfg, read.dialect), (Some(params.seed), Some(7.1), Some(Dialect::Comfy)));
    assert_eq!(read.raw_prompt.as_deref(), Some(params.prompt.as_str()));
    assert_eq!(read.raw_negative_prompt.as_deref(), Some(params.negative_prompt.as_str()));
    assert!(read.negative_prompt.starts_with("text, {mark}, "), "{}", read.negative_prompt);
    let again = Params {
        prompt: read.prompt.clone(),
        // Used as it is, the brace in it would open a choice.
        negative_prompt: read.raw_negative_prompt.clone().expect("a template"),
        steps: read.steps.expect("steps"),
        seed: read.seed.expect("a seed"),
        cfg: read.cfg.expect("cfg") as f32,
        width: read.width.expect("a width"),
        height: read.height.expect("a height"),
        clip_skip: read.clip_skip.expect("a clip skip"),
        ..Params::default()
    };
    let image = picture(&sd, &again);
    let pixels = |png: &[u8]| {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("pixels");
        pixels
    };
    assert_eq!(pixels(&png), pixels(&image.png().expect("a PNG")));
}
