//! What ComfyUI's page does to a prompt before anything reads it: comments go, and of `{a|b}` one option stays.
//!
//! The rules are in `embeddings.md` §2.1. ComfyUI rolls dice in the browser and forgets them; ours are the picture's seed, so
//! that a recipe gives its picture again. A1111's prompts do not go through here.

use std::borrow::Cow;

use super::choices::{Item, render};

/// The prompt without comments (`/* … */`, `//` to the end of the line), with one option of every `{a|b|c}`, and with `\{`,
/// `\}`, `\|` as the characters they protect.
///
/// Options may be empty and may hold choices themselves; a `{` that is never closed is closed by the end of the text. Which
/// option stays depends on the seed and on how many `{` stand before this one, and on nothing else: another wording of one
/// choice leaves the others alone. It is option `⌊z·n / 2⁶⁴⌋` of `n`, with `z` the number that SplitMix64 (Steele and others,
/// 2014) started at `seed` gives after that many draws.
pub fn expand(text: &str, seed: u64) -> String {
    let text = without_comments(text);
    let (items, options) = read(&text);
    unescape(&render(&items, |choice| Some(draw(seed, choice, options[choice]))))
}

fn draw(seed: u64, choice: usize, options: usize) -> usize {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = seed.wrapping_add(STEP.wrapping_mul(choice as u64 + 1));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * options as u128) >> 64) as usize
}

/// The text's pieces, and for each choice in it how many options it has.
fn read(text: &str) -> (Vec<Item<'_>>, Vec<usize>) {
    let (mut items, mut options, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        let item = match byte {
            b'\\' => {
                escaped = true;
                continue;
            }
            b'{' => {
                open.push(options.len());
                options.push(1);
                Item::Open(options.len() - 1)
            }
            b'|' | b'}' => match open.last() {
                Some(choice) if byte == b'|' => {
                    options[*choice] += 1;
                    Item::Next
                }
                Some(_) => {
                    open.pop();
                    Item::Close
                }
                // Outside of a choice they are text.
                None => continue,
            },
            _ => continue,
        };
        items.extend([Item::Text(&text[start..at]), item]);
        start = at + 1;
    }
    items.push(Item::Text(&text[start..]));
    (items, options)
}

fn without_comments(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    let mut search = 0;
    while let Some(at) = rest[search..].find('/').map(|at| search + at) {
        let comment = &rest[at..];
        let length = match comment.as_bytes().get(1) {
            Some(b'/') => comment.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(comment.len()),
            // One that is never closed is text; and then so are all that follow.
            Some(b'*') => match comment[2..].find("*/") {
                Some(end) => end + 4,
                None => return keep_unclosed(kept + &rest[..at + 1], &rest[at + 1..]),
            },
            _ => {
                search = at + 1;
                continue;
            }
        };
        kept.push_str(&rest[..at]);
        (rest, search) = (&rest[at + length..], 0);
    }
    if kept.is_empty() && rest.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(kept + rest) }
}

/// The rest of a text in which no `*/` follows: only `//` begins a comment there.
fn keep_unclosed(mut kept: String, rest: &str) -> Cow<'static, str> {
    for line in rest.split_inclusive(['\n', '\r', '\u{2028}', '\u{2029}']) {
        match line.find("//") {
            Some(at) => {
                kept.push_str(&line[..at]);
                kept.extend(
                    line.chars().next_back().filter(|end| matches!(end, '\n' | '\r' | '\u{2028}' | '\u{2029}')),
                );
            }
            None => kept.push_str(line),
        }
    }
    Cow::Owned(kept)
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.next_if(|next| character == '\\' && matches!(next, '{' | '}' | '|')) {
            Some(protected) => plain.push(protected),
            None => plain.push(character),
        }
    }
    plain
}
