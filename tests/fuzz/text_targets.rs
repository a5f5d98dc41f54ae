//! What is fuzzed of the texts: prompts and the parameters beside pictures.

use std::cell::OnceCell;

use wordbrush::prompt::{Library, Options, Syntax, Tokenizer, attention, expand, scenario, schedule, sites};
use wordbrush::recipe::{Recipe, comfy};

/// A prompt: half of all texts are read in each syntax.
pub fn prompt(bytes: &[u8]) {
    thread_local! { static TOKENIZER: OnceCell<Tokenizer> = const { OnceCell::new() } }
    let text = String::from_utf8_lossy(bytes);
    let syntax = if bytes.len().is_multiple_of(2) { Syntax::Comfy } else { Syntax::A1111 };
    TOKENIZER.with(|tokenizer| {
        let tokenizer = tokenizer.get_or_init(|| Tokenizer::clip().expect("the vocabulary is part of the program"));
        let options = Options { syntax, ..Options::default() };
        drop(scenario(&expand(&text, bytes.len() as u64), &options, tokenizer, &Library::new()));
        for site in sites(&text, syntax, tokenizer, &Library::new()) {
            assert!(text.is_char_boundary(site.group.start) && text.is_char_boundary(site.group.end));
            assert!(site.group.start <= site.call.start && site.call.end <= site.group.end);
        }
    });
}

/// A1111's parameters: what was read is written, and read again as the same.
pub fn infotext(bytes: &[u8]) {
    use wordbrush::recipe::infotext::{parse, write};
    let recipe = parse(&String::from_utf8_lossy(bytes));
    let again = parse(&write(&recipe));
    assert_eq!((&again.prompt, &again.negative_prompt), (&recipe.prompt, &recipe.negative_prompt));
    assert_eq!((again.raw_prompt, again.raw_negative_prompt), (recipe.raw_prompt, recipe.raw_negative_prompt));
}

/// What is worked out of a prompt before it is split into tokens: comments and choices, A1111's schedules and weights.
pub fn dynamic(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (seed, steps) = (bytes.first().map_or(0, |first| u64::from(*first)), bytes.len() % 150);
    let expanded = expand(&text, seed);
    assert!(expanded.len() <= text.len() && expanded == expand(&text, seed));
    let parts = schedule(&expanded, steps, &Library::new());
    assert!(!parts.is_empty() && parts.windows(2).all(|pair| pair[0].0 < pair[1].0), "{parts:?}");
    drop(attention(&expanded));
}

/// ComfyUI's two kinds of JSON: what was read is written in both, and read again as the same.
pub fn workflow(bytes: &[u8]) {
    let silent = |recipe: Recipe| Recipe { notes: Vec::new(), ..recipe };
    let Ok(recipe) = comfy::parse(&String::from_utf8_lossy(bytes)).map(silent) else { return };
    let again = |text: &str| silent(comfy::parse(text).unwrap_or_else(|e| panic!("{e}: {text}")));
    // What was open gets the format's defaults by the first writing; from then on nothing changes.
    let written = again(&comfy::api_json(&recipe));
    assert_eq!((&written.prompt, &written.negative_prompt), (&recipe.prompt, &recipe.negative_prompt));
    assert_eq!(again(&comfy::api_json(&written)), written);
    assert_eq!(again(&comfy::workflow_json(&written)), written);
}
