//! A1111's prompts that change while the picture is made: `[from:to:when]`, `[to:when]`, `[from::when]`, `[a|b]`.
//!
//! The rules are in `embeddings.md` §3.2. In A1111 this is a grammar for a general parser (Earley's); the same language is
//! read here in one pass, with a stack instead of recursion:
//!
//! - `(p)`, `(p:p)` and `[p]` are emphasis and stay in the text, for `a1111.rs` to read later;
//! - `[p:p:when]`, `[p:when]` change at a step, `[p|p|…]` with every step; any `p` may be empty and hold all of this;
//! - a bracket or colon that fits nowhere is text, and so are the brackets around it, which then fit nowhere either;
//! - a `|` outside of `[a|b]` and a backslash with nothing behind it are in no place of the grammar: the whole prompt is then
//!   text as it stands.
//!
//! In a second pass over the same picture ("hires fix") the steps go on counting: a step is counted from the first pass's first
//! one, and a fraction of 1 to 2 is one of the second pass's.
//!
//! Against an Earley parser for the same grammar, thousands of random texts give the same schedules, but for one kind: where a
//! text has signs that fit nowhere, the general parser sometimes takes a run of several signs (`…]((…`, `]::`) as one piece
//! of text, and with it the bracket before. Here what can be read as a schedule is one.

use super::calls;
use super::choices::{Item, render};
use super::library::Library;

/// The texts of all steps together may have so many bytes; a prompt that would need more is text as it stands.
pub(super) const MOST_BYTES: usize = 2 << 20;

/// What A1111 makes of a prompt for this many steps: texts, each with the last step (counted from 1) that it is for.
///
/// Neighbours are never the same text, and the last entry always ends at `steps` (at 1 for no steps). `when` with a point
/// (`0.5`, `1.`) is a fraction of the steps, without one (`10`, `1e1`) a step; both are cut to whole steps, and to `steps`.
///
/// The name in `embedding:NAME` is never cut by a colon or bracket if the library has it: `[embedding:foo:0.25]` adds the
/// embedding after a quarter. For names that are unknown, and with an empty library, it is A1111's reading: from `embedding` to `foo`.
pub fn schedule(text: &str, steps: usize, library: &Library) -> Vec<(usize, String)> {
    let pass = Pass { steps, before: 0 };
    within(MOST_BYTES, text, pass, library).unwrap_or_else(|| vec![(steps.max(1), text.to_owned())])
}

/// The steps a prompt is read for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub steps: usize,
    /// Those of the pass before, if this is a second one.
    pub before: usize,
}

/// The schedule, if it may need no more than so many bytes.
pub(super) fn within(most: usize, text: &str, pass: Pass, library: &Library) -> Option<Vec<(usize, String)>> {
    let steps = pass.steps.max(1);
    let Some(changing) = Changing::read(text, Pass { steps, ..pass }, library) else {
        return Some(vec![(steps, text.to_owned())]);
    };
    let ends = changing.ends(steps);
    if ends.len() > 1 && ends.len().saturating_mul(text.len()) > most {
        return None;
    }
    let mut texts: Vec<(usize, String)> = Vec::new();
    for end in ends {
        let text = render(&changing.items, |place| changing.places[place].at(end));
        match texts.last_mut() {
            Some((until, same)) if *same == text => *until = end,
            _ => texts.push((end, text)),
        }
    }
    Some(texts)
}

/// A text with places that depend on the step.
struct Changing<'a> {
    items: Vec<Item<'a>>,
    places: Vec<Place>,
}

enum Place {
    /// `[a|b]` with this many options.
    Alternate(usize),
    /// `[from:to:when]`, or `[to:when]`; `when` is the last step of the old text.
    Switch { when: usize, has_from: bool },
}

impl Place {
    /// Which option stands here at a step.
    fn at(&self, step: usize) -> Option<usize> {
        match *self {
            Place::Alternate(options) => Some((step - 1) % options),
            Place::Switch { when, has_from } if step <= when => has_from.then_some(0),
            Place::Switch { has_from, .. } => Some(usize::from(has_from)),
        }
    }
}

/// A bracket that is not closed yet.
struct Open {
    square: bool,
    /// Where in the items it stands, and where its colons or bars do.
    item: usize,
    separators: Vec<usize>,
    /// The separators are bars.
    bars: bool,
    /// Where in the text the last part begins.
    last: usize,
}

impl<'a> Changing<'a> {
    /// None if the text is not in A1111's grammar.
    fn read(text: &'a str, pass: Pass, library: &Library) -> Option<Self> {
        let mut reading =
            Reading { text, pass, open: Vec::new(), changing: Changing { items: Vec::new(), places: Vec::new() } };
        let (mut start, mut at) = (0, 0);
        while let Some(byte) = text.as_bytes().get(at) {
            at += match byte {
                b'\\' => 1 + text[at + 1..].chars().next().filter(|protected| *protected != '\n')?.len_utf8(),
                b'[' | b']' | b'(' | b')' | b':' | b'|' => {
                    reading.text(start, at);
                    reading.sign(at, *byte)?;
                    start = at + 1;
                    1
                }
                b'e' | b'E' => calls::at(text, at, library).map_or(1, |call| call.length),
                _ => 1,
            };
        }
        reading.text(start, text.len());
        let bars = reading.open.iter().any(|open| open.bars);
        (!bars).then_some(reading.changing)
    }

    /// The steps after which the text may change, and the last one.
    fn ends(&self, steps: usize) -> Vec<usize> {
        if self.places.iter().any(|place| matches!(place, Place::Alternate(_))) {
            return (1..=steps).collect();
        }
        let mut ends: Vec<usize> = vec![steps];
        for place in &self.places {
            if let Place::Switch { when: when @ 1.., .. } = place {
                ends.push(*when);
            }
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }
}

struct Reading<'a> {
    text: &'a str,
    pass: Pass,
    open: Vec<Open>,
    changing: Changing<'a>,
}

impl Reading<'_> {
    fn text(&mut self, start: usize, end: usize) {
        if start < end {
            self.changing.items.push(Item::Text(&self.text[start..end]));
        }
    }

    /// Reads the bracket, colon or bar at `at`; none if it is nowhere in the grammar.
    fn sign(&mut self, at: usize, byte: u8) -> Option<()> {
        let item = self.changing.items.len();
        self.text(at, at + 1);
        match byte {
            b'[' | b'(' => {
                self.open.push(Open { square: byte == b'[', item, separators: Vec::new(), bars: false, last: at + 1 });
            }
            b':' => match self.open.last_mut() {
                Some(open) if open.bars => return None,
                Some(open) => {
                    open.separators.push(item);
                    open.last = at + 1;
                }
                None => {}
            },
            b'|' => {
                let open =
                    self.open.last_mut().filter(|open| open.square && (open.bars || open.separators.is_empty()))?;
                open.bars = true;
                open.separators.push(item);
            }
            _ => self.close(at, byte == b']')?,
        }
        Some(())
    }

    /// Reads the closing bracket at `at`.
    fn close(&mut self, at: usize, square: bool) -> Option<()> {
        let Some(open) = self.open.pop() else { return Some(()) };
        let separators = open.separators.len();
        match (open.square, square) {
            (true, true) if open.bars => self.place(&open, Place::Alternate(separators + 1)),
            (true, true) if separators == 0 => {}
            (false, false) if separators <= 1 => {}
            (true, true) if separators <= 2 => match when(&self.text[open.last..at], self.pass) {
                Some(when) => self.place(&open, Place::Switch { when, has_from: separators == 2 }),
                None => self.give_up(&open)?,
            },
            _ => self.give_up(&open)?,
        }
        Some(())
    }

    /// The signs of a bracket that was text so far become a place.
    fn place(&mut self, open: &Open, place: Place) {
        let items = &mut self.changing.items;
        items[open.item] = Item::Open(self.changing.places.len());
        open.separators.iter().for_each(|separator| items[*separator] = Item::Next);
        if let Some(last) = items.last_mut() {
            *last = Item::Close;
        }
        self.changing.places.push(place);
    }

    /// This bracket is text, and so is each around it. None if one of them has bars, which cannot be text.
    fn give_up(&mut self, open: &Open) -> Option<()> {
        let bars = open.bars || self.open.iter().any(|open| open.bars);
        self.open.clear();
        (!bars).then_some(())
    }
}

/// The last step of the old text, from what stands between the last colon and the bracket.
fn when(text: &str, Pass { steps, before }: Pass) -> Option<usize> {
    let number = text.trim();
    // Only these: Rust would also read `inf` and `nan`.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f64 = plain.then(|| number.parse().ok()).flatten()?;
    let passes = if before > 0 { 1.0 } else { 0.0 };
    let step = if number.contains('.') { (value - passes) * steps as f64 } else { value - before as f64 };
    // Cut towards zero, and what is below zero is zero, by the rules of `as`.
    Some((step as usize).min(steps))
}
