//! `embedding:NAME` in A1111's grammar, which has no such thing.
//!
//! In A1111 the bare name calls an embedding (`triggers.rs`) and `embedding:` before it is two words. Prompts get carried from
//! ComfyUI though, and there `[embedding:foo:0.25]` would silently become the words `embedding`, then `foo`. So here, and only
//! where the library has the name, `embedding:NAME` is one sign that no colon and no bracket cuts, and it is the embedding
//! without the two words. A prompt that names no embedding in that way is read exactly as in A1111.

use std::rc::Rc;

use crate::files::textual_inversion::Embedding;

use super::comfy::{AFTER_NAME, ENDS_NAME, PREFIX};
use super::library::Library;

/// The longest name that is looked for (file systems end at 255).
const LONGEST: usize = 512;

/// How many of a name's possible ends are tried.
const MOST_ENDS: usize = 16;

/// An embedding, called by `embedding:NAME`.
pub(super) struct Call<'l> {
    /// Bytes of it all.
    pub length: usize,
    pub name: &'l str,
    pub embedding: &'l Rc<Embedding>,
}

/// The call that begins at `at`, if one does. The longest known name counts; `\(` in it is a parenthesis.
pub(super) fn at<'l>(text: &str, at: usize, library: &'l Library) -> Option<Call<'l>> {
    let prefix = text.as_bytes().get(at..at + PREFIX.len())?;
    let within_a_word = text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
    if within_a_word || library.is_empty() || !prefix.eq_ignore_ascii_case(PREFIX.as_bytes()) {
        return None;
    }
    let rest = &text[at + PREFIX.len()..];
    let rest = rest.char_indices().nth(LONGEST).map_or(rest, |(end, _)| &rest[..end]);
    let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
    let ends =
        word.char_indices().filter(|(_, sign)| ENDS_NAME.contains(sign) || AFTER_NAME.contains(sign) || *sign == '\\');
    let mut ends: Vec<usize> = ends.map(|(end, _)| end).take(MOST_ENDS).collect();
    ends.push(word.len());
    ends.into_iter().rev().filter(|end| !word[..*end].ends_with('\\')).find_map(|end| {
        let name = word[..end].replace("\\(", "(").replace("\\)", ")").replace("\\[", "[").replace("\\]", "]");
        let (name, embedding) = library.get(&name)?;
        Some(Call { length: PREFIX.len() + end, name, embedding })
    })
}

/// Every call in a text: where it begins, and the call.
pub(super) fn all<'l>(text: &str, library: &'l Library) -> Vec<(usize, Call<'l>)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(next) = text[from..].find(['e', 'E']) {
        from += next;
        match at(text, from, library) {
            Some(call) => {
                let length = call.length;
                found.push((from, call));
                from += length;
            }
            None => from += 1,
        }
    }
    found
}
