//! A round trip changes nothing.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wordbrush::recipe::images::{embed_in_png, png_chunks};
use wordbrush::recipe::{Batch, Dialect, Recipe, Rng, comfy, infotext, read};

/// Pieces of text that mean something to one of the formats.
const PIECES: [&str; 26] = [
    "a cat",
    ", ",
    ": ",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\0",
    "\u{7f}\u{85}\u{a0}",
    "é",
    "Ã©",
    "海",
    "😀",
    "\u{202e}",
    "Steps: 20, foo: bar, x: y",
    "\nSteps: 20, Sampler: Euler a, CFG scale: 7",
    "Negative prompt: ",
    "\nNegative prompt: ",
    "Exact prompt: \"b\"",
    "{a|b}",
    "[1, {\"x\": NaN}]",
    "// no, /* yes */",
    "\\u0041\\ud800",
    "(embedding:x:1.2)",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(prop::sample::select(&PIECES[..]), 0..8).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

fn word() -> impl Strategy<Value = Option<String>> {
    const KNOWN: [&str; 8] =
        ["euler", "uni_pc_bh2", "dpmpp_2m", "normal", "karras", "DDIM", "Automatic", "Euler a Karras"];
    prop_oneof![prop::sample::select(&KNOWN[..]).prop_map(str::to_string), text()].prop_map(Some)
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let prompts = (text(), text(), option::of(text()), option::of(text()));
    let numbers = (any::<u64>(), 1_usize..200, -1e6..1e6_f64, any::<u32>(), any::<u32>(), 1_usize..25);
    let names = (word(), word(), word(), option::of(text()), option::of(text()), vec((text(), text()), 0..3));
    let dialect = prop::sample::select(&[Dialect::Comfy, Dialect::A1111][..]);
    let batch = option::of((2_usize..20, option::of(0_usize..2)));
    let extra = vec(("[A-Za-z_é][A-Za-z0-9 /-]{0,8}[a-zé9]", text()), 0..4);
    (prompts, numbers, names, dialect, batch, extra).prop_map(|(prompts, numbers, names, dialect, batch, mut extra)| {
        // A parameter can be said once.
        extra.sort();
        extra.dedup_by(|a, b| a.0 == b.0);
        Recipe {
            // A prompt that is its own template says so by having none.
            raw_prompt: prompts.2.filter(|template| *template != prompts.0),
            raw_negative_prompt: prompts.3.filter(|template| *template != prompts.1),
            prompt: prompts.0,
            negative_prompt: prompts.1,
            seed: Some(numbers.0),
            steps: Some(numbers.1),
            cfg: Some(if numbers.0 % 2 == 0 { numbers.2 } else { numbers.2.round() }),
            cfg_rescale: Some(f64::from(numbers.3 % 100) / 100.0).filter(|multiplier| *multiplier > 0.5),
            width: Some(numbers.3 as usize),
            height: Some(numbers.4 as usize),
            clip_skip: Some(numbers.5),
            batch: batch.map(|(size, place)| Batch { size, place }),
            sampler: names.0,
            scheduler: names.1,
            model: names.2,
            model_hash: names.3,
            vae: names.4,
            embeddings: names.5,
            dialect: Some(dialect),
            rng: Some(if numbers.0 % 3 == 0 { Rng::Nvidia } else { Rng::Cpu }),
            extra,
            notes: Vec::new(),
        }
    })
}

/// The notes speak of the reading, not of the picture.
fn silent(recipe: Recipe) -> Recipe {
    Recipe { notes: Vec::new(), ..recipe }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn through_every_form(recipe in recipe()) {
        prop_assert_eq!(&silent(infotext::parse(&infotext::write(&recipe))), &recipe);
        prop_assert_eq!(comfy::parse(&comfy::api_json(&recipe)).map(silent), Ok(recipe.clone()));
        prop_assert_eq!(comfy::parse(&comfy::workflow_json(&recipe)).map(silent), Ok(recipe.clone()));
        let picture = include_bytes!("../golden/recipe/plain.png");
        let picture = embed_in_png(picture, &png_chunks(&recipe)).expect("a PNG");
        prop_assert_eq!(read(&picture).map(silent), Ok(recipe.clone()));
    }

    /// What was read once reads the same after it was written.
    #[test]
    fn any_text_settles(text in text(), line in text()) {
        let text = format!("{text}\nSteps: 20, Seed: 1, Foo: {line}, Bar: 2");
        let once = infotext::parse(&text);
        let twice = infotext::parse(&infotext::write(&once));
        if once.clip_skip.is_some() {
            prop_assert_eq!(silent(twice), silent(once));
        }
    }
}

#[test]
fn a_key_of_one_character_is_kept() {
    let once = infotext::parse("a\nSteps: 20, Seed: 1, foo: bar, x: y : , Bar: 2");
    assert!(once.extra.contains(&("y".to_string(), String::new())), "{:?}", once.extra);
    assert_eq!(silent(infotext::parse(&infotext::write(&once))).extra, once.extra);
}

/// A picture that was started from stands in the graph, and what is ours is kept beside it.
#[test]
fn a_picture_to_start_from_is_a_node() {
    let extra = vec![("Denoising strength".to_string(), "0.6".to_string())];
    let recipe =
        Recipe { width: Some(640), height: Some(512), dialect: Some(Dialect::Comfy), extra, ..Recipe::default() };
    for text in [comfy::api_json(&recipe), comfy::workflow_json(&recipe)] {
        assert!(
            text.contains("VAEEncode") && text.contains("LoadImage") && !text.contains("EmptyLatentImage"),
            "{text}"
        );
        let back = comfy::parse(&text).expect("a recipe");
        assert_eq!((&back.extra, back.width, back.height), (&recipe.extra, recipe.width, recipe.height));
        assert!(back.notes.iter().any(|note| note.contains("picture.png")), "{:?}", back.notes);
    }
    assert!(infotext::write(&recipe).contains("Denoising strength: 0.6"));
}

#[test]
fn what_is_open_stays_open_or_gets_the_formats_default() {
    let back = silent(infotext::parse(&infotext::write(&Recipe::default())));
    let (clip_skip, dialect, rng) = (Some(1), Some(Dialect::A1111), Some(Rng::Cpu));
    let expected = Recipe { clip_skip, dialect, rng, ..Recipe::default() };
    assert_eq!(back, expected);
    let back = comfy::parse(&comfy::api_json(&Recipe::default())).expect("a recipe");
    assert_eq!((back.steps, back.cfg, back.seed, back.width), (Some(20), Some(8.0), Some(0), Some(512)));
}
