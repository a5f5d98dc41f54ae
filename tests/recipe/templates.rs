//! Prompts before and after `{a|b}` and comments were worked out: whichever form a recipe comes in, its template and its
//! seed give what the text model got.

use proptest::prelude::*;
use serde_json::{Value, json};
use wordbrush::prompt::expand;
use wordbrush::recipe::comfy::{api_json, parse, workflow_json};
use wordbrush::recipe::{Dialect, Recipe, infotext};

use crate::{porsche, some};

/// What a picture is made from when the recipe is used again: the prompt and the negative one, as the text model gets them.
fn used_again(recipe: &Recipe, seed: u64) -> [String; 2] {
    let prompt = recipe.raw_prompt.as_ref().unwrap_or(&recipe.prompt);
    let negative = recipe.raw_negative_prompt.as_ref().unwrap_or(&recipe.negative_prompt);
    match recipe.dialect {
        Some(Dialect::A1111) => [recipe.prompt.clone(), recipe.negative_prompt.clone()],
        _ => [expand(prompt, seed), expand(negative, seed)],
    }
}

/// The recipe of a picture made here from these two templates.
fn made_here(prompt: &str, negative: &str, seed: u64) -> Recipe {
    let raw = |template: &str| some(template).filter(|template| expand(template, seed) != *template);
    Recipe {
        prompt: expand(prompt, seed),
        raw_prompt: raw(prompt),
        negative_prompt: expand(negative, seed),
        raw_negative_prompt: raw(negative),
        seed: Some(seed),
        ..porsche()
    }
}

/// ComfyUI's default graph with these texts, as another program's API form.
fn api_of_others(prompt: &str, negative: &str) -> String {
    let mut graph: Value = serde_json::from_str(&api_json(&porsche())).expect("JSON");
    graph["6"]["inputs"]["text"] = json!(prompt);
    graph["7"]["inputs"]["text"] = json!(negative);
    graph.to_string()
}

/// The same as the editor's workflow.
fn workflow_of_others(prompt: &str, negative: &str) -> Value {
    let mut graph: Value = serde_json::from_str(&workflow_json(&porsche())).expect("JSON");
    for (id, text) in [(6, prompt), (7, negative)] {
        let nodes = graph["nodes"].as_array_mut().expect("nodes");
        let node = nodes.iter_mut().find(|node| node["id"] == id).expect("the node");
        node["widgets_values"] = json!([text]);
    }
    graph
}

/// The editor's text of a node.
fn widget(workflow: &str, id: u32) -> String {
    let graph: Value = serde_json::from_str(workflow).expect("JSON");
    let node =
        graph["nodes"].as_array().expect("nodes").iter().find(|node| node["id"] == id).expect("the node").clone();
    node["widgets_values"][0].as_str().expect("a text").to_string()
}

#[test]
fn a_picture_made_here_keeps_both_templates_in_every_form() {
    let recipe = made_here("a {red|green} car // fast", r"text, \{logo\}, {blurry|grainy}", 5);
    assert_eq!(recipe.raw_negative_prompt.as_deref(), Some(r"text, \{logo\}, {blurry|grainy}"));
    assert!(recipe.negative_prompt.starts_with("text, {logo}, "), "{}", recipe.negative_prompt);
    for read in [
        infotext::parse(&infotext::write(&recipe)),
        parse(&api_json(&recipe)).expect("the API form"),
        parse(&workflow_json(&recipe)).expect("the workflow form"),
    ] {
        assert_eq!(Recipe { notes: Vec::new(), ..read }, recipe);
    }
    let text = infotext::write(&recipe);
    assert!(text.contains("Negative Template: \"text, \\\\{logo\\\\}, {blurry|grainy}\""), "{text}");
    assert_eq!(widget(&workflow_json(&recipe), 7), r"text, \{logo\}, {blurry|grainy}");
    let api: Value = serde_json::from_str(&api_json(&recipe)).expect("JSON");
    assert_eq!(api["7"]["inputs"]["text"], json!(recipe.negative_prompt), "the server works nothing out");
}

#[test]
fn braces_of_another_programs_api_form_are_braces_and_stay_so() {
    let text = r"{logo|mark}, \(bracket\), https://x /* no */";
    let read = parse(&api_of_others("plain", text)).expect("a recipe");
    assert_eq!((read.prompt.as_str(), read.raw_prompt.as_deref()), ("plain", None));
    assert_eq!(read.negative_prompt, text);
    assert_eq!(read.raw_negative_prompt.as_deref(), Some(r"\{logo\|mark\}, \(bracket\), https:/{}/x /{}* no */"));
    for seed in 0..20 {
        assert_eq!(used_again(&read, seed), ["plain", text]);
    }
    // The editor would roll dice over a bare brace.
    assert_eq!(Some(widget(&workflow_json(&read), 7)), read.raw_negative_prompt);
    for again in [parse(&workflow_json(&read)), parse(&api_json(&read)), Ok(infotext::parse(&infotext::write(&read)))] {
        assert_eq!(again.map(|again| Recipe { notes: Vec::new(), ..again }), Ok(read.clone()));
    }
}

#[test]
fn choices_of_another_programs_workflow_are_left_to_the_seed() {
    let read = parse(&workflow_of_others("{red|green} car", "text").to_string()).expect("a recipe");
    assert_eq!((read.prompt.as_str(), read.raw_prompt.as_deref()), ("{red|green} car", None));
    let cars: Vec<String> = (0..20).map(|seed| used_again(&read, seed)[0].clone()).collect();
    assert!(cars.contains(&"red car".to_string()) && cars.contains(&"green car".to_string()), "{cars:?}");
    assert!(read.notes.iter().any(|note| note.contains("the seed chooses")), "{:?}", read.notes);
    // It stays open in every form, though the text stands where a worked-out prompt stands.
    for again in [parse(&workflow_json(&read)), parse(&api_json(&read)), Ok(infotext::parse(&infotext::write(&read)))] {
        let again = again.expect("a recipe");
        assert_eq!((again.prompt, again.raw_prompt), (read.prompt.clone(), None));
    }
    let quiet = parse(&workflow_of_others(r"{red\|green} car \{a|b\}", "a | b").to_string()).expect("a recipe");
    assert_eq!(quiet.notes, Vec::<String>::new(), "nothing was left open");
}

#[test]
fn a_text_that_comes_over_a_link_is_not_worked_out_by_the_editor() {
    let linked = |class: &str| {
        let mut graph = workflow_of_others("{red|green} car", "text");
        let nodes = graph["nodes"].as_array_mut().expect("nodes");
        let encoder = nodes.iter_mut().find(|node| node["id"] == 6).expect("the prompt");
        let inputs = encoder["inputs"].as_array_mut().expect("inputs");
        inputs.push(json!({"name": "text", "type": "STRING", "link": 50, "widget": {"name": "text"}}));
        nodes.push(json!({"id": 40, "type": class, "outputs": [{"type": "STRING", "links": [50]}], "widgets_values": ["{a|b}"]}));
        graph["links"].as_array_mut().expect("links").push(json!([50, 40, 0, 6, 1, "STRING"]));
        let read = parse(&graph.to_string()).expect("a recipe");
        (read.prompt, read.raw_prompt)
    };
    assert_eq!(linked("PrimitiveString"), ("{a|b}".to_string(), some(r"\{a\|b\}")));
    assert_eq!(
        linked("PrimitiveNode"),
        ("{a|b}".to_string(), None),
        "the editor puts its text into the encoder's widget"
    );
}

#[test]
fn an_a1111_prompt_has_no_choices_and_the_editor_gets_none() {
    let recipe = Recipe {
        prompt: "a {red|green} car".into(),
        negative_prompt: "text {".into(),
        raw_negative_prompt: some("__words__ {"),
        dialect: Some(Dialect::A1111),
        ..porsche()
    };
    let text = infotext::write(&recipe);
    assert!(!text.contains("\nTemplate") && !text.contains(" Template: a"), "{text}");
    let workflow = workflow_json(&recipe);
    assert_eq!((widget(&workflow, 6), widget(&workflow, 7)), (r"a \{red\|green\} car".into(), r"text \{".into()));
    for again in [parse(&workflow), parse(&api_json(&recipe)), Ok(infotext::parse(&text))] {
        assert_eq!(again.map(|again| Recipe { notes: Vec::new(), ..again }), Ok(recipe.clone()));
    }
}

#[test]
fn a_backslash_before_a_brace_cannot_be_kept_and_that_is_said() {
    let read = parse(&api_of_others(r"a \{b", "text")).expect("a recipe");
    assert_eq!((read.prompt.as_str(), read.raw_prompt.as_deref()), (r"a \{b", None));
    assert!(read.notes.iter().any(|note| note.contains("backslash")), "{:?}", read.notes);
    let even = parse(&api_of_others(r"a \\{b\}", "text")).expect("a recipe");
    assert_eq!(used_again(&even, 3)[0], r"a \\{b\}");
    assert_eq!(even.notes, Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever the text model got in another program, it gets here.
    #[test]
    fn texts_of_the_api_form_reach_the_text_model_as_they_are(text in r"[ab{}|\\/*\n(]{0,12}", seed in any::<u64>()) {
        let read = parse(&api_of_others(&text, &text)).expect("a recipe");
        let sayable = !text.split('{').rev().skip(1).any(|before| before.len() % 2 != before.trim_end_matches('\\').len() % 2);
        if sayable {
            prop_assert_eq!(used_again(&read, seed), [text.clone(), text]);
        } else {
            prop_assert!(read.notes.iter().any(|note| note.contains("backslash")), "{:?}", read.notes);
        }
    }

    /// And what was made here is made again, from every form.
    #[test]
    fn templates_of_ours_are_used_again(prompt in r"[ab{}|\\/*\n]{0,12}", negative in r"[ab{}|\\/*\n]{0,12}", seed in any::<u64>()) {
        let recipe = made_here(&prompt, &negative, seed);
        for text in [api_json(&recipe), workflow_json(&recipe)] {
            prop_assert_eq!(used_again(&parse(&text).expect("a recipe"), seed), [&*recipe.prompt, &*recipe.negative_prompt]);
        }
        let read = infotext::parse(&infotext::write(&recipe));
        prop_assert_eq!(used_again(&read, seed), [&*recipe.prompt, &*recipe.negative_prompt]);
    }
}
