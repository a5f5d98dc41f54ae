//! Prompts: against Hugging Face's tokenizer, ComfyUI and A1111 where they were run, against the specification elsewhere.

use std::rc::Rc;

use wordbrush::files::DType;
use wordbrush::files::textual_inversion::Embedding;
use wordbrush::prompt::{EOS, Library, Parsed, Piece, Syntax, Tokenizer, Window, parse};

#[path = "prompt/a1111.rs"]
mod a1111;
#[path = "prompt/anything.rs"]
mod anything;
#[path = "prompt/comfy.rs"]
mod comfy;
#[path = "prompt/craft.rs"]
mod craft;
#[path = "prompt/dynamic.rs"]
mod dynamic;
#[path = "prompt/facts.rs"]
mod facts;
#[path = "prompt/library.rs"]
mod library;
#[path = "prompt/scenario.rs"]
mod scenario;
#[path = "prompt/schedule.rs"]
mod schedule;
#[path = "prompt/sites.rs"]
mod sites;
#[path = "prompt/tokenizer.rs"]
mod tokenizer;

/// The embeddings the golden vectors were made with.
const GOLDEN: [(&str, usize); 8] = [
    ("porsche911_ti", 8),
    ("foo", 2),
    ("EasyNegative", 8),
    ("big75", 75),
    ("n7", 7),
    ("911", 3),
    ("a.b", 1),
    ("sub/foo", 1),
];

thread_local! {
    static CLIP: Rc<Tokenizer> = Rc::new(Tokenizer::clip().expect("the vocabulary"));
}

fn clip() -> Rc<Tokenizer> {
    CLIP.with(Rc::clone)
}

fn embedding(name: &str, vectors: usize) -> Embedding {
    Embedding {
        name: name.into(),
        key: "*".into(),
        vectors,
        width: 1,
        values: vec![0.0; vectors],
        dtype: DType::F32,
        layout: "test",
        sha256: String::new(),
        warnings: Vec::new(),
    }
}

fn library_of(names: &[(&str, usize)]) -> Library {
    let mut library = Library::new();
    for (name, vectors) in names {
        assert!(library.insert(embedding(name, *vectors)).replaced.is_none());
    }
    library
}

fn read(text: &str, syntax: Syntax) -> Parsed {
    parse(text, syntax, &clip(), &library_of(&GOLDEN))
}

/// A window as in the golden file: ids or `<name#row>`, with weights, and one end token for the run at the end.
fn shown(window: &Window) -> Vec<(String, f32)> {
    assert_eq!(window.tokens.len(), 77);
    let mut tokens: Vec<(String, f32)> =
        window.tokens.iter().map(|token| (piece(&token.piece), token.weight)).collect();
    let end = (EOS.to_string(), 1.0);
    while tokens.len() > 1 && tokens[tokens.len() - 2..].iter().all(|token| *token == end) {
        tokens.pop();
    }
    tokens
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Id(id) => id.to_string(),
        Piece::Row { embedding, row } => format!("<{}#{row}>", embedding.name),
    }
}

/// The tokens between begin and end, all windows, without weights; windows are separated by `|`.
fn words(parsed: &Parsed) -> String {
    let window = |window: &Window| {
        let tokens = shown(window);
        tokens[1..tokens.len() - 1].iter().map(|(text, _)| text.clone()).collect::<Vec<_>>().join(" ")
    };
    parsed.windows.iter().map(window).collect::<Vec<_>>().join(" | ")
}

/// How many tokens each window has between begin and end.
fn lengths(parsed: &Parsed) -> Vec<usize> {
    parsed.windows.iter().map(|window| shown(window).len() - 2).collect()
}

fn codes(parsed: &Parsed) -> Vec<&str> {
    parsed.warnings.iter().map(|warning| warning.code).collect()
}
