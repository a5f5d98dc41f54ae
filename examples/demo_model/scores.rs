//! What was asked for (`prompts.json`), which pictures that makes, and how many of them are right.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::attributes::{Reading, apart};

/// The file that `prompts.py` writes.
#[derive(Debug, Deserialize)]
pub struct Prompts {
    /// What calls the negative embedding.
    pub negative: String,
    pub attributes: Vec<Prompt>,
    /// Prompts that say little.
    pub short: Vec<Prompt>,
    pub concepts: Vec<Concept>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Prompt {
    pub prompt: String,
    /// The same sentence without the concept's embedding.
    #[serde(default)]
    pub without: String,
    pub seed: u64,
    pub asks: Asks,
}

/// What an embedding stands for, and sentences to call it in.
#[derive(Debug, Clone, Deserialize)]
pub struct Concept {
    pub name: String,
    /// In degrees.
    pub hue: f32,
    pub means: Asks,
    pub prompts: Vec<Prompt>,
}

/// What a picture must show; what is not there is left open.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asks {
    pub shape: Option<String>,
    pub colour: Option<String>,
    pub style: Option<String>,
    pub background: Option<String>,
    pub count: Option<usize>,
    pub size: Option<String>,
    pub position: Option<String>,
}

impl Asks {
    /// Each attribute that is asked for, and whether the picture has it.
    pub fn judge(&self, reading: &Reading) -> Vec<(&'static str, bool)> {
        let words = [
            ("shape", &self.shape, reading.shape),
            ("colour", &self.colour, reading.colour),
            ("style", &self.style, reading.style),
            ("background", &self.background, reading.background),
            ("size", &self.size, reading.size),
            ("position", &self.position, reading.position),
        ];
        let word = words.into_iter().filter_map(|(name, asked, read)| Some((name, asked.as_deref()? == read)));
        word.chain(self.count.map(|count| ("count", count == reading.count))).collect()
    }
}

/// A concept is there if the hue is at most so far off and style and shape are right.
const CONCEPT_HUE_ERROR: f32 = 14.0;

impl Concept {
    pub fn present(&self, reading: &Reading) -> bool {
        let same = |asked: &Option<String>, read: &str| asked.as_ref().is_none_or(|asked| asked == read);
        apart(reading.hue, self.hue) <= CONCEPT_HUE_ERROR
            && same(&self.means.style, reading.style)
            && same(&self.means.shape, reading.shape)
    }
}

/// The sets of pictures: prompted attributes; the same with the negative embedding; short prompts, and those with the
/// negative embedding; concepts called by their embeddings, called without the embeddings being there, and sentences with
/// another word instead.
pub const SETS: [&str; 7] =
    ["attributes", "negative", "short", "short-negative", "concepts", "concepts-missing", "concepts-without"];

/// A picture to be made or read.
#[derive(Debug)]
pub struct Job<'a> {
    /// The PNG's name in its folder.
    pub file: String,
    pub prompt: String,
    pub seed: u64,
    pub asks: &'a Asks,
    pub concept: Option<&'a Concept>,
}

impl Prompts {
    /// The pictures of one of [`SETS`]; `with_diffusers.py` has the same list.
    pub fn jobs(&self, set: &str) -> Vec<Job<'_>> {
        let mut jobs = Vec::new();
        if set.starts_with("concepts") {
            for concept in &self.concepts {
                let call = format!("embedding:{}", concept.name);
                for (i, p) in concept.prompts.iter().enumerate() {
                    let file = format!("{set}-{}-{i:02}.png", concept.name);
                    let without = set == "concepts-without";
                    let prompt = if without { p.without.clone() } else { p.prompt.replace("{}", &call) };
                    jobs.push(Job { file, prompt, seed: p.seed, asks: &p.asks, concept: Some(concept) });
                }
            }
        } else {
            let prompts = if set.starts_with("short") { &self.short } else { &self.attributes };
            for (i, p) in prompts.iter().enumerate() {
                let file = format!("{set}-{i:03}.png");
                jobs.push(Job { file, prompt: p.prompt.clone(), seed: p.seed, asks: &p.asks, concept: None });
            }
        }
        jobs
    }
}

/// So many of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Share {
    pub right: usize,
    pub of: usize,
}

impl Share {
    pub fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.of += 1;
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.right as f64 / self.of.max(1) as f64;
        write!(f, "{percent:5.1} %  {} of {}", self.right, self.of)
    }
}

/// How a set of pictures did.
#[derive(Debug, Default, Serialize)]
pub struct Scores {
    pub set: String,
    pub pictures: usize,
    /// Pictures that are not in the folder.
    pub missing: usize,
    /// By attribute, of the pictures whose prompt asks for it.
    pub attributes: BTreeMap<&'static str, Share>,
    pub all_attributes: Share,
    /// Pictures that show everything their prompt asks for.
    pub all_right: Share,
    /// By concept: whether it is there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub concepts: BTreeMap<String, Share>,
    /// Over all concepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concept: Option<Share>,
    pub failures: Share,
    pub failures_by_kind: BTreeMap<&'static str, usize>,
}

impl Scores {
    /// Judges the pictures of a set; `read` gives the reading of a file, if it is there.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn of<E>(
        prompts: &Prompts,
        set: &str,
        mut read: impl FnMut(&str) -> Result<Option<Reading>, E>,
    ) -> Result<Self, E> {
        let mut scores = Self { set: set.to_string(), ..Self::default() };
        for job in prompts.jobs(set) {
            match read(&job.file)? {
                Some(reading) => scores.count(&job, &reading),
                None => scores.missing += 1,
            }
        }
        Ok(scores)
    }

    fn count(&mut self, job: &Job, reading: &Reading) {
        self.pictures += 1;
        let judged = job.asks.judge(reading);
        for (name, right) in &judged {
            self.attributes.entry(name).or_default().add(*right);
            self.all_attributes.add(*right);
        }
        self.all_right.add(judged.iter().all(|(_, right)| *right));
        if let Some(concept) = job.concept {
            let present = concept.present(reading);
            self.concepts.entry(concept.name.clone()).or_default().add(present);
            self.concept.get_or_insert_default().add(present);
        }
        self.failures.add(!reading.failure.is_empty());
        if !reading.failure.is_empty() {
            *self.failures_by_kind.entry(reading.failure).or_default() += 1;
        }
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = if self.missing > 0 { format!(", {} more are not there", self.missing) } else { String::new() };
        writeln!(f, "{}: {} pictures{missing}", self.set, self.pictures)?;
        for (name, share) in &self.attributes {
            writeln!(f, "  {name:22} {share}")?;
        }
        writeln!(f, "  {:22} {}", "all attributes", self.all_attributes)?;
        writeln!(f, "  {:22} {}", "pictures all right", self.all_right)?;
        for (name, share) in &self.concepts {
            writeln!(f, "  {name:22} {share}")?;
        }
        if let Some(share) = &self.concept {
            writeln!(f, "  {:22} {share}", "concept there")?;
        }
        let kinds: Vec<String> = self.failures_by_kind.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        writeln!(f, "  {:22} {}  {}", "failures", self.failures, kinds.join(", "))
    }
}
