//! A1111's infotext (spec/product.md B1, B2).

use wordbrush::recipe::infotext::{parse, write};
use wordbrush::recipe::second_pass::Own;
use wordbrush::recipe::{Batch, Dialect, Recipe, Rng, from_text, names, settings};

use crate::{by_the_sea, porsche, some};

const LINE: &str = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, RNG: CPU";

#[test]
fn it_is_written_in_a1111s_order_and_words() {
    assert_eq!(
        write(&by_the_sea()),
        format!(
            "a porsche, (red:1.2)\nby the sea\nNegative prompt: text, watermark\n\
             Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1234, Size: 512x768, \
             Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, RNG: CPU, \
             TI hashes: \"easynegative: c74b4e810b03, badhandv4: 5e40d722fc3d\", Version: wordbrush {}",
            env!("CARGO_PKG_VERSION")
        )
    );
    let porsche = write(&porsche());
    assert!(porsche.contains("CFG scale: 8, Seed: 1234,"), "{porsche}");
    assert!(porsche.contains("Prompt dialect: ComfyUI"), "{porsche}");
    assert!(!porsche.contains("Exact"), "{porsche}");
}

#[test]
fn the_negative_line_is_always_written() {
    let text = write(&Recipe { prompt: "a".into(), ..Recipe::default() });
    assert!(text.starts_with("a\nNegative prompt: \nClip skip: 1, RNG: CPU, Version: "), "{text}");
    let text = write(&Recipe::default());
    assert!(text.starts_with("\nNegative prompt: \n"), "{text}");
    assert_eq!(parse(&text).prompt, "");
}

#[test]
fn a_usual_one() {
    let recipe = parse(&format!("a cat\n  on a roof \nNegative prompt: dog\nbird\n{LINE}"));
    assert_eq!(recipe.prompt, "a cat\non a roof");
    assert_eq!(recipe.negative_prompt, "dog\nbird");
    assert_eq!((recipe.steps, recipe.cfg, recipe.seed), (Some(20), Some(7.0), Some(5)));
    assert_eq!((recipe.width, recipe.height, recipe.clip_skip), (Some(512), Some(768), Some(1)));
    assert_eq!((recipe.sampler, recipe.scheduler), (some("euler_ancestral"), some("normal")));
    assert_eq!(recipe.dialect, Some(Dialect::A1111));
    assert_eq!(recipe.notes, Vec::<String>::new());
}

#[test]
fn without_a_negative_prompt_with_crlf_and_a_trailing_comma() {
    let recipe = parse(&format!("a cat\r\n\r\non a roof\r\n{LINE},\r\n"));
    assert_eq!(recipe.prompt, "a cat\n\non a roof");
    assert_eq!((recipe.negative_prompt.as_str(), recipe.seed, recipe.height), ("", Some(5), Some(768)));
    let recipe = parse(&format!("a cat\nNegative prompt:\n{LINE}"));
    assert_eq!((recipe.prompt.as_str(), recipe.negative_prompt.as_str()), ("a cat", ""));
}

#[test]
fn a_last_line_with_two_parameters_is_prompt() {
    let text = "a form\nSteps: 20, foo: bar, x: y";
    assert_eq!(parse(text), Recipe { prompt: text.into(), ..Recipe::default() });
    // A key has two characters at least, so a third one makes the difference.
    assert_eq!(parse("a form\nSteps: 20, foo: bar, xx: y").steps, Some(20));
    assert_eq!(from_text(text).expect_err("no recipe").code.name(), "NO_RECIPE");
    let recipe = parse("sentence with Negative prompt: inside\nNegative prompt: b\nc");
    assert_eq!(recipe.prompt, "sentence with Negative prompt: inside");
    assert_eq!(recipe.negative_prompt, "b\nc");
    let both = Recipe { prompt: text.into(), ..by_the_sea() };
    assert_eq!(parse(&write(&both)), both);
}

#[test]
fn quoted_values() {
    let line = r#"Steps: 20, Model: "a, \"b\": c\\d", Lora: "x" y, Empty: "", Broken: "\q", Open: "z, Size: 8x8"#;
    let recipe = parse(&format!("p\n{line}"));
    assert_eq!(recipe.model, some(r#"a, "b": c\d"#));
    let extra: Vec<(&str, &str)> = recipe.extra.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(extra, [("Lora", r#""x" y"#), ("Empty", ""), ("Broken", r#""\q""#), ("Open", r#""z"#)]);
    assert_eq!(recipe.width, Some(8));
}

#[test]
fn settings_that_are_used_are_not_said_to_be_unknown() {
    let recipe = parse(&format!(
        "p\nNegative prompt: n\n{LINE}, Batch size: 4, Batch pos: 2, ENSD: 31337, Eta DDIM: 0.3, CFG rescale: 0.7, Guidance start: 0.1"
    ));
    assert_eq!((recipe.batch, recipe.cfg_rescale), (Some(Batch { size: 4, place: Some(2) }), Some(0.7)));
    assert_eq!(
        recipe.extra.iter().map(|pair| pair.0.as_str()).collect::<Vec<_>>(),
        ["ENSD", "Eta DDIM", "Guidance start"]
    );
    assert!(recipe.notes.is_empty(), "{:?}", recipe.notes);
    assert_eq!([settings::eta("ddim"), settings::eta("euler_ancestral")], ["Eta DDIM", "Eta"]);
}

#[test]
fn a_second_pass_with_settings_of_its_own() {
    let line = "Hires upscale: 1.5, Hires steps: 12, Hires upscaler: Latent, Hires CFG Scale: 4.5, Hires sampler: DPM++ 2M Karras, Hires prompt: \"a star, blue\", Hires negative prompt: red";
    let recipe = parse(&format!("p\nNegative prompt: n\n{LINE}, {line}"));
    assert!(recipe.notes.is_empty(), "{:?}", recipe.notes);
    let text = |text: &str| Some(text.to_string());
    let expected = Own {
        prompt: text("a star, blue"),
        negative_prompt: text("red"),
        seed: None,
        sampler: text("dpmpp_2m"),
        scheduler: text("karras"),
        cfg: Some(4.5),
    };
    assert_eq!(Own::of(&recipe), expected);
    assert_eq!(parse(&write(&recipe)), recipe);
    // The menus' first entries are the first pass's.
    let same = parse(&format!("p\n{LINE}, Hires sampler: Use same sampler, Hires schedule type: Use same scheduler"));
    assert_eq!(Own::of(&same), Own::default());
    let automatic = parse(&format!("p\n{LINE}, Hires sampler: DPM++ 2M SDE, Hires schedule type: Automatic"));
    assert_eq!(Own::of(&automatic).scheduler.as_deref(), Some("exponential"));
}

#[test]
fn a_second_pass_of_a_given_size() {
    let scale_of = |size: &str| {
        let recipe =
            parse(&format!("p\nSteps: 20, Seed: 1, Size: 512x768, Hires resize: {size}, Hires upscaler: Latent"));
        let found = recipe.extra.iter().find(|(key, _)| key == "Hires upscale").map(|(_, value)| value.clone());
        (found, recipe.notes)
    };
    assert_eq!(scale_of("768x1152"), (Some("1.5".to_string()), Vec::new()));
    assert_eq!(scale_of("0x1536"), (Some("2".to_string()), Vec::new()));
    let (scale, notes) = scale_of("1024x1024");
    assert!(scale.as_deref() == Some("2") && notes.len() == 1 && notes[0].contains("shape"), "{scale:?} {notes:?}");
    let (scale, notes) = scale_of("0x0");
    assert!(scale.is_none() && notes.len() == 1 && notes[0].contains("Hires resize"), "{scale:?} {notes:?}");
}

#[test]
fn unknown_keys_are_noted_and_written_again() {
    let line = format!(
        r#"{LINE}, ENSD: 31337, Lora hashes: "a: 1, b: 2", Hashes: {{"model": "6ce0161689", "vae": "a,b"}}, Civitai resources: [{{"type":"checkpoint","weight":0.5}}, {{"x":"]"}}], Hires-fix/old: 1"#
    );
    let recipe = parse(&format!("p\nNegative prompt: n\n{line}"));
    let keys: Vec<&str> = recipe.extra.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["ENSD", "Lora hashes", "Hashes", "Civitai resources", "Hires-fix/old"]);
    assert_eq!(recipe.extra[2].1, r#"{"model": "6ce0161689", "vae": "a,b"}"#);
    assert_eq!(recipe.extra[3].1, r#"[{"type":"checkpoint","weight":0.5}, {"x":"]"}]"#);
    assert_eq!(recipe.notes.len(), 2, "{:?}", recipe.notes);
    assert!(!recipe.notes.concat().contains("ENSD"), "that one is used: {:?}", recipe.notes);
    let again = write(&recipe);
    assert!(again.contains(&line[line.find("ENSD").expect("it is there")..]), "{again}");
    assert_eq!(parse(&again), recipe);
}

#[test]
fn old_names_carry_their_scheduler() {
    let names = |line: &str| {
        let recipe = parse(&format!("p\n{line}, Steps: 20, Seed: 1, RNG: CPU"));
        (recipe.sampler.unwrap_or_default(), recipe.scheduler.unwrap_or_default())
    };
    let expect = |line: &str, sampler: &str, scheduler: &str| {
        assert_eq!(names(line), (sampler.to_string(), scheduler.to_string()), "{line}");
    };
    expect("Sampler: DPM++ 2M Karras", "dpmpp_2m", "karras");
    expect("Sampler: DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential");
    expect("Sampler: DPM++ 2M SDE Heun Karras", "dpmpp_2m_sde_heun", "karras");
    expect("Sampler: DPM2 a Karras, Schedule type: SGM Uniform", "dpm_2_ancestral", "sgm_uniform");
    expect("Sampler: DPM++ 2M, Schedule type: Automatic", "dpmpp_2m", "karras");
    expect("Sampler: DPM++ 2M, Version: v1.10.1", "dpmpp_2m", "karras");
    expect("Sampler: DPM++ 2M, Version: v1.6.0", "dpmpp_2m", "normal");
    expect("Sampler: euler a, Schedule type: uniform", "euler_ancestral", "normal");
    expect("Sampler: DDIM", "ddim", "ddim_uniform");
    expect("Sampler: UniPC, Schedule type: KL Optimal", "uni_pc", "kl_optimal");
    expect("Sampler: Foo Karras", "Foo Karras", "");
    expect("Sampler: \u{e9}Karras, Schedule type: Turbo", "\u{e9}Karras", "turbo");
}

#[test]
fn every_name_comes_back() {
    let samplers =
        ["euler", "dpmpp_2m_sde_gpu", "uni_pc_bh2", "plms", "Restart", "heunpp2", "ipndm", "DPM++ 2M", "x, y", "lcm"];
    let schedulers = ["normal", "linear_quadratic", "turbo", "align_your_steps", "beta", "automatic", "kl_optimal"];
    for sampler in samplers {
        for scheduler in schedulers {
            let recipe = Recipe { sampler: some(sampler), scheduler: some(scheduler), ..by_the_sea() };
            let back = parse(&write(&recipe));
            assert_eq!((back.sampler, back.scheduler), (some(sampler), some(scheduler)));
        }
    }
    assert_eq!(names::a1111_sampler("uni_pc"), "UniPC");
    assert_eq!(names::a1111_scheduler("sgm_uniform"), "SGM Uniform");
}

#[test]
fn numbers_that_are_none_are_left_out_with_a_note() {
    for (value, seed) in [("9223372036854775808", Some(1 << 63)), ("18446744073709551615", Some(u64::MAX))] {
        assert_eq!(parse(&format!("p\nSteps: 1, Seed: {value}, RNG: CPU")).seed, seed);
    }
    for value in ["abc", "-1", "1.5", "18446744073709551616", ""] {
        let recipe = parse(&format!("p\nSteps: 1, Seed: {value}, RNG: CPU"));
        assert_eq!((recipe.seed, recipe.notes.len()), (None, 1), "{value}");
    }
    let recipe = parse("p\nSteps: 1, CFG scale: NaN, Size: 5x, RNG: CPU");
    assert_eq!((recipe.cfg, recipe.width, recipe.notes.len()), (None, None, 2));
}

#[test]
fn whose_random_numbers() {
    let cases = [
        ("Steps: 1, Seed: 1, Size: 8x8", Rng::Nvidia),
        ("Steps: 1, Seed: 1, RNG: NV", Rng::Nvidia),
        ("Steps: 1, Seed: 1, RNG: CPU", Rng::Cpu),
        ("Steps: 1, Seed: 1, Version: ComfyUI", Rng::Cpu),
    ];
    for (line, rng) in cases {
        let recipe = parse(&format!("p\n{line}"));
        assert_eq!(recipe.rng, Some(rng), "{line}");
        assert_eq!(parse(&write(&recipe)).rng, Some(rng), "{line}");
    }
}

#[test]
fn embeddings_with_and_without_a_hash() {
    let recipe = parse("p\nSteps: 1, Seed: 1, RNG: CPU, TI: \"a, b\", TI hashes: \"a: 0123456789ab\"");
    assert_eq!(recipe.embeddings, [("a".into(), "0123456789ab".into()), ("b".into(), String::new())]);
    let odd =
        Recipe { embeddings: vec![("a, b: c".into(), "0".into()), (String::new(), String::new())], ..by_the_sea() };
    assert_eq!(parse(&write(&odd)), odd);
}

#[test]
fn five_thousand_lines() {
    let prompt = vec!["a line, with: colons, and: more"; 5000].join("\n");
    let recipe = Recipe { prompt, ..by_the_sea() };
    assert_eq!(parse(&write(&recipe)), recipe);
}

/// `golden/recipe/make_lines.py` asked Python's `re`.
#[test]
fn lines_are_taken_apart_as_by_the_expression() {
    type Line = (String, Vec<(String, String)>);
    let lines: Vec<Line> = serde_json::from_str(include_str!("../golden/recipe/lines.json")).expect("lines");
    for (line, found) in lines {
        let recipe = parse(&format!("p\n{line}"));
        if found.len() < 3 {
            assert_eq!(recipe, Recipe { prompt: format!("p\n{line}"), ..Recipe::default() });
            continue;
        }
        // Of one key said twice, the place of the first and the value of the last.
        let mut expected: Vec<(String, String)> = Vec::new();
        for (key, value) in found {
            match expected.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => expected.push((key, value)),
            }
        }
        assert_eq!((recipe.prompt.as_str(), recipe.extra), ("p", expected), "{line}");
    }
}

#[test]
fn a_prompt_that_looks_like_json() {
    for prompt in ["{a|b} cat", "\"a\" cat", "{}"] {
        let recipe = Recipe { prompt: prompt.into(), ..by_the_sea() };
        assert_eq!(from_text(&write(&recipe)), Ok(recipe));
    }
}
