//! Recipes: pictures written by Pillow as A1111 and ComfyUI use it, texts as found in the wild, and round trips.

use wordbrush::recipe::{Dialect, Recipe, Rng, comfy};

#[path = "recipe/comfy.rs"]
mod graphs;
#[path = "recipe/hostile.rs"]
mod hostile;
#[path = "recipe/infotext.rs"]
mod infotext;
#[path = "recipe/pictures.rs"]
mod pictures;
#[path = "recipe/round_trip.rs"]
mod round_trip;
#[path = "recipe/templates.rs"]
mod templates;
#[path = "fuzz/text_targets.rs"]
mod text_targets;

const SIGNS: &[u8] = b"()[]{}:|\\,\n\"0.";

/// The fuzz targets of texts, on seeds and a fixed number of mutations of them.
#[test]
fn fuzz_targets_of_texts_outlive_mutations() {
    let seeds = [
        "a photo of (embedding:foo:1.2), {red|green} // x\nNegative prompt: text\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, TI hashes: \"a: 0123456789ab\"",
        "[a:b:0.5] AND [c|d] :1.5 BREAK ((x)) \\( [e] \u{65e5}\u{672c}",
        "Steps: 20, foo: bar, x: y",
        &comfy::api_json(&porsche()),
        &comfy::workflow_json(&porsche()),
    ];
    let mut state = 1u64;
    let mut next = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % most
    };
    for round in 0..600 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..next(12) {
            let (at, other) = (next(bytes.len()), next(bytes.len()));
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes.insert(at, SIGNS[next(SIGNS.len())]),
                2 => drop(bytes.remove(at)),
                _ => bytes.swap(at, other),
            }
        }
        text_targets::prompt(&bytes);
        text_targets::dynamic(&bytes);
        text_targets::infotext(&bytes);
        text_targets::workflow(&bytes);
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}

/// The recipe of the workflow this project starts from (spec/embeddings.md §1).
fn porsche() -> Recipe {
    Recipe {
        prompt: "embedding:porsche911_ti".into(),
        negative_prompt: "text, watermark".into(),
        steps: Some(20),
        sampler: some("euler"),
        scheduler: some("normal"),
        cfg: Some(8.0),
        seed: Some(1234),
        width: Some(512),
        height: Some(512),
        clip_skip: Some(1),
        model: some("v1-5-pruned-emaonly-fp16.safetensors"),
        vae: some("vae-ft-mse-840000-ema-pruned.safetensors"),
        dialect: Some(Dialect::Comfy),
        rng: Some(Rng::Cpu),
        ..Recipe::default()
    }
}

/// The recipe of the A1111 pictures in `golden/recipe`.
fn by_the_sea() -> Recipe {
    Recipe {
        prompt: "a porsche, (red:1.2)\nby the sea".into(),
        negative_prompt: "text, watermark".into(),
        steps: Some(20),
        sampler: some("dpmpp_2m"),
        scheduler: some("karras"),
        cfg: Some(7.5),
        seed: Some(1234),
        width: Some(512),
        height: Some(768),
        clip_skip: Some(2),
        model: some("v1-5-pruned-emaonly"),
        model_hash: some("6ce0161689"),
        embeddings: vec![("easynegative".into(), "c74b4e810b03".into()), ("badhandv4".into(), "5e40d722fc3d".into())],
        dialect: Some(Dialect::A1111),
        rng: Some(Rng::Cpu),
        ..Recipe::default()
    }
}
