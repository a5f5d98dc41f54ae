//! A1111's weights: `(a)`, `[a]`, `(a:1.2)`, which multiply, and the word `BREAK`.
//!
//! The rules are in `embeddings.md` §3.1, found by running Forge.

use super::calls;
use super::library::Library;

/// A stretch of a prompt in A1111's grammar.
#[derive(Debug, Clone, PartialEq)]
pub enum Attention {
    /// Text and its weight.
    Text(String, f64),
    /// `BREAK`: the chunk ends here.
    Break,
}

/// Splits a prompt by A1111's attention grammar: `(a)` ×1.1, `[a]` ÷1.1, `(a:1.2)` ×1.2, `\(` and the like literal,
/// `BREAK`. Weights multiply; what is not closed is closed at the end; neighbours of equal weight are one.
pub fn attention(text: &str) -> Vec<Attention> {
    attention_around(text, &Library::new())
}

/// The same, where the calls of known embeddings (`calls.rs`) are never cut.
pub(super) fn attention_around(text: &str, library: &Library) -> Vec<Attention> {
    let mut reading = Reading::default();
    let mut calls = calls::all(text, library).into_iter().peekable();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        // A call within an escape or a weight is not one; those lexemes hold no letters, so there is none.
        if let Some((_, call)) = calls.next_if(|(start, _)| *start == at) {
            reading.found.push(Attention::Text(text[at..at + call.length].to_owned(), 1.0));
            at += call.length;
            continue;
        }
        let end = calls.peek().map_or(text.len(), |(start, _)| *start);
        at += reading.step(&text[at..end], first);
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
