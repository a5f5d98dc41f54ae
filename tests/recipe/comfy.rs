//! ComfyUI's graphs (spec/product.md A6, spec/embeddings.md §1).

use serde_json::{Value, json};
use wordbrush::pipeline::Upscaler;
use wordbrush::recipe::comfy::{api_json, parse, workflow_json};
use wordbrush::recipe::{Batch, Dialect, Recipe, from_text};

use crate::{by_the_sea, porsche, some};

const WORKFLOW: &str = include_str!("../golden/recipe/workflow.json");

/// ComfyUI's default graph, with changes.
fn graph(change: impl Fn(&mut Value)) -> String {
    let mut graph: Value = serde_json::from_str(&api_json(&porsche())).expect("JSON");
    change(&mut graph);
    graph.to_string()
}

#[test]
fn the_workflow_of_the_project_comes_in_exactly() {
    assert_eq!(parse(WORKFLOW), Ok(porsche()));
    assert_eq!(from_text(WORKFLOW), Ok(porsche()));
}

#[test]
fn the_api_form_is_comfyuis_default_graph() {
    let recipe = Recipe { vae: None, cfg: Some(7.0), seed: Some(42), model: some("model.safetensors"), ..porsche() };
    let expected = json!({
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 42, "steps": 20, "cfg": 7, "sampler_name": "euler", "scheduler": "normal", "denoise": 1,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "model.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "embedding:porsche911_ti", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    });
    assert_eq!(serde_json::from_str::<Value>(&api_json(&recipe)).expect("JSON"), expected);
    let skipping = graph(|_| {});
    assert!(skipping.contains("VAELoader") && !skipping.contains("CLIPSetLastLayer"));
    let text = api_json(&Recipe { clip_skip: Some(2), prompt: "海 😀".into(), ..porsche() });
    assert!(text.is_ascii() && text.contains(r"\u6d77 \ud83d\ude00"), "{text}");
    let graph: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(graph["11"]["inputs"], json!({"stop_at_clip_layer": -2, "clip": ["4", 1]}));
    assert_eq!(graph["6"]["inputs"]["clip"], json!(["11", 0]));
    assert_eq!(graph["8"]["inputs"]["vae"], json!(["10", 0]));
}

#[test]
fn links_of_the_workflow_form_agree_from_both_ends() {
    let recipe = Recipe { clip_skip: Some(2), ..porsche() };
    let graph: Value = serde_json::from_str(&workflow_json(&recipe)).expect("JSON");
    let node = |id: &Value| {
        graph["nodes"].as_array().expect("nodes").iter().find(|node| node["id"] == *id).expect("the node").clone()
    };
    let links = graph["links"].as_array().expect("links");
    assert_eq!(graph["last_link_id"], links.len());
    assert_eq!(graph["last_node_id"], 11);
    for link in links {
        let (from, to) = (node(&link[1]), node(&link[3]));
        let output = &from["outputs"][link[2].as_u64().expect("a slot") as usize];
        let input = &to["inputs"][link[4].as_u64().expect("a slot") as usize];
        assert!(output["links"].as_array().expect("links").contains(&link[0]), "{link}");
        assert_eq!((&input["link"], &input["type"], &output["type"]), (&link[0], &link[5], &link[5]));
    }
    let inputs: usize =
        graph["nodes"].as_array().expect("nodes").iter().map(|n| n["inputs"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(inputs, links.len());
}

#[test]
fn fields_without_a_node_come_back_too() {
    let full =
        Recipe { raw_prompt: some("{a|b} porsche"), extra: vec![("ENSD".into(), "31337".into())], ..by_the_sea() };
    for dialect in [Dialect::A1111, Dialect::Comfy] {
        let full = Recipe { dialect: Some(dialect), ..full.clone() };
        assert_eq!(parse(&api_json(&full)), Ok(full.clone()));
        assert_eq!(parse(&workflow_json(&full)), Ok(full.clone()));
    }
    let full = Recipe { dialect: Some(Dialect::Comfy), ..full };
    let editor: Value = serde_json::from_str(&workflow_json(&full)).expect("JSON");
    assert!(editor["nodes"].to_string().contains("{a|b} porsche"), "the editor gets the prompt it works out itself");
    assert!(!api_json(&porsche()).contains("wordbrush") && !workflow_json(&porsche()).contains("wordbrush"));
}

#[test]
fn guidance_that_is_rescaled_is_a_node() {
    let rescaled = Recipe { cfg_rescale: Some(0.7), ..porsche() };
    let written: Value = serde_json::from_str(&api_json(&rescaled)).expect("JSON");
    assert_eq!(written["12"], json!({"class_type": "RescaleCFG", "inputs": {"multiplier": 0.7, "model": ["4", 0]}}));
    assert_eq!(written["3"]["inputs"]["model"], json!(["12", 0]));
    // Also between other nodes of the model, and where its number comes over a link.
    let between = parse(&graph(|graph| {
        graph["20"] = json!({"class_type": "RescaleCFG", "inputs": {"multiplier": ["21", 0], "model": ["22", 0]}});
        graph["21"] = json!({"class_type": "PrimitiveFloat", "inputs": {"value": 0.5}});
        graph["22"] = json!({"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "x", "model": ["4", 0]}});
        graph["3"]["inputs"]["model"] = json!(["20", 0]);
    }));
    let between = between.expect("a recipe");
    assert_eq!((between.cfg_rescale, between.model), (Some(0.5), porsche().model));
    assert_eq!(between.notes, ["The LoRA \u{201c}x\u{201d} is not used."]);
    let off = parse(&api_json(&Recipe { cfg_rescale: Some(0.0), ..porsche() })).expect("a recipe");
    assert_eq!(off.cfg_rescale, None);
}

#[test]
fn pictures_made_at_once() {
    let foreign = parse(&graph(|graph| graph["5"]["inputs"]["batch_size"] = json!(4))).expect("a recipe");
    assert_eq!(foreign.batch, Some(Batch { size: 4, place: None }));
    assert!(foreign.notes[0].contains("4 pictures at once"), "{:?}", foreign.notes);
    let third = Recipe { batch: Some(Batch { size: 4, place: Some(2) }), ..porsche() };
    for text in [api_json(&third), workflow_json(&third)] {
        assert_eq!(parse(&text), Ok(third.clone()), "and no note");
    }
    let batch_size = |recipe: &Recipe| {
        let graph: Value = serde_json::from_str(&api_json(recipe)).expect("JSON");
        graph["5"]["inputs"]["batch_size"].clone()
    };
    // With A1111's conventions a picture of a batch is made alone, by its own seed.
    let a1111 = Recipe { dialect: Some(Dialect::A1111), ..third.clone() };
    assert_eq!((batch_size(&third), batch_size(&a1111)), (json!(4), json!(1)));
}

#[test]
fn wrapped_as_a_request_or_as_strings() {
    let api = api_json(&porsche());
    assert_eq!(parse(&format!(r#"{{"client_id": "x", "prompt": {api}}}"#)), Ok(porsche()));
    let mut wrapped = api;
    for _ in 0..3 {
        wrapped = Value::from(wrapped).to_string();
        assert_eq!(from_text(&wrapped), Ok(porsche()));
    }
}

#[test]
fn what_is_not_understood_is_listed() {
    let recipe = parse(&graph(|graph| {
        graph["20"] = json!({"class_type": "LoraLoader", "inputs": {"lora_name": "style.safetensors", "strength_model": 1,
            "model": ["4", 0], "clip": ["4", 1]}});
        graph["21"] = json!({"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0], "strength": 1}});
        graph["22"] = json!({"class_type": "<img onerror=alert(1)>", "inputs": {}});
        graph["3"]["inputs"]["model"] = json!(["20", 0]);
        graph["3"]["inputs"]["positive"] = json!(["21", 0]);
        graph["3"]["inputs"]["denoise"] = json!(0.5);
        graph["6"]["inputs"]["clip"] = json!(["20", 1]);
    }))
    .expect("a recipe");
    assert_eq!(Recipe { notes: Vec::new(), ..recipe.clone() }, porsche());
    let notes = recipe.notes.join("\n");
    for part in ["style.safetensors", "ControlNetApply", "<img onerror", "part of its steps"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert_eq!(recipe.notes.len(), 4, "{notes}");
}

#[test]
fn unresolved_fields_stay_open() {
    let recipe = parse(&graph(|graph| {
        graph["3"]["inputs"]["seed"] = json!(["77", 0]);
        graph["3"]["inputs"]["steps"] = json!(1.5);
        graph["3"]["inputs"]["model"] = json!(["3", 0]);
        graph["3"]["inputs"]["latent_image"] = json!(["12", 0]);
        graph["12"] = json!({"class_type": "VAEEncode", "inputs": {"pixels": ["13", 0]}});
        graph["7"] = json!({"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}});
        graph["6"]["inputs"]["clip"] = json!(["6", 0]);
    }))
    .expect("a recipe");
    let expected = Recipe {
        seed: None,
        steps: None,
        model: None,
        clip_skip: None,
        width: None,
        height: None,
        negative_prompt: String::new(),
        notes: recipe.notes.clone(),
        ..porsche()
    };
    assert_eq!(recipe, expected);
    for part in
        ["The seed could not", "steps 1.5", "checkpoint's name", "size", "negative prompt", "ConditioningZeroOut"]
    {
        assert!(recipe.notes.iter().any(|note| note.contains(part)), "{part} in {:?}", recipe.notes);
    }
}

#[test]
fn values_may_come_over_links() {
    let recipe = parse(&graph(|graph| {
        graph["30"] = json!({"class_type": "PrimitiveInt", "inputs": {"value": 18446744073709551615_u64}});
        graph["31"] = json!({"class_type": "PrimitiveString", "inputs": {"value": "from afar"}});
        graph["3"]["inputs"]["seed"] = json!(["30", 0]);
        graph["3"]["inputs"]["steps"] = json!(30.0);
        graph["6"]["inputs"]["text"] = json!(["31", 0]);
    }));
    assert_eq!(recipe, Ok(Recipe { prompt: "from afar".into(), seed: Some(u64::MAX), steps: Some(30), ..porsche() }));
}

#[test]
fn the_advanced_sampler_and_several() {
    let recipe = parse(&graph(|graph| {
        graph["3"]["class_type"] = json!("KSamplerAdvanced");
        let seed = graph["3"]["inputs"]["seed"].take();
        graph["3"]["inputs"]["noise_seed"] = seed;
        graph["3"]["inputs"]["end_at_step"] = json!(10000);
        // A second pass, with a smaller id.
        graph["2"] = graph["3"].clone();
        graph["2"]["inputs"]["noise_seed"] = json!(9);
        graph["2"]["inputs"]["latent_image"] = json!(["3", 0]);
    }))
    .expect("a recipe");
    assert_eq!((recipe.seed, recipe.width, recipe.notes.len()), (Some(1234), Some(512), 1), "{:?}", recipe.notes);
}

fn extra(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn a_second_pass_is_nodes() {
    let latents = ["Latent", "Latent (bicubic)", "Latent (nearest-exact)", "Latent (area)", "Latent (bislerp)"];
    let pixels = ["Lanczos", "Nearest", "Bilinear", "Bicubic", "Area"];
    let classes = latents.map(|name| (name, "LatentUpscale")).into_iter();
    for (upscaler, class) in classes.chain(pixels.map(|name| (name, "ImageScale"))) {
        assert!(Upscaler::from_name(upscaler).is_ok_and(|it| it.a1111_name() == upscaler), "{upscaler}");
        let told = [
            ("Denoising strength", "0.5"),
            ("Hires upscale", "1.5"),
            ("Hires upscaler", upscaler),
            ("Hires steps", "12"),
            ("Hires prompt", "a {blue} star"),
            ("Hires negative prompt", ""),
            ("Hires seed", "18446744073709551615"),
            ("Hires sampler", "DPM++ 2M"),
            ("Hires schedule type", "Karras"),
            ("Hires CFG Scale", "4.5"),
        ];
        let recipe = Recipe { width: Some(512), height: Some(768), extra: extra(&told), ..porsche() };
        for text in [api_json(&recipe), workflow_json(&recipe)] {
            assert_eq!(parse(&text), Ok(recipe.clone()));
            // The nodes alone say it too.
            let mut graph: Value = serde_json::from_str(&text).expect("JSON");
            if let Some(sampler) = graph.pointer_mut("/3/_meta") {
                sampler.take();
                let larger = if class == "ImageScale" { "17" } else { "14" };
                assert_eq!(graph[larger]["class_type"], class);
                assert_eq!([&graph[larger]["inputs"]["width"], &graph[larger]["inputs"]["height"]], [768, 1152]);
                assert_eq!(graph["8"]["inputs"]["samples"], json!(["15", 0]));
            } else {
                graph["extra"].take();
            }
            assert_eq!(parse(&graph.to_string()), Ok(recipe.clone()), "{graph}");
        }
    }
}

#[test]
fn a_second_pass_of_another_hand() {
    let recipe = parse(&graph(|graph| {
        graph["20"] = json!({"class_type": "LatentUpscaleBy", "inputs": {
            "upscale_method": "magic", "scale_by": 1.5, "samples": ["3", 0]}});
        graph["21"] = graph["3"].clone();
        graph["21"]["inputs"]["seed"] = json!(9);
        graph["21"]["inputs"]["denoise"] = json!(0.55);
        graph["21"]["inputs"]["latent_image"] = json!(["20", 0]);
        graph["8"]["inputs"]["samples"] = json!(["21", 0]);
    }))
    .expect("a recipe");
    let told =
        [("Denoising strength", "0.55"), ("Hires upscale", "1.5"), ("Hires upscaler", "Latent"), ("Hires seed", "9")];
    assert_eq!((&recipe.extra, recipe.vae.as_deref()), (&extra(&told), porsche().vae.as_deref()));
    let noted = |words: &str| recipe.notes.iter().any(|note| note.contains(words));
    assert!(recipe.notes.len() == 1 && noted("magic"), "{:?}", recipe.notes);
}

#[test]
fn pictures_with_a_mask() {
    let start = |encoder: Value| {
        let recipe = parse(&graph(|graph| {
            graph["20"] = json!({"class_type": "LoadImage", "inputs": {"image": "cat.png"}});
            graph["21"] = encoder.clone();
            graph["22"] =
                json!({"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["21", 0], "mask": ["20", 1]}});
            let from = if encoder["class_type"] == "VAEEncode" { "22" } else { "21" };
            graph["3"]["inputs"]["latent_image"] = json!([from, 0]);
        }));
        recipe.expect("a recipe")
    };
    let kept = start(json!({"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}}));
    assert_eq!(kept.extra, extra(&[("Denoising strength", "1")]));
    assert!(
        kept.notes.len() == 1 && kept.notes[0].contains("cat.png") && kept.notes[0].contains("mark"),
        "{:?}",
        kept.notes
    );
    let inputs = json!({"pixels": ["20", 0], "vae": ["4", 2], "mask": ["20", 1], "grow_mask_by": 6});
    let gray = start(json!({"class_type": "VAEEncodeForInpaint", "inputs": inputs}));
    assert_eq!(gray.extra, extra(&[("Denoising strength", "1"), ("Masked content", "gray")]));
    let text = api_json(&gray);
    assert!(text.contains("VAEEncodeForInpaint") && text.contains("LoadImage"), "{text}");
    assert_eq!(parse(&text).expect("a recipe").extra, gray.extra);
}

/// The project's workflow with changes to a node.
fn edited(change: impl Fn(&mut Value)) -> Recipe {
    let mut graph: Value = serde_json::from_str(WORKFLOW).expect("JSON");
    change(&mut graph);
    parse(&graph.to_string()).expect("a recipe")
}

#[test]
fn the_editors_ways() {
    // 4: KSampler, 7: checkpoint; see make_images.py.
    let old = edited(|graph| graph["nodes"][4]["widgets_values"] = json!([1234, 20, 8, "euler", "normal", 1]));
    assert_eq!(old, porsche(), "no control after the seed");
    let oldest = edited(|graph| graph["nodes"][4]["widgets_values"] = json!([1234, true, 20, 8, "euler", "normal", 1]));
    assert_eq!(oldest, porsche());
    let named = edited(|graph| {
        graph["nodes"][4]["widgets_values"] =
            json!({"seed": 1234, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal"});
    });
    assert_eq!(named, porsche());
    let objects = edited(|graph| {
        let links = graph["links"].as_array().expect("links").clone();
        let object = |l: &Value| json!({"id": l[0], "origin_id": l[1], "origin_slot": l[2], "target_id": l[3], "target_slot": l[4], "type": l[5]});
        graph["links"] = links.iter().map(object).collect();
    });
    assert_eq!(objects, porsche(), "links as objects");
    let primitive = edited(|graph| {
        let nodes = graph["nodes"].as_array_mut().expect("nodes");
        nodes[4]["inputs"]
            .as_array_mut()
            .expect("inputs")
            .push(json!({"name": "seed", "type": "INT", "link": 50, "widget": {"name": "seed"}}));
        nodes.push(json!({"id": 40, "type": "PrimitiveNode", "outputs": [{"type": "INT", "links": [50]}], "widgets_values": [77, "randomize"]}));
        graph["links"].as_array_mut().expect("links").push(json!([50, 40, 0, 3, 4, "INT"]));
    });
    assert_eq!(primitive, Recipe { seed: Some(77), ..porsche() });
}

#[test]
fn bypassed_rerouted_and_muted_nodes() {
    let lora = |mode: u64| {
        edited(|graph| {
            let nodes = graph["nodes"].as_array_mut().expect("nodes");
            nodes.push(json!({"id": 40, "type": "LoraLoader", "mode": mode, "widgets_values": ["x.safetensors", 1, 1],
                "inputs": [{"name": "model", "type": "MODEL", "link": 50}, {"name": "clip", "type": "CLIP", "link": 51}],
                "outputs": [{"type": "MODEL"}, {"type": "CLIP"}]}));
            nodes.push(json!({"id": 41, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 3}], "outputs": [{"type": "CLIP"}]}));
            nodes.push(json!({"id": 42, "type": "KSampler", "mode": 2, "inputs": [{"name": "positive", "type": "CONDITIONING", "link": 4}]}));
            // Model: 4 → 40 → 3; clip: 4 → 41 → 40 → 6.
            graph["links"] = json!([
                [1, 40, 0, 3, 0, "MODEL"],
                [2, 5, 0, 3, 3, "LATENT"],
                [4, 6, 0, 3, 1, "CONDITIONING"],
                [5, 40, 1, 7, 0, "CLIP"],
                [6, 7, 0, 3, 2, "CONDITIONING"],
                [7, 3, 0, 8, 0, "LATENT"],
                [9, 8, 0, 9, 0, "IMAGE"],
                [10, 10, 0, 8, 1, "VAE"],
                [50, 4, 0, 40, 0, "MODEL"],
                [51, 41, 0, 40, 1, "CLIP"],
                [3, 4, 1, 41, 0, "CLIP"]
            ]);
            graph["nodes"][5]["inputs"][0]["link"] = json!(5);
        })
    };
    assert_eq!(lora(4), porsche());
    let active = lora(0);
    assert_eq!(active.notes, ["The LoRA \u{201c}x.safetensors\u{201d} is not used."]);
    assert_eq!(Recipe { notes: Vec::new(), ..active }, porsche());
}

#[test]
fn other_json_is_refused_with_the_reason() {
    let reason = |text: &str| {
        let error = parse(text).expect_err("no recipe");
        assert_eq!(error.code.name(), "NO_RECIPE");
        error.message
    };
    assert!(reason("{}").contains("no ComfyUI workflow"));
    assert!(reason("[1]").contains("no ComfyUI workflow"));
    assert!(reason("{\"a\": ").contains("damaged"));
    assert!(reason(&"[".repeat(100_000)).contains("deeper than 64"));
    assert!(reason(r#"{"1": {"class_type": "UNETLoader", "inputs": {}}}"#).contains("UNETLoader"));
    assert_eq!(Dialect::from_name("ComfyUI"), Some(Dialect::Comfy));
}
