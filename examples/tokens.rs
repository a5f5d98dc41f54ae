//! Shows what a prompt becomes, as one JSON object: windows of tokens and weights, warnings, names looked up.
//!
//! ```text
//! cargo run --example tokens -- --embeddings DIR --prompt "a photo of embedding:foo"
//! cargo run --example tokens -- --stub foo=2,EasyNegative=8 --syntax a1111 --prompt "(foo:1.2)"
//! cargo run --example tokens -- --syntax a1111 --steps 20 --prompt "a [cat:dog:0.5] AND [red|blue] sky :0.7"
//! cargo run --example tokens -- --seed 1234 --prompt "a {red|blue} car // or a bus"
//! ```
//!
//! The form is that of `tests/golden/prompt/comfy_tokens.jsonl`, so that the output can be laid beside ComfyUI's. A run
//! of the end token at the end of a window is shown once. With `--seed`, `expanded` is the text whose windows follow. A prompt
//! that changes over the steps has a `schedule` besides the windows of its first step, and one that A1111's `AND` joins or
//! weighs has `parts`, each with its weight.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use wordbrush::error::{Code, Error, Result};
use wordbrush::files::DType;
use wordbrush::files::textual_inversion::{Embedding, read_embeddings};
use wordbrush::prompt::{
    EOS, Library, Options, Part, Piece, Scenario, Span, Syntax, Token, Tokenizer, Warning, Window, expand, scenario,
};

/// Endings of files that may hold embeddings.
const ENDINGS: [&str; 8] = ["safetensors", "sft", "pt", "pth", "bin", "ckpt", "png", "webp"];

/// A stub with more vectors is a slip of the keyboard.
const MOST_VECTORS: usize = 100_000;

#[derive(Parser)]
#[command(about = "Shows what a prompt becomes")]
struct Arguments {
    /// Read the embeddings in this folder and the folders in it.
    #[arg(long, value_name = "DIR")]
    embeddings: Option<PathBuf>,
    /// Pretend to have embeddings with these names and numbers of vectors.
    #[arg(long, value_name = "NAME=VECTORS,…", value_delimiter = ',')]
    stub: Vec<String>,
    /// The grammar of the prompt.
    #[arg(long, value_enum, default_value = "comfy")]
    syntax: Grammar,
    /// Denoising steps, for A1111's schedules.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: u16,
    /// Strip comments and choose one option of every `{a|b}`, as ComfyUI's page does, by this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// The prompt.
    #[arg(long, allow_hyphen_values = true)]
    prompt: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Grammar {
    Comfy,
    A1111,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(shown) => {
            println!("{shown}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Value> {
    let mut library = Library::new();
    if let Some(folder) = &arguments.embeddings {
        add_folder(folder, "", &mut library)?;
    }
    for stub in &arguments.stub {
        add(stub_of(stub)?, &mut library);
    }
    let syntax = match arguments.syntax {
        Grammar::Comfy => Syntax::Comfy,
        Grammar::A1111 => Syntax::A1111,
    };
    let options = Options { syntax, steps: arguments.steps.into(), ..Options::default() };
    let expanded = arguments.seed.filter(|_| syntax == Syntax::Comfy).map(|seed| expand(&arguments.prompt, seed));
    let text = expanded.as_deref().unwrap_or(&arguments.prompt);
    let mut value = shown(&arguments.prompt, &scenario(text, &options, &Tokenizer::clip()?, &library));
    if let (Some(expanded), Some(fields)) = (&expanded, value.as_object_mut()) {
        fields.insert("expanded".to_owned(), json!(expanded));
    }
    Ok(value)
}

/// Reads every embedding in a folder; `prefix` is its path from the first one, with a slash at the end.
fn add_folder(folder: &Path, prefix: &str, library: &mut Library) -> Result<()> {
    let failed = |error| Error::new(Code::Read, format!("{} cannot be read: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            add_folder(&path, &format!("{prefix}{name}/"), library)?;
        } else if ENDINGS.contains(&ending.as_str()) {
            let bytes = std::fs::read(&path)
                .map_err(|error| Error::new(Code::Read, format!("{} cannot be read: {error}", path.display())))?;
            // A folder of embeddings also holds previews and files for other models: named, and passed over.
            match read_embeddings(&name, &bytes) {
                Ok(embeddings) => embeddings.into_iter().for_each(|mut embedding| {
                    embedding.name = format!("{prefix}{}", embedding.name);
                    add(embedding, library);
                }),
                Err(error) => eprintln!("{name} passed over: {}: {error}", error.code.name()),
            }
        }
    }
    Ok(())
}

/// Adds an embedding, and says so if another of that name is there.
fn add(embedding: Embedding, library: &mut Library) {
    if let Some(notice) = library.insert(embedding).notice {
        eprintln!("{}", notice.message);
    }
}

fn stub_of(text: &str) -> Result<Embedding> {
    let wrong = || Error::new(Code::BadOption, format!("A stub is written NAME=VECTORS, not \u{201c}{text}\u{201d}"));
    let (name, vectors) = text.split_once('=').ok_or_else(wrong)?;
    let vectors: usize = vectors.parse().ok().filter(|vectors| *vectors <= MOST_VECTORS).ok_or_else(wrong)?;
    Ok(Embedding {
        name: name.to_owned(),
        key: "*".to_owned(),
        vectors,
        width: 1,
        values: vec![0.0; vectors],
        dtype: DType::F32,
        layout: "stub",
        sha256: String::new(),
        warnings: Vec::new(),
    })
}

fn shown(prompt: &str, scenario: &Scenario) -> Value {
    let missing = scenario.warnings.iter().filter(|warning| warning.code == "UNKNOWN_EMBEDDING");
    // ComfyUI's words.
    let log: Vec<String> =
        missing.map(|warning| format!("warning, embedding:{} does not exist, ignoring", warning.about)).collect();
    let warning = |warning: &Warning| json!({ "code": warning.code, "message": warning.message });
    let first = scenario.parts.first().and_then(|part| part.spans.first());
    let mut value = json!({
        "prompt": prompt,
        "windows": first.map(shown_windows),
        "log": log.join("\n"),
        "lookups": first.map(|span| &span.parsed.lookups),
        "warnings": scenario.warnings.iter().map(warning).collect::<Vec<_>>(),
    });
    let Some(fields) = value.as_object_mut() else { return value };
    match scenario.parts.as_slice() {
        [part] if part.weight == 1.0 => {
            if part.spans.len() > 1 {
                fields.insert("schedule".to_owned(), shown_schedule(part));
            }
        }
        parts => {
            let part = |part: &Part| json!({ "weight": shown_weight(part.weight), "schedule": shown_schedule(part) });
            fields.insert("parts".to_owned(), parts.iter().map(part).collect());
        }
    }
    value
}

fn shown_schedule(part: &Part) -> Value {
    let span = |span: &Span| json!({ "until": span.until, "text": span.text, "windows": shown_windows(span) });
    part.spans.iter().map(span).collect()
}

fn shown_windows(span: &Span) -> Vec<Value> {
    span.parsed.windows.iter().map(shown_window).collect()
}

fn shown_window(window: &Window) -> Value {
    let is_end = |token: &Token| matches!(token.piece, Piece::Id(EOS)) && token.weight == 1.0;
    let padding = window.tokens.iter().rev().take_while(|token| is_end(token)).count();
    let kept = window.tokens.len() - padding.saturating_sub(1);
    let tokens: Vec<Value> = window.tokens[..kept].iter().map(shown_token).collect();
    json!({ "len": window.tokens.len(), "toks": tokens })
}

fn shown_token(token: &Token) -> Value {
    let weight = shown_weight(token.weight);
    match &token.piece {
        Piece::Id(id) => json!([id, weight]),
        Piece::Row { embedding, row } => json!([format!("<{}#{row}>", embedding.name), weight]),
    }
}

/// Through its shortest text, a weight of 1.1 is shown as 1.1 and not as the nearest f32.
fn shown_weight(weight: f32) -> f64 {
    weight.to_string().parse().unwrap_or(1.0)
}
