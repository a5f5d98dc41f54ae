//! Where in a prompt embeddings are called, for whoever edits it: the page takes calls out, weighs them and marks them.
//!
//! The readers of both grammars say what a call is; here it is only traced back to the text as it was typed.

use std::ops::Range;

use super::comfy;
use super::syntax::python_float;
use super::triggers::Triggers;
use super::{Library, Reader, Syntax, Tokenizer, calls};

/// A call of an embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The call, in bytes of the prompt: `embedding:NAME`, or in A1111's grammar the bare name.
    pub call: Range<usize>,
    /// The call with the brackets, and their weight, that hold nothing else: what goes when the call goes.
    pub group: Range<usize>,
    /// The name as written.
    pub name: String,
    /// The embedding's own name, if the library has it.
    pub known: Option<String>,
}

/// The calls in a prompt, in order. In A1111's grammar a name that is unknown is a word like any other, and no call.
pub fn sites(text: &str, syntax: Syntax, tokenizer: &Tokenizer, library: &Library) -> Vec<Site> {
    match syntax {
        Syntax::Comfy => comfy_sites(text, library),
        Syntax::A1111 => a1111_sites(text, Reader { tokenizer, library, keep_whole: false }),
    }
}

fn comfy_sites(text: &str, library: &Library) -> Vec<Site> {
    let mut sites = Vec::new();
    // Each option of `{a|b}` may begin with a call.
    for stretch in between(text, &['{', '|', '}']) {
        for comfy::Called { range, name, known } in comfy::calls(&text[stretch.clone()], library) {
            let call = stretch.start + range.start..stretch.start + range.end;
            sites.push(Site { group: group(text, call.clone(), Syntax::Comfy), call, name, known });
        }
    }
    sites
}

fn a1111_sites(text: &str, reader: Reader) -> Vec<Site> {
    let triggers = Triggers::of(reader);
    let mut found: Vec<(Range<usize>, &str)> = Vec::new();
    let mut at = 0;
    for (start, call) in calls::all(text, reader.library) {
        found.extend(bare_names(text, at..start, reader, &triggers));
        at = start + call.length;
        found.push((start..at, call.name));
    }
    found.extend(bare_names(text, at..text.len(), reader, &triggers));
    let site = |(call, known): (Range<usize>, &str)| Site {
        group: group(text, call.clone(), Syntax::A1111),
        name: text[call.clone()].to_owned(),
        call,
        known: Some(known.to_owned()),
    };
    found.into_iter().map(site).collect()
}

/// The bare names in a range of a text, where they stand and what they call.
fn bare_names<'a>(
    text: &str,
    range: Range<usize>,
    reader: Reader,
    triggers: &'a Triggers,
) -> Vec<(Range<usize>, &'a str)> {
    let stretches = between(&text[range.clone()], &['(', ')', '[', ']', ':', '|']);
    let names = |stretch: Range<usize>| {
        let start = range.start + stretch.start;
        let names = names_in(&text[start..range.start + stretch.end], reader, triggers).into_iter();
        names.map(move |(place, known)| (start + place.start..start + place.end, known))
    };
    stretches.into_iter().flat_map(names).collect()
}

/// The same in a text without brackets.
fn names_in<'a>(text: &str, reader: Reader, triggers: &'a Triggers) -> Vec<(Range<usize>, &'a str)> {
    // The tokenizer gets the text without its backslashes, as it does when the prompt is read.
    let kept: Vec<usize> = text.bytes().enumerate().filter(|(_, byte)| *byte != b'\\').map(|(at, _)| at).collect();
    let tokens = reader.tokenizer.encode_places(&text.replace('\\', ""));
    let ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < ids.len() {
        let Some(trigger) = triggers.at(&ids[at..]) else {
            at += 1;
            continue;
        };
        let (first, last) = (&tokens[at].1, &tokens[at + trigger.ids.len() - 1].1);
        if let (Some(start), Some(end)) = (kept.get(first.start), last.end.checked_sub(1).and_then(|end| kept.get(end)))
        {
            found.push((*start..end + 1, trigger.name));
        }
        at += trigger.ids.len();
    }
    found
}

/// The stretches of a text between some signs, where no backslash protects them.
fn between(text: &str, signs: &[char]) -> Vec<Range<usize>> {
    let mut stretches = Vec::new();
    let (mut start, mut protected) = (0, false);
    for (at, sign) in text.char_indices() {
        if !protected && signs.contains(&sign) {
            stretches.push(start..at);
            start = at + sign.len_utf8();
        }
        protected = !protected && sign == '\\';
    }
    stretches.push(start..text.len());
    stretches
}

/// The widest brackets that hold nothing but the call and a weight.
fn group(text: &str, call: Range<usize>, syntax: Syntax) -> Range<usize> {
    let mut group = call;
    while let Some(wider) = brackets_around(text, &group, syntax) {
        group = wider;
    }
    group
}

fn brackets_around(text: &str, inner: &Range<usize>, syntax: Syntax) -> Option<Range<usize>> {
    let before = text[..inner.start].trim_end();
    let after = text[inner.end..].trim_start();
    let from_end = |rest: &str| text.len() - rest.len();
    let round = before.strip_suffix('(');
    let square = before.strip_suffix('[').filter(|_| syntax == Syntax::A1111);
    let open = round.or(square).filter(|open| !open.ends_with('\\'))?;
    if square.is_some() {
        return after.strip_prefix(']').map(|rest| open.len()..from_end(rest));
    }
    let weightless = after.strip_prefix(')');
    let weighted = || {
        let (number, rest) = after.strip_prefix(':')?.split_once(')')?;
        python_float(number).map(|_| rest)
    };
    weightless.or_else(weighted).map(|rest| open.len()..from_end(rest))
}
