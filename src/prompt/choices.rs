//! Texts with places where one of several options stands: ComfyUI's `{a|b}` and A1111's `[a|b]` and `[a:b:0.5]`.
//!
//! A text is a flat list, not a tree, so however deep a hostile text nests, nothing here calls itself.

/// A piece of such a text, in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item<'a> {
    /// Stands as it is.
    Text(&'a str),
    /// The place of this number begins, with its first option.
    Open(usize),
    /// The next option of the innermost open place.
    Next,
    /// The innermost open place ends.
    Close,
}

/// The text where place `n` holds its option `pick(n)`, counted from 0; no option at all for `None`.
pub(super) fn render(items: &[Item], mut pick: impl FnMut(usize) -> Option<usize>) -> String {
    let mut out = String::new();
    let mut open: Vec<Place> = Vec::new();
    // How many of the open places are at an option that was not picked.
    let mut hidden = 0;
    for item in items {
        match item {
            Item::Text(text) if hidden == 0 => out.push_str(text),
            Item::Text(_) => {}
            Item::Open(number) => {
                let place = Place { picked: pick(*number), at: 0 };
                hidden += place.hides();
                open.push(place);
            }
            Item::Next => {
                if let Some(place) = open.last_mut() {
                    hidden -= place.hides();
                    place.at += 1;
                    hidden += place.hides();
                }
            }
            Item::Close => hidden -= open.pop().map_or(0, |place| place.hides()),
        }
    }
    out
}

struct Place {
    picked: Option<usize>,
    at: usize,
}

impl Place {
    fn hides(&self) -> usize {
        usize::from(self.picked != Some(self.at))
    }
}
