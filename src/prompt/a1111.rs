//! AUTOMATIC1111's prompts: weights that multiply, bare names, chunks of 75 that end at commas.
//!
//! The rules are in `embeddings.md` §3.1 and §3.4, found by running Forge. What is read here has one meaning for all steps:
//! `schedule.rs` has dealt with `[a:b:0.5]` and `scenario.rs` with `AND`; brackets that are left are weights of 1/1.1.
//!
//! What the weights do is not done here, for it needs the text model's output: of each window that has a weight other than 1,
//! A1111 multiplies the hidden states of token j by its weight (begin, end and padding have 1) and then all of them by
//! `mean before / mean after`, the mean over the whole window; not where that is not a finite number (`embeddings.md` §3.5).

use std::rc::Rc;

use crate::files::textual_inversion::Embedding;

use super::attention::{Attention, attention_around};
use super::calls;
use super::triggers::Triggers;
use super::{Parsed, Reader, Token, WINDOW, Window, short};

/// Tokens in a chunk, without begin and end.
const CHUNK: usize = WINDOW - 2;

/// How far back a comma may be for a full chunk to end there (A1111's `comma_padding_backtrack`).
const BACKTRACK: usize = 20;

/// CLIP's id of a comma that ends a word.
const COMMA: u32 = 267;

/// Reads a prompt in A1111's grammar.
pub(super) fn windows(text: &str, reader: Reader, triggers: &Triggers, report: &mut Parsed) -> Vec<Window> {
    let mut chunks = Chunks { reader, triggers, closed: Vec::new(), open: Vec::new(), comma: None };
    for stretch in attention_around(text, reader.library) {
        match stretch {
            Attention::Break => chunks.close(),
            Attention::Text(text, weight) => chunks.add(&text, weight, report),
        }
    }
    if !chunks.open.is_empty() || chunks.closed.is_empty() {
        chunks.close();
    }
    chunks.closed
}

struct Chunks<'a> {
    reader: Reader<'a>,
    triggers: &'a Triggers<'a>,
    closed: Vec<Window>,
    open: Vec<Token>,
    /// Where the open chunk's last comma is.
    comma: Option<usize>,
}

impl Chunks<'_> {
    /// Adds text of one weight, and the embeddings that it calls by `embedding:`.
    fn add(&mut self, text: &str, weight: f64, report: &mut Parsed) {
        let weight = report.clamp(weight, text);
        let mut at = 0;
        for (start, call) in calls::all(text, self.reader.library) {
            self.add_words(&text[at..start], weight, report);
            report.lookups.push(call.name.to_owned());
            let message = format!(
                "A1111 would read \u{201c}embedding:\u{201d} before \u{201c}{}\u{201d} as words; here it calls the embedding.",
                short(call.name)
            );
            report.warn("EMBEDDING_PREFIX", call.name, message);
            self.make_room();
            self.add_rows(call.name, call.embedding, weight, report);
            at = start + call.length;
        }
        self.add_words(&text[at..], weight, report);
    }

    /// Adds text, and the embeddings that it calls by their bare names.
    fn add_words(&mut self, text: &str, weight: f32, report: &mut Parsed) {
        if text.to_ascii_lowercase().contains("embedding:") {
            let message =
                "In A1111's grammar \u{201c}embedding:\u{201d} is text; the bare name calls the embedding.".to_owned();
            report.warn("EMBEDDING_IS_TEXT", "embedding:", message);
        }
        let ids = self.reader.tokenizer.encode(text);
        let triggers = self.triggers;
        let mut at = 0;
        while at < ids.len() {
            if ids[at] == COMMA {
                self.comma = Some(self.open.len());
                // A full chunk is not cut for a comma: it ends before it.
                if self.open.len() == CHUNK {
                    self.close();
                }
            } else {
                self.make_room();
            }
            match triggers.at(&ids[at..]) {
                Some(trigger) => {
                    report.lookups.push(trigger.name.to_owned());
                    self.add_rows(trigger.name, trigger.embedding, weight, report);
                    at += trigger.ids.len();
                }
                None => {
                    self.open.push(Token::id(ids[at], weight));
                    at += 1;
                }
            }
        }
    }

    /// Ends the open chunk if it is full: after its last comma, if that is near.
    fn make_room(&mut self) {
        if self.open.len() == CHUNK {
            self.close_after_comma();
        }
        if self.open.len() == CHUNK {
            self.close();
        }
    }

    fn add_rows(&mut self, name: &str, embedding: &Rc<Embedding>, weight: f32, report: &mut Parsed) {
        report.use_name(name);
        let rows = embedding.vectors.min(CHUNK);
        if rows < embedding.vectors {
            let message = format!(
                "The embedding \u{201c}{}\u{201d} has {} vectors; the first {CHUNK} are used.",
                short(name),
                embedding.vectors
            );
            report.warn("EMBEDDING_CUT", name, message);
        }
        if self.open.len() + rows > CHUNK {
            self.close();
        }
        self.open.extend(Token::rows(embedding, rows, weight));
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
