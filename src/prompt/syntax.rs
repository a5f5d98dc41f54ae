//! ComfyUI's weights: `(text)`, `(text:1.3)`, `\(` and `\)`.
//!
//! The rules are in `embeddings.md` §2.2, found by running ComfyUI. Ours differ in three places, where a slip would
//! destroy the picture: the colon of `embedding:` is never the colon of a weight (`(embedding:911)` is a name), a weight
//! must be finite, and its size is limited.

use std::ops::Range;

use super::{Parsed, short};

/// Nested parentheses deeper than this are left as text; 1.1^25 is already over the largest weight.
const MAX_DEPTH: usize = 64;

/// The word before a colon that is part of an embedding's name.
const EMBEDDING: &str = "embedding";

/// A stretch of the prompt with one weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    /// Without the parentheses that made the weight; escapes resolved.
    pub text: String,
    /// Where in the prompt the text stands, escapes still in it.
    pub source: Range<usize>,
    /// As written; not yet limited.
    pub weight: f64,
}

/// Splits a prompt by its weights.
pub(super) fn segments(text: &str, report: &mut Parsed) -> Vec<Segment> {
    let mut found = Vec::new();
    descend(0..text.len(), 1.0, 0, &mut Output { prompt: text, segments: &mut found, report });
    found
}

struct Output<'a> {
    prompt: &'a str,
    segments: &'a mut Vec<Segment>,
    report: &'a mut Parsed,
}

impl Output<'_> {
    fn push(&mut self, source: Range<usize>, weight: f64) {
        self.segments.push(Segment { text: unescape(&self.prompt[source.clone()]), source, weight });
    }
}

fn descend(source: Range<usize>, weight: f64, depth: usize, out: &mut Output) {
    let mut at = source.start;
    for item in split(&out.prompt[source]) {
        let whole = at..at + item.text.len();
        at = whole.end;
        if !item.parenthesised {
            out.push(whole, weight);
        } else if depth == MAX_DEPTH {
            let message = format!("Parentheses deeper than {MAX_DEPTH} are read as plain text.");
            out.report.warn("NESTED_TOO_DEEP", "", message);
            out.push(whole, weight);
        } else {
            let inner = whole.start + 1..whole.end - 1;
            match own_weight(&out.prompt[inner.clone()], out.report) {
                // The inner number replaces every weight around it: ComfyUI's weights are absolute.
                Some((before, own)) => descend(inner.start..inner.start + before.len(), own, depth + 1, out),
                None => descend(inner, weight * 1.1, depth + 1, out),
            }
        }
    }
}

/// One piece of a text at the top level of its parentheses, escapes still in it.
struct Item<'a> {
    text: &'a str,
    /// From an opening to a closing parenthesis, neither escaped.
    parenthesised: bool,
}

/// Cuts a text into parenthesised items and what is between them.
///
/// A `)` without its `(` is text and takes the level below zero, where the next `(` is text too; a `(` that is never
/// closed makes one item of the rest.
fn split(text: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let (mut start, mut level) = (0, 0i64);
    let mut closed = false; // whether the last character seen is a `)` that is not escaped
    let mut escaped = false;
    let push = |items: &mut Vec<_>, start: usize, end: usize, closed: bool| {
        let text = &text[start..end];
        if !text.is_empty() {
            items.push(Item { text, parenthesised: closed && text.len() >= 2 && text.starts_with('(') });
        }
    };
    for (at, byte) in text.bytes().enumerate() {
        if std::mem::take(&mut escaped) {
            closed = false;
            continue;
        }
        match byte {
            b'\\' => {
                escaped = matches!(text.as_bytes().get(at + 1), Some(b'(' | b')'));
                closed = false;
            }
            b'(' => {
                if level == 0 {
                    push(&mut items, start, at, closed);
                    start = at;
                }
                level += 1;
                closed = false;
            }
            b')' => {
                level -= 1;
                closed = true;
                if level == 0 {
                    push(&mut items, start, at + 1, closed);
                    start = at + 1;
                }
            }
            _ => closed = false,
        }
    }
    push(&mut items, start, text.len(), closed);
    items
}

/// The text before the weight and the weight, if the inside of the parentheses ends in one.
fn own_weight<'a>(inner: &'a str, report: &mut Parsed) -> Option<(&'a str, f64)> {
    let colon = inner.rfind(':').filter(|colon| *colon > 0)?;
    let (before, number) = (&inner[..colon], &inner[colon + 1..]);
    if ends_with_embedding(before) {
        return None;
    }
    let weight = python_float(number)?;
    if !weight.is_finite() {
        let message = format!("\u{201c}{}\u{201d} is not a usable weight; it is read as text.", short(number.trim()));
        report.warn("WEIGHT_NOT_FINITE", inner, message);
        return None;
    }
    Some((before, weight))
}

/// Whether the text ends in the word `embedding`, in any case.
fn ends_with_embedding(text: &str) -> bool {
    let Some(start) = text.len().checked_sub(EMBEDDING.len()) else { return false };
    let tail_matches = text.as_bytes()[start..].eq_ignore_ascii_case(EMBEDDING.as_bytes());
    tail_matches && !text[..start].ends_with(char::is_alphanumeric)
}

/// What Python's `float()` reads: blanks around, `1_000`, `.5`, `1e1`, `inf`. ComfyUI hands weights to it.
pub(super) fn python_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let between_digits = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    if (0..bytes.len()).any(|at| bytes[at] == b'_' && !between_digits(at)) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// `\(` and `\)` become the parentheses they protect; every other backslash stays.
fn unescape(text: &str) -> String {
    text.replace("\\(", "(").replace("\\)", ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, f64)> {
        let segments = segments(text, &mut Parsed::default());
        segments.into_iter().map(|s| (s.text, (s.weight * 1e6).round() / 1e6)).collect()
    }

    fn check(text: &str, expected: &[(&str, f64)]) {
        let expected: Vec<_> = expected.iter().map(|(t, w)| (t.to_string(), *w)).collect();
        assert_eq!(read(text), expected, "{text}");
    }

    /// `embeddings.md` §2.2.
    #[test]
    fn weights() {
        check("", &[]);
        check("a", &[("a", 1.0)]);
        check("()", &[]);
        check("((x))", &[("x", 1.21)]);
        check("((x):1.1)", &[("x", 1.21)]);
        check("((x:1.1))", &[("x", 1.1)]);
        check("(a (b:2) c:0.5)", &[("a ", 0.5), ("b", 2.0), (" c", 0.5)]);
        check("(a: 1.5 )", &[("a", 1.5)]);
        check("(a:1e1)", &[("a", 10.0)]);
        check("(a:-1)", &[("a", -1.0)]);
        check("(a:1_0)", &[("a", 10.0)]);
        check("(a:_1)", &[("a:_1", 1.1)]);
        check("(a:+.5)", &[("a", 0.5)]);
        check("(a:)", &[("a:", 1.1)]);
        check("(:1.2)", &[(":1.2", 1.1)]);
        check("(a:b:2)", &[("a:b", 2.0)]);
    }

    #[test]
    fn unbalanced() {
        check("a (b", &[("a ", 1.0), ("(b", 1.0)]);
        check("(a (b)", &[("a ", 1.1), ("(b", 1.1)]);
        check("a) (b)", &[("a) (b)", 1.0)]);
        check("a) ((b)) c", &[("a) (", 1.0), ("b", 1.1), (") c", 1.0)]);
        check("a (b (c) d", &[("a ", 1.0), ("(b (c) d", 1.0)]);
    }

    #[test]
    fn escapes() {
        check(r"\(a\)", &[("(a)", 1.0)]);
        check(r"(a\)", &[("(a)", 1.0)]);
        check(r"(a \(b\):1.2)", &[("a (b)", 1.2)]);
        check(r"(\\(a)", &[(r"\(a", 1.1)]);
        check(r"a\b", &[(r"a\b", 1.0)]);
        check("(a:1\\))", &[("a:1)", 1.1)]);
    }

    #[test]
    fn an_embedding_is_not_a_weight() {
        check("(embedding:911)", &[("embedding:911", 1.1)]);
        check("(a Embedding: 911)", &[("a Embedding: 911", 1.1)]);
        check("(embedding:911:1.3)", &[("embedding:911", 1.3)]);
        check("(myembedding:1.3)", &[("myembedding", 1.3)]);
    }

    #[test]
    fn what_is_no_number_stays_text() {
        for text in ["(a:nan)", "(a:inf)", "(a:1e999)", "(a:-Infinity)"] {
            let mut report = Parsed::default();
            let segments = segments(text, &mut report);
            assert_eq!(segments[0].text, text[1..text.len() - 1]);
            assert_eq!(report.warnings[0].code, "WEIGHT_NOT_FINITE");
        }
    }

    #[test]
    fn deep_nesting_ends() {
        let text = "(".repeat(50_000) + "a" + &")".repeat(50_000);
        let mut report = Parsed::default();
        assert_eq!(segments(&text, &mut report).len(), 1);
        assert_eq!(report.warnings[0].code, "NESTED_TOO_DEEP");
    }
}
