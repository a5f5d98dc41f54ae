//! Nothing from outside makes the readers panic or run long.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use wordbrush::recipe::images::{embed_in_png, png_chunks};
use wordbrush::recipe::{comfy, from_text, infotext, read};

use crate::porsche;

const PICTURES: [&[u8]; 5] = [
    include_bytes!("../golden/recipe/a1111_unicode_packed.png"),
    include_bytes!("../golden/recipe/comfy.png"),
    include_bytes!("../golden/recipe/a1111.jpg"),
    include_bytes!("../golden/recipe/a1111.webp"),
    include_bytes!("../golden/recipe/comfy.webp"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_pictures(which in 0..PICTURES.len(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), end in any::<usize>()) {
        let mut picture = PICTURES[which].to_vec();
        for (at, byte) in changes {
            let at = at % picture.len();
            picture[at] = byte;
        }
        let cut = if end % 2 == 0 { picture.len() } else { end % picture.len() };
        let _ = read(&picture[..cut]);
        let _ = embed_in_png(&picture[..cut], &png_chunks(&porsche()));
    }

    #[test]
    fn any_text(text in any::<String>()) {
        let _ = from_text(&text);
        let _ = infotext::parse(&text);
        let _ = read(text.as_bytes());
    }

    #[test]
    fn damaged_graphs(at in any::<usize>(), cut in any::<usize>(), put in "[\"{}\\[\\]:,0-9NI\\\\-]{0,3}") {
        for text in [comfy::api_json(&porsche()), comfy::workflow_json(&porsche())] {
            let at = at % text.len();
            let end = (at + cut % 4).min(text.len());
            let _ = from_text(&format!("{}{put}{}", &text[..at], &text[end..]));
        }
    }

    #[test]
    fn graphs_of_odd_values(path in 0..11_usize, value in 0..9_usize) {
        let odd = [json!(null), json!([]), json!(["3", 0]), json!(["3", -1]), json!([[], {}]), json!({}), json!(-1), json!("x"), json!(1e300)];
        let inputs = ["seed", "steps", "cfg", "sampler_name", "scheduler", "denoise", "model", "positive", "negative", "latent_image", "x"];
        let mut graph: Value = serde_json::from_str(&comfy::api_json(&porsche())).expect("JSON");
        graph["3"]["inputs"][inputs[path]] = odd[value].clone();
        prop_assert!(comfy::parse(&graph.to_string()).is_ok() || inputs[path] == "positive");
        graph["3"]["inputs"] = odd[value].clone();
        let _ = comfy::parse(&graph.to_string());
        let mut editor: Value = serde_json::from_str(&comfy::workflow_json(&porsche())).expect("JSON");
        for key in ["id", "type", "mode", "inputs", "outputs", "widgets_values"] {
            editor["nodes"][0][key] = odd[value].clone();
            let _ = comfy::parse(&editor.to_string());
        }
        editor["links"][path % 9] = odd[value].clone();
        let _ = comfy::parse(&editor.to_string());
    }
}

/// Quadratic time for a megabyte would be hours; a busy machine needs seconds.
const LONGEST: Duration = Duration::from_secs(60);

/// Texts that an unwary reader takes quadratic time for, a megabyte each.
#[test]
fn long_texts_take_linear_time() {
    const MEGABYTE: usize = 1 << 20;
    let fill = |part: &str| part.repeat(MEGABYTE / part.len());
    let texts = [
        "a",
        "a ",
        "aa: [, ",
        "aa: \", ",
        "aa: \"\\",
        "aa:{",
        "Negative prompt:",
        "\n",
        "\u{3000}",
        "aa: {}x, ",
        "{",
        "\"",
        "\\u",
    ]
    .map(fill);
    for text in texts {
        let begun = Instant::now();
        let _ = from_text(&text);
        let _ = infotext::parse(&format!("{text}\nSteps: 1, Seed: 1, RNG: CPU, aa: {text}"));
        let _ = infotext::write(&infotext::parse(&text));
        let taken = begun.elapsed();
        assert!(taken < LONGEST, "{} took {taken:?}", &text[..12]);
    }
    let begun = Instant::now();
    let nodes: Vec<Value> = (0..20_000)
        .map(|id| json!({"id": id, "type": "VAEDecode", "inputs": [{"name": "samples", "link": id}], "outputs": []}))
        .collect();
    let links: Vec<Value> = (0..20_000).map(|id| json!([id, (id + 1) % 20_000, 0, id, 0, "LATENT"])).collect();
    let _ = comfy::parse(&json!({"nodes": nodes, "links": links}).to_string());
    assert!(begun.elapsed() < LONGEST);
}
