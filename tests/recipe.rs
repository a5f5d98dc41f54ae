//! Recipes: pictures written by Pillow as A1111 and ComfyUI use it, texts as found in the wild, and round trips.

use wordbrush::recipe::{Dialect, Recipe};

#[path = "recipe/comfy.rs"]
mod comfy;
#[path = "recipe/hostile.rs"]
mod hostile;
#[path = "recipe/infotext.rs"]
mod infotext;
#[path = "recipe/pictures.rs"]
mod pictures;
#[path = "recipe/round_trip.rs"]
mod round_trip;

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
        ..Recipe::default()
    }
}
