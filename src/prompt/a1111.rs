//! AUTOMATIC1111's prompts: weights that multiply, bare names, chunks of 75 that end at commas.
//!
//! The rules are in `embeddings.md` §3.1 and §3.4, found by running Forge. Scheduling (`[a:b:0.5]`) and alternation
//! (`[a|b]`) are not offered: their brackets are read as weights of 1/1.1, and so is the text in them. `AND` is text.

use super::triggers::Triggers;
use super::{Parsed, Reader, Token, WINDOW, Window, short};

/// Tokens in a chunk, without begin and end.
const CHUNK: usize = WINDOW - 2;

/// How far back a comma may be for a full chunk to end there (A1111's `comma_padding_backtrack`).
const BACKTRACK: usize = 20;

/// CLIP's id of a comma that ends a word.
const COMMA: u32 = 267;

/// A stretch of a prompt in A1111's grammar.
#[derive(Debug, Clone, PartialEq)]
pub enum Attention {
    /// Text and its weight.
    Text(String, f64),
    /// `BREAK`: the chunk ends here.
    Break,
}

/// Reads a prompt in A1111's grammar.
pub(super) fn windows(text: &str, reader: Reader, report: &mut Parsed) -> Vec<Window> {
    let triggers = Triggers::of(reader);
    if text.to_lowercase().contains("embedding:") {
        let message =
            "In A1111's grammar \u{201c}embedding:\u{201d} is text; the bare name calls the embedding.".to_owned();
        report.warn("EMBEDDING_IS_TEXT", "embedding:", message);
    }
    let mut chunks = Chunks::default();
    for stretch in attention(text) {
        match stretch {
            Attention::Break => chunks.close(),
            Attention::Text(text, weight) => {
                let weight = report.clamp(weight, &text);
                chunks.add(&reader.tokenizer.encode(&text), weight, &triggers, report);
            }
        }
    }
    if !chunks.open.is_empty() || chunks.closed.is_empty() {
        chunks.close();
    }
    chunks.closed
}

#[derive(Default)]
struct Chunks {
    closed: Vec<Window>,
    open: Vec<Token>,
    /// Where the open chunk's last comma is.
    comma: Option<usize>,
}

impl Chunks {
    fn add(&mut self, ids: &[u32], weight: f32, triggers: &Triggers, report: &mut Parsed) {
        let mut at = 0;
        while at < ids.len() {
            if ids[at] == COMMA {
                self.comma = Some(self.open.len());
            } else if self.open.len() == CHUNK {
                self.close_after_comma();
            }
            if self.open.len() == CHUNK {
                self.close();
            }
            let Some(trigger) = triggers.at(&ids[at..]) else {
                self.open.push(Token::id(ids[at], weight));
                at += 1;
                continue;
            };
            report.lookups.push(trigger.name.to_owned());
            report.use_name(trigger.name);
            let rows = trigger.embedding.vectors.min(CHUNK);
            if rows < trigger.embedding.vectors {
                let message = format!(
                    "The embedding \u{201c}{}\u{201d} has {} vectors; the first {CHUNK} are used.",
                    short(trigger.name),
                    trigger.embedding.vectors
                );
                report.warn("EMBEDDING_CUT", trigger.name, message);
            }
            if self.open.len() + rows > CHUNK {
                self.close();
            }
            self.open.extend(Token::rows(trigger.embedding, rows, weight));
            at += trigger.ids.len();
        }
    }

    /// Ends a full chunk after its last comma, if that is near: what follows the comma goes to the next chunk.
    fn close_after_comma(&mut self) {
        let Some(comma) = self.comma.filter(|comma| CHUNK - comma <= BACKTRACK) else { return };
        let moved = self.open.split_off(comma + 1);
        self.close();
        self.open = moved;
    }

    fn close(&mut self) {
        self.closed.push(Window::closed(std::mem::take(&mut self.open)));
        self.comma = None;
    }
}

/// Splits a prompt by A1111's attention grammar: `(a)` ×1.1, `[a]` ÷1.1, `(a:1.2)` ×1.2, `\(` and the like literal,
/// `BREAK`. Weights multiply; what is not closed is closed at the end; neighbours of equal weight are one.
pub fn attention(text: &str) -> Vec<Attention> {
    let mut reading = Reading::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = reading.step(rest, first);
        rest = &rest[taken..];
    }
    let open: Vec<usize> = std::mem::take(&mut reading.round);
    open.into_iter().for_each(|start| reading.multiply(start, 1.1));
    let open: Vec<usize> = std::mem::take(&mut reading.square);
    open.into_iter().for_each(|start| reading.multiply(start, 1.0 / 1.1));
    merged(reading.found)
}

#[derive(Default)]
struct Reading {
    found: Vec<Attention>,
    /// Where in `found` the open parentheses began.
    round: Vec<usize>,
    /// Where in `found` the open brackets began.
    square: Vec<usize>,
}

impl Reading {
    /// Reads one lexeme and says how many bytes it has.
    fn step(&mut self, rest: &str, first: char) -> usize {
        let length = lexeme(rest, first);
        let text = &rest[..length];
        match first {
            '(' => self.round.push(self.found.len()),
            '[' => self.square.push(self.found.len()),
            ')' => self.close_round(1.1, text),
            ':' if length > 1 => self.close_round(weight_and_close(rest).map_or(1.1, |(weight, _)| weight), text),
            ']' => match self.square.pop() {
                Some(start) => self.multiply(start, 1.0 / 1.1),
                None => self.text(text),
            },
            // The backslash goes, also where it protects nothing.
            '\\' => self.text(&text[1..]),
            _ => self.text(text),
        }
        length
    }

    fn close_round(&mut self, weight: f64, lexeme: &str) {
        match self.round.pop() {
            Some(start) => self.multiply(start, weight),
            None => self.text(lexeme),
        }
    }

    fn multiply(&mut self, start: usize, factor: f64) {
        for stretch in &mut self.found[start..] {
            if let Attention::Text(_, weight) = stretch {
                *weight *= factor;
            }
        }
    }

    /// Adds text, split at the word `BREAK` and the blanks around it.
    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = find_break(rest) {
            self.found.push(Attention::Text(rest[..at].trim_end().to_owned(), 1.0));
            self.found.push(Attention::Break);
            rest = rest[at + "BREAK".len()..].trim_start();
        }
        self.found.push(Attention::Text(rest.to_owned(), 1.0));
    }
}

/// How many bytes the lexeme has that `rest` begins with.
fn lexeme(rest: &str, first: char) -> usize {
    match first {
        '(' | ')' | '[' | ']' => 1,
        ':' => weight_and_close(rest).map_or(1, |(_, length)| length),
        '\\' if rest[1..].starts_with(['(', ')', '[', ']', '\\']) => 2,
        '\\' => 1,
        _ => rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len()),
    }
}

/// The number of `: number )` and the length of it all.
fn weight_and_close(text: &str) -> Option<(f64, usize)> {
    let close = text.find(')')?;
    let number = text[1..close].trim();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    // Only digits and points: Rust would also read `1e1` and `inf`.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let weight: f64 = plain.then(|| number.parse().ok()).flatten()?;
    Some((weight, close + 1))
}

/// Where the word `BREAK` stands.
fn find_break(text: &str) -> Option<usize> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let whole = |at: usize| {
        let (before, after) = (&text[..at], &text[at + "BREAK".len()..]);
        !before.ends_with(is_word) && !after.starts_with(is_word)
    };
    text.match_indices("BREAK").map(|(at, _)| at).find(|at| whole(*at))
}

fn merged(found: Vec<Attention>) -> Vec<Attention> {
    let mut merged: Vec<Attention> = Vec::new();
    for stretch in found {
        match (merged.last_mut(), stretch) {
            (Some(Attention::Text(text, weight)), Attention::Text(more, same)) if *weight == same => {
                text.push_str(&more)
            }
            (_, stretch) => merged.push(stretch),
        }
    }
    if merged.is_empty() {
        merged.push(Attention::Text(String::new(), 1.0));
    }
    merged
}
