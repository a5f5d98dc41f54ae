//! What is fuzzed of the texts: prompts and the parameters beside pictures.

use std::cell::OnceCell;

use wordbrush::prompt::{Library, Options, Syntax, Tokenizer, expand, scenario};

/// A prompt: half of all texts are read in each syntax.
pub fn prompt(bytes: &[u8]) {
    thread_local! { static TOKENIZER: OnceCell<Tokenizer> = const { OnceCell::new() } }
    let text = String::from_utf8_lossy(bytes);
    let syntax = if bytes.len().is_multiple_of(2) { Syntax::Comfy } else { Syntax::A1111 };
    TOKENIZER.with(|tokenizer| {
        let tokenizer = tokenizer.get_or_init(|| Tokenizer::clip().expect("the vocabulary is part of the program"));
        let options = Options { syntax, ..Options::default() };
        drop(scenario(&expand(&text, bytes.len() as u64), &options, tokenizer, &Library::new()));
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
