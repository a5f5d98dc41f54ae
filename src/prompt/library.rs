//! The embeddings at hand, by name.

use std::rc::Rc;

use crate::files::textual_inversion::Embedding;

/// File name endings that may be typed after a name, in the order ComfyUI tries them.
const EXTENSIONS: [&str; 3] = [".safetensors", ".pt", ".bin"];

/// Names longer than this get no suggestion: comparing them costs their length squared.
const LONGEST_COMPARED: usize = 64;

/// Embeddings in the order they were added, each under its own name.
#[derive(Debug, Clone, Default)]
pub struct Library {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// With its folders: `sub/foo`.
    name: String,
    /// The name in lower case.
    folded: String,
    embedding: Rc<Embedding>,
}

impl Library {
    /// No embeddings yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an embedding under its name (folders with `/` or `\`, a file ending is ignored). One of the same name, case
    /// included, is replaced where it stands and handed back.
    pub fn insert(&mut self, embedding: Embedding) -> Option<Rc<Embedding>> {
        let name = tidy(&embedding.name);
        let name = without_extension(&name).unwrap_or(&name).to_owned();
        let embedding = Rc::new(embedding);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            return Some(std::mem::replace(&mut entry.embedding, embedding));
        }
        self.entries.push(Entry { folded: name.to_lowercase(), name, embedding });
        None
    }

    /// Takes an embedding out; the name as [`get`](Self::get) reads it.
    pub fn remove(&mut self, name: &str) -> Option<Rc<Embedding>> {
        let found = self.find(name)?;
        Some(self.entries.remove(found).embedding)
    }

    /// Looks a name up as a prompt writes it.
    ///
    /// The exact name comes first, then the name inside any folder (`foo` finds `sub/foo`), then both without regard to
    /// case; then all of that again without `.safetensors`, `.pt` or `.bin` at the end.
    pub fn get(&self, name: &str) -> Option<(&str, &Rc<Embedding>)> {
        let entry = &self.entries[self.find(name)?];
        Some((&entry.name, &entry.embedding))
    }

    /// Names and embeddings in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rc<Embedding>)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), &entry.embedding))
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
        let near = self.entries.iter().map(|entry| (distance(entry), entry));
        let (_, entry) = near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance)?;
        Some(&entry.name)
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = tidy(name);
        let shorter = without_extension(&name);
        [Some(name.as_str()), shorter].into_iter().flatten().find_map(|name| self.find_exactly(name))
    }

    fn find_exactly(&self, name: &str) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        let folded = name.to_lowercase();
        let position = |matches: &dyn Fn(&Entry) -> bool| self.entries.iter().position(matches);
        position(&|entry| entry.name == name)
            .or_else(|| position(&|entry| is_in_a_folder(&entry.name, name)))
            .or_else(|| position(&|entry| entry.folded == folded))
            .or_else(|| position(&|entry| is_in_a_folder(&entry.folded, &folded)))
    }
}

/// The last part of a name with folders.
pub(super) fn stem(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Folders with `/`, as typed on Windows too, and none that says nothing.
fn tidy(name: &str) -> String {
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

/// How many letters to change, add, drop or swap with their neighbour (optimal string alignment) to come from one to the
/// other; 1 if one is the beginning of the other and at least three letters long.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().take(LONGEST_COMPARED + 1).collect();
    let shorter = from.len().min(to.len());
    if shorter >= 3 && from[..shorter] == to[..shorter] {
        return usize::from(from.len() != to.len());
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(letter != other)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == to[j - 1] && from[i - 1] == *other {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}
