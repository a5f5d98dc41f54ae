//! ComfyUI's prompts: `embedding:name` and windows, after `syntax.rs` has read the weights.
//!
//! The rules are in `embeddings.md` §2.3 and §2.6, found by running ComfyUI (October 2025). Where ComfyUI silently loses
//! what was written, or fails, ours goes on (§0.2): `tests/prompt/comfy.rs` lists every difference.

use std::ops::Range;
use std::rc::Rc;

use crate::files::textual_inversion::Embedding;

use super::library::Library;
use super::syntax::{Segment, segments};
use super::{Parsed, Reader, Token, WINDOW, Window, short};

pub(super) const PREFIX: &str = "embedding:";

/// A name ends at one of these, at whitespace, or with the text.
pub(super) const ENDS_NAME: &[char] = &[',', '<', '[', ']', ')', '(', '|'];

/// Punctuation that may follow a name in a sentence; tried without it if the name is unknown.
pub(super) const AFTER_NAME: &[char] = &['.', ';', ':'];

/// From this many tokens on, a group is cut where a window ends instead of being moved to the next one (ComfyUI's rule).
const LARGE: usize = 8;

/// Tokens that stay together if they are few: a run of plain text or the rows of one embedding.
struct Group {
    tokens: Vec<Token>,
    /// The embedding's name; none for text.
    name: Option<String>,
}

/// Reads a prompt in ComfyUI's grammar.
pub(super) fn windows(text: &str, reader: Reader, report: &mut Parsed) -> Vec<Window> {
    let segments = segments(text, report);
    let mut grouping = Grouping { reader, report, groups: Vec::new() };
    for Segment { text, weight, .. } in segments {
        let weight = grouping.report.clamp(weight, &text);
        for part in parts(&text, grouping.report) {
            let text = match part {
                Part::Text(text) => text,
                Part::Embedding(body, _) => grouping.take_name(body, weight),
            };
            grouping.push_text(text, weight);
        }
    }
    let Grouping { groups, report, .. } = grouping;
    pack(groups, reader.keep_whole, report)
}

struct Grouping<'a> {
    reader: Reader<'a>,
    report: &'a mut Parsed,
    groups: Vec<Group>,
}

/// A stretch of a segment.
enum Part<'a> {
    Text(&'a str),
    /// What follows `embedding:`, up to the next one, and where it begins.
    Embedding(&'a str, usize),
}

/// Finds the places where `embedding:` calls an embedding: at the start of a segment or after a space or line end, which
/// it swallows, in any case of its letters. Anywhere else it is text, in ComfyUI and here, but here with a warning.
///
/// One more place is ours: `embedding:a,embedding:b`, which ComfyUI reads as one name and loses.
fn parts<'a>(text: &'a str, report: &mut Parsed) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let (mut start, mut in_embedding) = (0, false);
    let mut push = |range: Range<usize>, is_embedding: bool| {
        let start = range.start;
        let body = &text[range];
        if is_embedding {
            parts.push(Part::Embedding(body, start));
        } else if !body.is_empty() {
            parts.push(Part::Text(body));
        }
    };
    for at in prefixes(text) {
        let before = text[..at].chars().next_back();
        let separated = matches!(before, Some(' ' | '\n'));
        let chained = in_embedding
            && before.is_some_and(|before| ENDS_NAME.contains(&before))
            && !text[start..at].trim_start().contains(char::is_whitespace);
        if at == 0 || separated || chained {
            push(start..if separated { at - 1 } else { at }.max(start), in_embedding);
            (start, in_embedding) = (at + PREFIX.len(), true);
        } else if before.is_some_and(|before| !before.is_alphanumeric()) {
            let shown = short(&text[at..]);
            let word = shown.split(char::is_whitespace).next().unwrap_or(PREFIX);
            let message =
                format!("\u{201c}{word}\u{201d} is read as plain words: put a space before it to call the embedding.");
            report.warn("EMBEDDING_IS_TEXT", word, message);
        }
    }
    push(start..text.len(), in_embedding);
    parts
}

/// Where `embedding:` stands, in any case.
fn prefixes(text: &str) -> impl Iterator<Item = usize> {
    let windows = text.as_bytes().windows(PREFIX.len()).enumerate();
    windows.filter(|(_, bytes)| bytes.eq_ignore_ascii_case(PREFIX.as_bytes())).map(|(at, _)| at)
}

impl Grouping<'_> {
    /// Reads the name that `body` begins with, adds its rows, and hands back the text after it.
    ///
    /// ComfyUI takes the whole word, then the word without commas around it. If neither is known, ours also tries the
    /// word up to the first delimiter, and that without punctuation at its end. An unknown name is left out, as there.
    fn take_name<'t>(&mut self, body: &'t str, weight: f32) -> &'t str {
        let Named { range, known } = named(body, self.reader.library, &mut self.report.lookups);
        match known {
            Some((known, embedding)) => {
                self.report.use_name(known);
                let tokens = Token::rows(embedding, embedding.vectors, weight);
                self.groups.push(Group { tokens, name: Some(known.to_owned()) });
            }
            None => warn_of_missing(&body[range.clone()], body, self.reader, self.report),
        }
        &body[range.end..]
    }

    fn push_text(&mut self, text: &str, weight: f32) {
        let ids = self.reader.tokenizer.encode(text);
        let tokens = ids.into_iter().map(|id| Token::id(id, weight)).collect();
        self.groups.push(Group { tokens, name: None });
    }
}

/// What stands after `embedding:`.
struct Named<'l> {
    /// Where the name stands; empty if there is none.
    range: Range<usize>,
    known: Option<(&'l str, &'l Rc<Embedding>)>,
}

/// The name that `body` begins with, in the library or not.
fn named<'l>(body: &str, library: &'l Library, lookups: &mut Vec<String>) -> Named<'l> {
    let start = body.len() - body.trim_start().len();
    let end = body[start..].find(char::is_whitespace).map_or(body.len(), |length| start + length);
    let word = &body[start..end];
    let in_body = |range: &Range<usize>| start + range.start..start + range.end;
    let candidates = candidates(word);
    for (tried, range) in candidates.iter().enumerate() {
        if range.is_empty() || candidates[..tried].contains(range) {
            continue;
        }
        lookups.push(word[range.clone()].to_owned());
        if let Some(known) = library.get(&word[range.clone()]) {
            return Named { range: in_body(range), known: Some(known) };
        }
    }
    let [_, _, dropped, _] = candidates;
    // Commas are only part of the name's word if there is a name.
    let range = if dropped.is_empty() { start..start } else { in_body(&dropped) };
    Named { range, known: None }
}

/// A call of an embedding in a prompt.
pub(super) struct Called {
    /// From `embedding:` to the end of the name.
    pub range: Range<usize>,
    /// As written.
    pub name: String,
    /// The library's name for it.
    pub known: Option<String>,
}

/// The calls in a prompt, in order.
pub(super) fn calls(prompt: &str, library: &Library) -> Vec<Called> {
    let mut unread = Parsed::default();
    let mut found = Vec::new();
    for Segment { text, source, .. } in segments(prompt, &mut unread) {
        for part in parts(&text, &mut unread) {
            let Part::Embedding(body, at) = part else { continue };
            let Named { range, known } = named(body, library, &mut unread.lookups);
            let name = body[range.clone()].trim_end_matches(if known.is_some() { &[][..] } else { AFTER_NAME });
            if name.is_empty() {
                continue;
            }
            let end = at + range.start + name.len();
            let place = |at| source.start + escaped_length(&prompt[source.clone()], at);
            let known = known.map(|(known, _)| known.to_owned());
            found.push(Called { range: place(at - PREFIX.len())..place(end), name: name.to_owned(), known });
        }
    }
    found
}

/// How many bytes of a text make so many bytes without its escapes.
fn escaped_length(text: &str, unescaped: usize) -> usize {
    let (mut at, mut left) = (0, unescaped);
    while let Some(sign) = text[at..].chars().next().filter(|_| left > 0) {
        let escape = text[at..].starts_with("\\(") || text[at..].starts_with("\\)");
        at += if escape { 2 } else { sign.len_utf8() };
        left = left.saturating_sub(sign.len_utf8());
    }
    at
}

/// Which parts of a word may be the name, in the order they are tried.
fn candidates(word: &str) -> [Range<usize>; 4] {
    let first = word.len() - word.trim_start_matches(',').len();
    let whole = 0..word.len();
    let without_commas = first..word.trim_end_matches(',').len().max(first);
    let cut = first..word[first..].find(ENDS_NAME).map_or(word.len(), |length| first + length);
    let without_punctuation = first..first + word[cut.clone()].trim_end_matches(AFTER_NAME).len();
    [whole, without_commas, cut, without_punctuation]
}

fn warn_of_missing(name: &str, body: &str, reader: Reader, report: &mut Parsed) {
    let about = body.trim_matches('\n');
    if name.trim_matches(AFTER_NAME).is_empty() {
        let message = "\u{201c}embedding:\u{201d} without a name does nothing.".to_owned();
        return report.warn("EMPTY_EMBEDDING", about, message);
    }
    let mut message = format!("There is no embedding \u{201c}{}\u{201d}; it is left out.", short(name));
    if let Some((before, _)) = name.split_once(':').filter(|(before, _)| reader.library.get(before).is_some()) {
        message += &format!(" A weight needs parentheses: (embedding:{before}:1.2).");
    } else if let Some(near) = Some(name).filter(|_| !report.is_full()).and_then(|name| reader.library.nearest(name)) {
        message += &format!(" Did you mean \u{201c}{near}\u{201d}?");
    }
    report.warn("UNKNOWN_EMBEDDING", about, message);
}

/// Fills windows with groups. A group that does not fit starts the next window if it is small, and is cut if it is large;
/// with `keep_whole` it is not cut if it is an embedding that fits a window of its own.
fn pack(groups: Vec<Group>, keep_whole: bool, report: &mut Parsed) -> Vec<Window> {
    const ROOM: usize = WINDOW - 2;
    let mut windows = Vec::new();
    let mut open: Vec<Token> = Vec::with_capacity(WINDOW);
    for Group { tokens, name } in groups {
        let fits = open.len() + tokens.len() <= ROOM;
        let moved = tokens.len() < LARGE || keep_whole && name.is_some() && tokens.len() <= ROOM;
        if fits || moved {
            if !fits {
                windows.push(Window::closed(std::mem::take(&mut open)));
            }
            open.extend(tokens);
            continue;
        }
        if let Some(name) = name.filter(|_| open.len() < ROOM || tokens.len() > ROOM) {
            let message = format!(
                "The embedding \u{201c}{}\u{201d} ({} vectors) is split between two windows of 75 tokens; put it earlier or keep embeddings whole.",
                short(&name),
                tokens.len()
            );
            report.warn("EMBEDDING_SPLIT", &name, message);
        }
        for token in tokens {
            if open.len() == ROOM {
                windows.push(Window::closed(std::mem::take(&mut open)));
            }
            open.push(token);
        }
    }
    windows.push(Window::closed(open));
    windows
}
