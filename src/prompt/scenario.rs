//! What a prompt means at which step: A1111's `AND`, schedules and alternations; ComfyUI's prompts mean one thing throughout.

use std::collections::HashMap;
use std::rc::Rc;

use super::schedule::{self, MOST_BYTES, Pass};
use super::triggers::Triggers;
use super::{Library, Parsed, Reader, Syntax, Tokenizer, Warning, calls, short};

/// Each part is another run of the network at every step.
const MOST_PARTS: usize = 32;

/// How a prompt is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The grammar.
    pub syntax: Syntax,
    /// Denoising steps, which fractions in schedules are fractions of.
    pub steps: usize,
    /// Steps of the pass before, if this is a second one over the same picture: A1111's schedules go on counting.
    pub steps_before: usize,
    /// Never cut an embedding of at most 75 vectors where a window ends. A1111 never does; ComfyUI does if it has eight
    /// vectors or more, so with this a prompt may mean something else than there.
    pub keep_whole: bool,
    /// It is a negative prompt: in A1111 `AND` and a weight at the end are text there.
    pub negative: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { syntax: Syntax::Comfy, steps: 20, steps_before: 0, keep_whole: false, negative: false }
    }
}

/// A prompt, read for all steps.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// At least one; more only for A1111's `AND`. With `D` the denoised picture, the parts make
    /// `D = Du + Σ weight·cfg·(D of the part − Du)`.
    pub parts: Vec<Part>,
    /// Those of all parts and steps, none twice, at most 100.
    pub warnings: Vec<Warning>,
    /// The names of the embeddings that any step uses, in order, none twice.
    pub used: Vec<String>,
}

/// One of the prompts that `AND` joins.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its weight, at most [`MAX_WEIGHT`](super::MAX_WEIGHT) either way; 1 if none is given.
    pub weight: f32,
    /// At least one, by rising steps; the last one ends with the last step. Neighbours have different texts.
    pub spans: Vec<Span>,
}

/// What a part means for some steps.
#[derive(Debug, Clone)]
pub struct Span {
    /// The last step it is for; the first step is 1.
    pub until: usize,
    /// What the schedule leaves to be read.
    pub text: String,
    /// That, read. Spans of equal texts share it: `Rc::ptr_eq` tells what need not be encoded again.
    pub parsed: Rc<Parsed>,
}

impl Scenario {
    /// The last steps of everything that changes, rising; the last one is the last step of all.
    pub fn ends(&self) -> Vec<usize> {
        let mut ends: Vec<usize> =
            self.parts.iter().flat_map(|part| part.spans.iter().map(|span| span.until)).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// Weight and prompt of each part at a step, counted from 1; after the last step as at the last.
    pub fn at(&self, step: usize) -> impl Iterator<Item = (f32, &Rc<Parsed>)> {
        self.parts.iter().filter_map(move |part| Some((part.weight, &part.at(step)?.parsed)))
    }
}

impl Part {
    /// What counts at a step.
    fn at(&self, step: usize) -> Option<&Span> {
        self.spans.iter().find(|span| step <= span.until).or(self.spans.last())
    }
}

/// Reads a prompt for all steps: never fails and never panics, see [`Scenario::warnings`].
///
/// The text is what [`expand`](super::expand) gives for ComfyUI's grammar, and the prompt as it stands for A1111's.
pub fn scenario(text: &str, options: &Options, tokenizer: &Tokenizer, library: &Library) -> Scenario {
    let reader = Reader { tokenizer, library, keep_whole: options.keep_whole };
    let mut report = Parsed::default();
    let parts = match options.syntax {
        Syntax::Comfy => {
            let parsed = Rc::new(reader.comfy(text));
            let span = Span { until: options.steps.max(1), text: text.to_owned(), parsed };
            vec![Part { weight: 1.0, spans: vec![span] }]
        }
        Syntax::A1111 if options.negative => {
            Parts::new(reader, options).read([(text.to_owned(), 1.0)].into(), &mut report)
        }
        Syntax::A1111 => {
            let texts = split(text, library, &mut report);
            Parts::new(reader, options).read(texts, &mut report)
        }
    };
    for parsed in parts.iter().flat_map(|part| part.spans.iter().map(|span| &span.parsed)) {
        parsed.warnings.iter().for_each(|warning| report.warn_again(warning));
        parsed.used.iter().for_each(|name| report.use_name(name));
    }
    Scenario { parts, warnings: report.warnings, used: report.used }
}

/// Reads the parts of a prompt in A1111's grammar, each text once.
struct Parts<'a> {
    reader: Reader<'a>,
    pass: Pass,
    triggers: Triggers<'a>,
    read: HashMap<String, Rc<Parsed>>,
}

impl<'a> Parts<'a> {
    fn new(reader: Reader<'a>, options: &Options) -> Self {
        let pass = Pass { steps: options.steps, before: options.steps_before };
        Self { reader, pass, triggers: Triggers::of(reader), read: HashMap::new() }
    }

    fn read(mut self, texts: Vec<(String, f32)>, report: &mut Parsed) -> Vec<Part> {
        let mut budget = MOST_BYTES;
        let parts = texts.into_iter().map(|(text, weight)| {
            let texts = schedule::within(budget, &text, self.pass, self.reader.library).unwrap_or_else(|| {
                let message = "The prompt is too long to change so often; its brackets are read as text.".to_owned();
                report.warn("SCHEDULE_TOO_LONG", &short(&text), message);
                vec![(self.pass.steps.max(1), text.clone())]
            });
            budget = budget.saturating_sub(texts.iter().skip(1).map(|(_, text)| text.len()).sum());
            let spans =
                texts.into_iter().map(|(until, text)| Span { until, parsed: self.parsed(&text), text }).collect();
            Part { weight, spans }
        });
        parts.collect()
    }

    fn parsed(&mut self, text: &str) -> Rc<Parsed> {
        if let Some(parsed) = self.read.get(text) {
            return parsed.clone();
        }
        let parsed = Rc::new(self.reader.a1111(text, &self.triggers));
        self.read.insert(text.to_owned(), parsed.clone());
        parsed
    }
}

/// Splits a prompt at the word `AND`; each part, also a lone one, may end in `:weight`.
fn split(text: &str, library: &Library, report: &mut Parsed) -> Vec<(String, f32)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = find_and(rest) {
        parts.push(&rest[..at]);
        rest = &rest[at + "AND".len()..];
    }
    parts.push(rest);
    if parts.len() > MOST_PARTS {
        let message = format!("{} prompts are joined by AND; the first {MOST_PARTS} are used.", parts.len());
        report.warn("TOO_MANY_PARTS", "AND", message);
        parts.truncate(MOST_PARTS);
    }
    let lone = parts.len() == 1;
    let weighted = parts.into_iter().map(|part| match own_weight(part, library) {
        Some((before, weight)) => {
            if lone {
                let message = format!(
                    "In A1111's grammar the number at the end is the weight of the whole prompt: {}. Put a comma behind it if it is text.",
                    short(&weight.to_string())
                );
                report.warn("PROMPT_WEIGHT", part, message);
            }
            (before.to_owned(), report.clamp(weight, part))
        }
        None => (part.to_owned(), 1.0),
    });
    weighted.collect()
}

/// Where the word `AND` stands.
fn find_and(text: &str) -> Option<usize> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let whole = |at: usize| !text[..at].ends_with(is_word) && !text[at + "AND".len()..].starts_with(is_word);
    text.match_indices("AND").map(|(at, _)| at).find(|at| whole(*at))
}

/// The text before `: number` at the end, and the number. The colon of a known `embedding:911` is none.
fn own_weight<'t>(text: &'t str, library: &Library) -> Option<(&'t str, f64)> {
    let text = text.trim_end();
    let colon = text.rfind(':')?;
    let number = text[colon + 1..].trim_start();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    // Only digits and a point: Rust would also read `1e1` and `inf`.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let weight: f64 = plain.then(|| number.parse().ok()).flatten()?;
    let within_a_call = |(start, call): &(usize, calls::Call)| (*start..start + call.length).contains(&colon);
    let called = calls::all(text, library).iter().any(within_a_call);
    (!called).then(|| (text[..colon].trim_end(), weight))
}
