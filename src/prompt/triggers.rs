//! Bare words that call an embedding, as A1111 has them: the name, as tokens, anywhere in the prompt.

use std::collections::HashMap;
use std::rc::Rc;

use crate::files::textual_inversion::Embedding;

use super::Reader;

/// A name by which an embedding is called.
pub(super) struct Trigger<'a> {
    pub name: &'a str,
    /// The name's tokens. CLIP lower-cases, so case does not matter.
    pub ids: &'a [u32],
    pub embedding: &'a Rc<Embedding>,
}

/// All names of a library, by their first token, longest first.
pub(super) struct Triggers<'a> {
    by_first: HashMap<u32, Vec<Trigger<'a>>>,
}

impl<'a> Triggers<'a> {
    pub fn of(reader: Reader<'a>) -> Self {
        let mut by_first: HashMap<u32, Vec<Trigger>> = HashMap::new();
        // A1111 knows files by their stem, whatever folder they are in.
        for (name, ids, embedding) in reader.library.with_ids(reader.tokenizer) {
            if let Some(first) = ids.first() {
                by_first.entry(*first).or_default().push(Trigger { name, ids, embedding });
            }
        }
        by_first.values_mut().for_each(|triggers| triggers.sort_by_key(|trigger| std::cmp::Reverse(trigger.ids.len())));
        Self { by_first }
    }

    /// The longest name that these tokens begin with.
    pub fn at(&self, ids: &[u32]) -> Option<&Trigger<'a>> {
        self.by_first.get(ids.first()?)?.iter().find(|trigger| ids.starts_with(trigger.ids))
    }
}
