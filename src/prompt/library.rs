//! The embeddings at hand, by name.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use unicode_normalization_alignments::UnicodeNormalization;

use crate::files::textual_inversion::Embedding;

use super::{Tokenizer, Warning, distance::distance, short};

/// File name endings that may be typed after a name, in the order ComfyUI tries them.
const EXTENSIONS: [&str; 3] = [".safetensors", ".pt", ".bin"];

/// Names longer than this get no suggestion: comparing them costs their length squared.
const LONGEST_COMPARED: usize = 64;

/// Folders deeper than this are only found by the whole name.
const MOST_FOLDERS: usize = 16;

/// Embeddings in the order they were added, each under its own name.
///
/// Names are in Unicode's composed form (NFC), with their folders: `sub/foo`. Two names that differ only in case, or two of
/// the same file name in different folders, are two embeddings: both stay, and [`insert`](Self::insert) says which one a
/// prompt gets. Finding a name costs the same among ten and among thousands.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// By the order they were added in.
    entries: BTreeMap<u64, Entry>,
    exact: HashMap<String, u64>,
    /// By name in lower case, with all of its folders, some or none; each list in the order of adding.
    folded: HashMap<String, Vec<u64>>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    /// With its folders: `sub/foo`.
    name: String,
    /// The name in lower case.
    folded: String,
    embedding: Rc<Embedding>,
    /// The tokens of the name without folders, once somebody asked.
    ids: OnceCell<Vec<u32>>,
}

/// What became of an embedding that was added.
#[derive(Debug, Clone, Default)]
pub struct Added {
    /// The name it is kept under.
    pub name: String,
    /// The same was there already, and nothing changed.
    pub unchanged: bool,
    /// The other one that was there under this very name.
    pub replaced: Option<Rc<Embedding>>,
    /// Names, of others, that prompts may mean as well: of other case, or in another folder. Exactly typed, each is found;
    /// otherwise the one that was added first. At most ten.
    pub also: Vec<String>,
    /// A sentence for the user if one was replaced (`EMBEDDING_REPLACED`) or there are others (`EMBEDDING_AMBIGUOUS`).
    pub notice: Option<Warning>,
}

impl Library {
    /// No embeddings yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an embedding under its name (folders with `/` or `\`, a file ending is ignored).
    ///
    /// The same file again (by its hash; without one, by its values) changes nothing. Another one under the very same name
    /// takes the place of the first, as a file that is saved over another, and the first is handed back.
    pub fn insert(&mut self, embedding: Embedding) -> Added {
        let name = tidy(&embedding.name);
        let name = without_extension(&name).unwrap_or(&name).to_owned();
        let mut added = Added { also: self.also(&name), ..Added::default() };
        match self.exact.get(&name).and_then(|order| self.entries.get_mut(order)) {
            Some(entry) if is_same(&entry.embedding, &embedding) => added.unchanged = true,
            Some(entry) => added.replaced = Some(std::mem::replace(&mut entry.embedding, Rc::new(embedding))),
            None => self.push(&name, embedding),
        }
        added.notice = if added.unchanged { None } else { notice(&name, &added) };
        added.name = name;
        added
    }

    fn push(&mut self, name: &str, embedding: Embedding) {
        let folded = name.to_lowercase();
        for ending in endings(&folded) {
            self.folded.entry(ending.to_owned()).or_default().push(self.next);
        }
        self.exact.insert(name.to_owned(), self.next);
        let entry = Entry { name: name.to_owned(), folded, embedding: Rc::new(embedding), ids: OnceCell::new() };
        self.entries.insert(self.next, entry);
        self.next += 1;
    }

    /// Others that share the file name of this one, whatever the folder and case.
    fn also(&self, name: &str) -> Vec<String> {
        let folded = stem(name).to_lowercase();
        let others = self.candidates(&folded).filter(|(_, entry)| entry.name != name);
        others.map(|(_, entry)| entry.name.clone()).take(10).collect()
    }

    /// Takes an embedding out; the name as [`get`](Self::get) reads it.
    pub fn remove(&mut self, name: &str) -> Option<Rc<Embedding>> {
        let order = self.find(name)?;
        let entry = self.entries.remove(&order)?;
        self.exact.remove(&entry.name);
        for ending in endings(&entry.folded) {
            if let Some(orders) = self.folded.get_mut(ending) {
                orders.retain(|other| *other != order);
                if orders.is_empty() {
                    self.folded.remove(ending);
                }
            }
        }
        Some(entry.embedding)
    }

    /// Looks a name up as a prompt writes it.
    ///
    /// The exact name comes first, then the name inside any folder (`foo` finds `sub/foo`), then both without regard to
    /// case; then all of that again without `.safetensors`, `.pt` or `.bin` at the end.
    pub fn get(&self, name: &str) -> Option<(&str, &Rc<Embedding>)> {
        let entry = self.entries.get(&self.find(name)?)?;
        Some((&entry.name, &entry.embedding))
    }

    /// Names and embeddings in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rc<Embedding>)> {
        self.entries.values().map(|entry| (entry.name.as_str(), &entry.embedding))
    }

    /// Names, the tokens of the names without their folders, and embeddings. The tokens are made once.
    pub(super) fn with_ids(&self, tokenizer: &Tokenizer) -> impl Iterator<Item = (&str, &[u32], &Rc<Embedding>)> {
        self.entries.values().map(|entry| {
            let ids = entry.ids.get_or_init(|| tokenizer.encode(stem(&entry.name)));
            (entry.name.as_str(), ids.as_slice(), &entry.embedding)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The known name that somebody who typed `name` most likely meant, if one is near enough: a third of its letters may
    /// differ, and one that goes on where the other ends is near.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let name = tidy(name).to_lowercase();
        let name: Vec<char> = without_extension(&name).unwrap_or(&name).chars().collect();
        if name.is_empty() || name.len() > LONGEST_COMPARED {
            return None;
        }
        let allowed = (name.len() / 3).max(1);
        let distance = |entry: &Entry| {
            let stem = stem(&entry.folded);
            [entry.folded.as_str(), stem].into_iter().map(|known| distance(&name, known)).min().unwrap_or(usize::MAX)
        };
        let near = self.entries.values().map(|entry| (distance(entry), entry));
        let (_, entry) = near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance)?;
        Some(&entry.name)
    }

    fn find(&self, name: &str) -> Option<u64> {
        let name = tidy(name);
        let shorter = without_extension(&name);
        [Some(name.as_str()), shorter].into_iter().flatten().find_map(|name| self.find_exactly(name))
    }

    fn find_exactly(&self, name: &str) -> Option<u64> {
        if name.is_empty() {
            return None;
        }
        if let Some(order) = self.exact.get(name) {
            return Some(*order);
        }
        let folded = name.to_lowercase();
        let better = |entry: &Entry| (is_in_a_folder(&entry.name, name), entry.folded == folded);
        let (order, _) = self.candidates(&folded).max_by_key(|(order, entry)| (better(entry), Reverse(*order)))?;
        Some(order)
    }

    /// The embeddings of this name in lower case, in whatever folder: all that a look-up compares.
    fn candidates(&self, folded: &str) -> impl Iterator<Item = (u64, &Entry)> {
        let orders = self.folded.get(folded).into_iter().flatten();
        orders.filter_map(|order| self.entries.get(order).map(|entry| (*order, entry)))
    }
}

/// The same file, or if that is not known the same numbers.
fn is_same(one: &Embedding, other: &Embedding) -> bool {
    let hashed = !one.sha256.is_empty() || !other.sha256.is_empty();
    let same_shape = one.vectors == other.vectors && one.width == other.width;
    same_shape && if hashed { one.sha256 == other.sha256 && one.key == other.key } else { one.values == other.values }
}

fn notice(name: &str, added: &Added) -> Option<Warning> {
    let (code, message) = if added.replaced.is_some() {
        (
            "EMBEDDING_REPLACED",
            format!("Another embedding \u{201c}{}\u{201d} was there; the new one replaces it.", short(name)),
        )
    } else {
        let other = short(added.also.first()?);
        let message = format!(
            "There is also an embedding \u{201c}{other}\u{201d}; both are kept. Prompts get \u{201c}{}\u{201d} if they write its name exactly so.",
            short(name)
        );
        ("EMBEDDING_AMBIGUOUS", message)
    };
    Some(Warning { code, message, about: name.to_owned() })
}

/// A name with all of its folders, with one less, …, with none.
fn endings(name: &str) -> impl Iterator<Item = &str> {
    let inner = name.rmatch_indices('/').take(MOST_FOLDERS).map(|(slash, _)| &name[slash + 1..]);
    std::iter::once(name).chain(inner)
}

/// The last part of a name with folders.
pub(super) fn stem(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Composed (NFC), folders with `/`, as typed on Windows too, and none that says nothing.
fn tidy(name: &str) -> String {
    let composed = |name: &str| name.nfc().map(|(letter, _)| letter).collect::<String>();
    let name = if name.is_ascii() { name.to_owned() } else { composed(name) };
    let name = name.trim().replace('\\', "/");
    name.trim_start_matches("./").trim_matches('/').to_owned()
}

fn without_extension(name: &str) -> Option<&str> {
    EXTENSIONS.iter().find_map(|extension| {
        let stem = name.len().checked_sub(extension.len()).filter(|stem| *stem > 0 && name.is_char_boundary(*stem))?;
        name[stem..].eq_ignore_ascii_case(extension).then_some(&name[..stem])
    })
}

fn is_in_a_folder(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|folder| folder.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::DType;

    fn embedding(name: &str) -> Embedding {
        Embedding {
            name: name.into(),
            key: "*".into(),
            vectors: 1,
            width: 1,
            values: vec![0.0],
            dtype: DType::F32,
            layout: "test",
            sha256: String::new(),
            warnings: Vec::new(),
        }
    }

    /// Looking up compares few names, however many there are.
    #[test]
    fn thousands_of_embeddings() {
        let mut library = Library::new();
        for number in 0..5000 {
            let added = library.insert(embedding(&format!("folder{}/Name {number}", number % 7)));
            assert!(added.also.is_empty() && added.notice.is_none());
        }
        for number in 0..5000 {
            let typed = format!("name {number}.PT");
            assert_eq!(library.get(&typed).map(|(name, _)| stem(name)), Some(format!("Name {number}").as_str()));
            assert_eq!(library.candidates(&typed.to_lowercase()).count(), 0);
            assert_eq!(library.candidates(&format!("name {number}")).count(), 1);
        }
        for number in (0..5000).step_by(2) {
            assert!(library.remove(&format!("folder{}/Name {number}", number % 7)).is_some());
        }
        assert_eq!((library.len(), library.exact.len(), library.folded.len()), (2500, 2500, 5000));
        let first = library.iter().next().map(|(name, _)| name.to_owned());
        assert_eq!(first.as_deref(), Some("folder1/Name 1"));
    }
}
