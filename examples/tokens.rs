//! Shows what a prompt becomes, as one JSON object: windows of tokens and weights, warnings, names looked up.
//!
//! ```text
//! cargo run --example tokens -- --embeddings DIR --prompt "a photo of embedding:foo"
//! cargo run --example tokens -- --stub foo=2,EasyNegative=8 --syntax a1111 --prompt "(foo:1.2)"
//! ```
//!
//! The form is that of `tests/golden/prompt/comfy_tokens.jsonl`, so that the output can be laid beside ComfyUI's. A run
//! of the end token at the end of a window is shown once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use wordbrush::error::{Code, Error, Result};
use wordbrush::files::DType;
use wordbrush::files::textual_inversion::{Embedding, read_embeddings};
use wordbrush::prompt::{EOS, Library, Parsed, Piece, Syntax, Token, Tokenizer, Window, parse};

/// Endings of files that may hold embeddings.
const ENDINGS: [&str; 6] = ["safetensors", "sft", "pt", "pth", "bin", "ckpt"];

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
        library.insert(stub_of(stub)?);
    }
    let syntax = match arguments.syntax {
        Grammar::Comfy => Syntax::Comfy,
        Grammar::A1111 => Syntax::A1111,
    };
    let parsed = parse(&arguments.prompt, syntax, &Tokenizer::clip()?, &library);
    Ok(shown(&arguments.prompt, &parsed))
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
            for mut embedding in read_embeddings(&name, &bytes)? {
                embedding.name = format!("{prefix}{}", embedding.name);
                library.insert(embedding);
            }
        }
    }
    Ok(())
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

fn shown(prompt: &str, parsed: &Parsed) -> Value {
    let missing = parsed.warnings.iter().filter(|warning| warning.code == "UNKNOWN_EMBEDDING");
    // ComfyUI's words.
    let log: Vec<String> =
        missing.map(|warning| format!("warning, embedding:{} does not exist, ignoring", warning.about)).collect();
    let warning = |warning: &wordbrush::prompt::Warning| json!({ "code": warning.code, "message": warning.message });
    json!({
        "prompt": prompt,
        "windows": parsed.windows.iter().map(shown_window).collect::<Vec<_>>(),
        "log": log.join("\n"),
        "lookups": parsed.lookups,
        "warnings": parsed.warnings.iter().map(warning).collect::<Vec<_>>(),
    })
}

fn shown_window(window: &Window) -> Value {
    let is_end = |token: &Token| matches!(token.piece, Piece::Id(EOS)) && token.weight == 1.0;
    let padding = window.tokens.iter().rev().take_while(|token| is_end(token)).count();
    let kept = window.tokens.len() - padding.saturating_sub(1);
    let tokens: Vec<Value> = window.tokens[..kept].iter().map(shown_token).collect();
    json!({ "len": window.tokens.len(), "toks": tokens })
}

fn shown_token(token: &Token) -> Value {
    // Through its shortest text, a weight of 1.1 is shown as 1.1 and not as the nearest f32.
    let weight: f64 = token.weight.to_string().parse().unwrap_or(1.0);
    match &token.piece {
        Piece::Id(id) => json!([id, weight]),
        Piece::Row { embedding, row } => json!([format!("<{}#{row}>", embedding.name), weight]),
    }
}
