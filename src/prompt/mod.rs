//! Text → windows of 77 weighted tokens and embedding rows, on the CPU.
//!
//! Two grammars are read, never mixed: [`Syntax::Comfy`] (the default; `comfy.rs`, with the weights of `syntax.rs`) and
//! [`Syntax::A1111`] (`a1111.rs`). Both end in the same [`Window`]s. Whatever the text, something is made of it: what was
//! not understood becomes a [`Warning`], never an error.
//!
//! The way of a prompt: [`expand`] for ComfyUI's comments and `{a|b}`, then [`scenario`], which says what counts at which
//! step. [`parse`] reads a text that has one meaning for all steps. [`Library`] holds the embeddings; `facts.rs` describes
//! them and `craft.rs` makes new ones.

mod a1111;
mod attention;
mod byte_level;
mod calls;
mod choices;
mod comfy;
pub mod craft;
mod distance;
mod dynamic;
mod facts;
mod library;
mod scenario;
mod schedule;
mod sites;
mod syntax;
mod tokenizer;
mod triggers;

use std::rc::Rc;

use crate::files::textual_inversion::Embedding;

use triggers::Triggers;

pub use attention::{Attention, attention};
pub use dynamic::expand;
pub use facts::{Facts, Near};
pub use library::{Added, Library};
pub use scenario::{Options, Part, Scenario, Span, scenario};
pub use schedule::schedule;
pub use sites::{Site, sites};
pub use tokenizer::{BOS, EOS, Tokenizer};

/// Tokens in a window: begin, 75 of the prompt, end. The text model has 77 positions.
pub const WINDOW: usize = 77;

/// The largest weight, either sign, that a prompt may ask for: beyond it pictures are noise, and typing slips like
/// `(911)` for a name would reach the network.
pub const MAX_WEIGHT: f64 = 10.0;

/// Nobody reads more, and a hostile text could ask for millions.
const MOST_WARNINGS: usize = 100;

/// Which grammar a prompt is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syntax {
    /// ComfyUI: `embedding:name`, `(text:1.2)` with absolute weights.
    #[default]
    Comfy,
    /// AUTOMATIC1111: bare names, `(text:1.2)` and `[text]` with weights that multiply, `BREAK`; in a [`scenario`] also
    /// `[a:b:0.5]`, `[a|b]` and `AND`.
    A1111,
}

/// One of the 77 places of a window.
#[derive(Debug, Clone)]
pub struct Token {
    /// What stands there.
    pub piece: Piece,
    /// How strongly: 1 is plain text, at most [`MAX_WEIGHT`] either way.
    pub weight: f32,
}

/// What a token looks up.
#[derive(Debug, Clone)]
pub enum Piece {
    /// A row of the text model's own token table.
    Id(u32),
    /// A row of an embedding.
    Row {
        /// The embedding.
        embedding: Rc<Embedding>,
        /// Which of its vectors.
        row: usize,
    },
}

/// What the text model reads at once.
#[derive(Debug, Clone)]
pub struct Window {
    /// Always [`WINDOW`] of them, begin and end included.
    pub tokens: Vec<Token>,
}

/// Something in the prompt that did not do what it seems to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// For programs: `UNKNOWN_EMBEDDING`, `EMPTY_EMBEDDING`, `EMBEDDING_IS_TEXT`, `EMBEDDING_PREFIX`, `EMBEDDING_SPLIT`,
    /// `EMBEDDING_CUT`, `WEIGHT_CLAMPED`, `WEIGHT_NOT_FINITE` or `NESTED_TOO_DEEP`; of a [`scenario`] `PROMPT_WEIGHT`,
    /// `TOO_MANY_PARTS` or `SCHEDULE_TOO_LONG`; of a [`Library`] `EMBEDDING_REPLACED` or `EMBEDDING_AMBIGUOUS`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The part of the prompt it is about, as written. For `UNKNOWN_EMBEDDING` it is everything from the name to the next
    /// embedding, which is what ComfyUI prints.
    pub about: String,
}

/// A prompt, read.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// At least one.
    pub windows: Vec<Window>,
    /// In the order of the prompt, none twice, at most 100.
    pub warnings: Vec<Warning>,
    /// The names that were looked for, in order.
    pub lookups: Vec<String>,
    /// The names of the embeddings that were found, in order, none twice.
    pub used: Vec<String>,
}

/// Reads a prompt of one meaning for all steps: never fails and never panics, see [`Parsed::warnings`].
///
/// ComfyUI's `{a|b}` and comments are not read here, see [`expand`]; of A1111's grammar `[a:b:0.5]`, `[a|b]` and `AND` are
/// not, see [`scenario`].
pub fn parse(text: &str, syntax: Syntax, tokenizer: &Tokenizer, library: &Library) -> Parsed {
    let reader = Reader { tokenizer, library, keep_whole: false };
    match syntax {
        Syntax::Comfy => reader.comfy(text),
        Syntax::A1111 => reader.a1111(text, &Triggers::of(reader)),
    }
}

/// What both grammars read with.
#[derive(Clone, Copy)]
struct Reader<'a> {
    tokenizer: &'a Tokenizer,
    library: &'a Library,
    /// See [`Options::keep_whole`].
    keep_whole: bool,
}

impl Reader<'_> {
    fn comfy(self, text: &str) -> Parsed {
        let mut parsed = Parsed::default();
        parsed.windows = comfy::windows(text, self, &mut parsed);
        debug_assert!(parsed.windows.iter().all(|window| window.tokens.len() == WINDOW));
        parsed
    }

    fn a1111(self, text: &str, triggers: &Triggers) -> Parsed {
        let mut parsed = Parsed::default();
        parsed.windows = a1111::windows(text, self, triggers, &mut parsed);
        debug_assert!(parsed.windows.iter().all(|window| window.tokens.len() == WINDOW));
        parsed
    }
}

impl Token {
    fn id(id: u32, weight: f32) -> Self {
        Token { piece: Piece::Id(id), weight }
    }

    /// The first `rows` vectors of an embedding, each with the same weight.
    fn rows(embedding: &Rc<Embedding>, rows: usize, weight: f32) -> Vec<Token> {
        let token = |row| Token { piece: Piece::Row { embedding: embedding.clone(), row }, weight };
        (0..rows).map(token).collect()
    }
}

impl Window {
    /// Begin, the given tokens, end, and the end token again (which is CLIP's padding) up to 77.
    fn closed(mut content: Vec<Token>) -> Self {
        debug_assert!(content.len() <= WINDOW - 2);
        content.insert(0, Token::id(BOS, 1.0));
        content.resize(WINDOW, Token::id(EOS, 1.0));
        Window { tokens: content }
    }

    /// The weights of the 77 places; begin, end and padding have 1.
    pub fn weights(&self) -> impl Iterator<Item = f32> {
        self.tokens.iter().map(|token| token.weight)
    }

    /// Whether any weight is not 1. ComfyUI needs the empty prompt's hidden states then, A1111 its mean.
    pub fn is_weighted(&self) -> bool {
        self.weights().any(|weight| weight != 1.0)
    }
}

impl Parsed {
    fn warn(&mut self, code: &'static str, about: &str, message: String) {
        self.warn_again(&Warning { code, message, about: about.to_owned() });
    }

    fn warn_again(&mut self, warning: &Warning) {
        if !self.is_full() && !self.warnings.contains(warning) {
            self.warnings.push(warning.clone());
        }
    }

    /// Whether more warnings would be left out; then there is no need to look for what to say.
    fn is_full(&self) -> bool {
        self.warnings.len() == MOST_WARNINGS
    }

    fn use_name(&mut self, name: &str) {
        if !self.used.iter().any(|used| used == name) {
            self.used.push(name.to_owned());
        }
    }

    /// The weight as the network gets it; `about` is the text that carries it.
    fn clamp(&mut self, weight: f64, about: &str) -> f32 {
        if weight.abs() > MAX_WEIGHT {
            let message = format!(
                "The weight {} of \u{201c}{}\u{201d} is too strong; {} is used.",
                short(&weight.to_string()),
                short(about),
                MAX_WEIGHT.copysign(weight)
            );
            self.warn("WEIGHT_CLAMPED", about, message);
        }
        // A1111's products can overflow, and infinity times zero is not a number.
        if weight.is_nan() { 1.0 } else { weight.clamp(-MAX_WEIGHT, MAX_WEIGHT) as f32 }
    }
}

/// At most 60 characters of text for a message.
fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}
