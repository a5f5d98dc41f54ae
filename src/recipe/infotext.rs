//! A1111's infotext, read.
//!
//! ```text
//! prompt, any number of lines
//! Negative prompt: any number of lines
//! Steps: 20, Sampler: Euler a, …, TI hashes: "name: 2f88aa…, other: …"
//! ```

use super::{Batch, Dialect, Recipe, Rng, names, second_pass, settings, template};
use crate::files::clipped;

pub use super::infotext_writer::write;

/// Opens the negative prompt.
pub(super) const NEGATIVE: &str = "Negative prompt:";
/// A key of ours, for what ComfyUI has the node RescaleCFG.
pub(super) const RESCALE: &str = "CFG rescale";
/// A last line with fewer parameters belongs to the prompt.
pub(super) const FEWEST: usize = 3;
/// What a tool of ours puts after "Version".
pub(super) const OURS: &str = "wordbrush";

/// So many values of a line may be JSON: a bracket without an end is looked for through the whole rest of the line.
const MOST_BRACKETS: usize = 64;

/// Keys that say nothing about how the picture is made.
const HARMLESS: [&str; 13] = [
    "Hashes",
    "Civitai resources",
    "Civitai metadata",
    "VAE hash",
    "Created Date",
    "Prompt dialect",
    // Of a grid, whose recipe is that of its first picture.
    "Script",
    "X Type",
    "X Values",
    "Fixed X Values",
    "Y Type",
    "Y Values",
    "Fixed Y Values",
];

/// A parameter, as found in the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter<'t> {
    pub key: &'t str,
    pub value: String,
}

/// Reads an infotext: never fails. Without a line of parameters and without a negative prompt the whole text is the
/// prompt, and [`Recipe::dialect`] stays open.
///
/// What A1111 means by a parameter's absence is filled in: clip skip 1, and the scheduler of the sampler.
pub fn parse(text: &str) -> Recipe {
    let text = text.trim_start_matches('\u{feff}').trim();
    let (mut above, last) = text.rsplit_once('\n').unwrap_or(("", text));
    let found = parameters(last);
    if found.len() < FEWEST {
        above = text;
    }
    let mut recipe = Recipe::default();
    let mut negative: Option<String> = None;
    let mut positive = String::new();
    for mut line in above.split('\n').map(str::trim) {
        if let Some(rest) = line.strip_prefix(NEGATIVE) {
            line = rest.trim();
            negative.get_or_insert_default();
        }
        let to = negative.as_mut().unwrap_or(&mut positive);
        if !to.is_empty() {
            to.push('\n');
        }
        to.push_str(line);
    }
    recipe.prompt = positive;
    recipe.dialect = (negative.is_some() || found.len() >= FEWEST).then_some(Dialect::A1111);
    recipe.negative_prompt = negative.unwrap_or_default();
    if found.len() >= FEWEST {
        take(&mut recipe, found);
    }
    recipe
}

/// The parameters of a line: what A1111's expression
/// `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)` finds, one after the other, in linear time.
pub(super) fn parameters(line: &str) -> Vec<Parameter<'_>> {
    let mut found = Vec::new();
    let mut rest = line;
    let mut brackets = MOST_BRACKETS;
    while let Some(first) = rest.chars().next() {
        if !is_word(first) {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|c| !(is_word(c) || " -/".contains(c))).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        rest = after;
        // A key has two characters at least; before anything but a colon the run of characters is none.
        if let (Some(value), true) = (after.strip_prefix(':'), key.len() > first.len_utf8()) {
            let value = value.trim_start();
            let length = value_length(value, &mut brackets);
            found.push(Parameter { key: key.trim_end(), value: unquoted(value[..length].trim_end()) });
            rest = value[length..].strip_prefix(',').unwrap_or(&value[length..]);
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How far a value reaches: a quoted one to its closing quote, if the parameter ends there; JSON, which Civitai writes
/// without quotes, to its closing bracket; another to the next comma.
fn value_length(value: &str, brackets: &mut usize) -> usize {
    let complete = match value.chars().next() {
        Some('"') => quoted_length(value).filter(|length| *length > 2),
        Some('{' | '[') if *brackets > 0 => {
            *brackets -= 1;
            bracketed_length(value)
        }
        _ => None,
    };
    let ends = |length: &usize| value[*length..].is_empty() || value[*length..].starts_with(',');
    complete.filter(ends).or_else(|| value.find(',')).unwrap_or(value.len())
}

/// The length of the JSON string a text begins with.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of the JSON object or list a text begins with.
pub(super) fn bracketed_length(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => at += quoted_length(&text[at..])? - 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// A quoted value without its quotes; one that is no JSON string stays as written.
fn unquoted(value: &str) -> String {
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let inner = quoted.then(|| serde_json::from_str(value).ok()).flatten();
    inner.unwrap_or_else(|| value.to_string())
}

/// Puts the parameters where they belong. Of one key said twice the last counts, as in A1111.
fn take(recipe: &mut Recipe, found: Vec<Parameter<'_>>) {
    let said = |key: &str| found.iter().rev().find(|parameter| parameter.key == key).map(|found| found.value.as_str());
    recipe.steps = number(recipe, "Steps", said("Steps"));
    recipe.cfg = number(recipe, "CFG scale", said("CFG scale"));
    // Rust reads "NaN" and "inf" as numbers too.
    if let Some(cfg) = recipe.cfg.take_if(|cfg: &mut f64| !cfg.is_finite()) {
        recipe.note(unusable("CFG scale", &cfg.to_string()));
    }
    let rescale = number(recipe, RESCALE, said(RESCALE));
    recipe.cfg_rescale = rescale.filter(|multiplier: &f64| multiplier.is_finite() && *multiplier != 0.0);
    recipe.seed = number(recipe, "Seed", said("Seed"));
    recipe.clip_skip = match said("Clip skip") {
        None => Some(1),
        skip => number(recipe, "Clip skip", skip),
    };
    if let Some(size) = said("Size") {
        let sides = size.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        match sides {
            Some((width, height)) => (recipe.width, recipe.height) = (Some(width), Some(height)),
            None => recipe.note(unusable("Size", size)),
        }
    }
    let size = number(recipe, "Batch size", said("Batch size"));
    let place: Option<usize> = number(recipe, "Batch pos", said("Batch pos"));
    recipe.batch = size.filter(|size| *size > 1).map(|size| Batch { size, place: place.filter(|place| *place < size) });
    take_sampler(recipe, said("Sampler"), said("Schedule type"), said("Version"));
    let text = |key| said(key).map(str::to_string);
    recipe.model = text("Model");
    recipe.model_hash = text("Model hash");
    recipe.vae = text("VAE");
    recipe.raw_prompt = text("Template");
    recipe.raw_negative_prompt = text("Negative Template");
    recipe.dialect = said("Prompt dialect").and_then(Dialect::from_name).or(recipe.dialect);
    recipe.embeddings = embeddings(said("TI hashes"), said("TI"));
    // Where it is not said, A1111's is a GPU's, and ComfyUI's a CPU's.
    let from_comfy = said("Version").is_some_and(|version| version.starts_with("ComfyUI"));
    recipe.rng = Some(match said("RNG") {
        Some("CPU") => Rng::Cpu,
        None if from_comfy => Rng::Cpu,
        _ => Rng::Nvidia,
    });
    for (key, set) in EXACT {
        if let Some(value) = said(key) {
            set(recipe, value.to_string());
        }
    }
    // An infotext has what the text model got.
    template::settle(recipe, [true, true]);
    for Parameter { key, value } in &found {
        if !is_known(key) {
            keep(recipe, key, value);
        }
    }
    second_pass::settle_size(recipe);
}

/// Puts a value where it belongs.
type Set = fn(&mut Recipe, String);

/// Keys of ours for what the plain form of an infotext cannot say (a prompt that ends in spaces, two samplers of one
/// name in A1111): other tools read the plain form and ignore these.
pub(super) const EXACT: [(&str, Set); 5] = [
    ("Exact prompt", |recipe, text| recipe.prompt = text),
    ("Exact negative prompt", |recipe, text| recipe.negative_prompt = text),
    ("Exact sampler", |recipe, name| recipe.sampler = Some(name)),
    ("Exact scheduler", |recipe, name| recipe.scheduler = Some(name)),
    ("Exact embeddings", |recipe, list| {
        if let Ok(list) = serde_json::from_str(&list) {
            recipe.embeddings = list;
        }
    }),
];

/// Whether a key has its own field, so that it is no [`Recipe::extra`].
pub(super) fn is_known(key: &str) -> bool {
    const FIELDS: [&str; 20] = [
        "Steps",
        "Sampler",
        "Schedule type",
        "CFG scale",
        RESCALE,
        "Seed",
        "Size",
        "Model hash",
        "Model",
        "VAE",
        "Clip skip",
        "Batch size",
        "Batch pos",
        "RNG",
        "TI hashes",
        "TI",
        "Template",
        "Negative Template",
        "Prompt dialect",
        "Version",
    ];
    FIELDS.contains(&key) || EXACT.iter().any(|(exact, _)| *exact == key)
}

fn take_sampler(recipe: &mut Recipe, sampler: Option<&str>, scheduler: Option<&str>, version: Option<&str>) {
    let (sampler, suffix) = sampler.map(names::sampler_of_a1111).unzip();
    let named = scheduler.and_then(names::scheduler_of_a1111).or_else(|| suffix.flatten().map(str::to_string));
    // Before "Schedule type" came with 1.9, a sampler without a suffix ran on uniform steps.
    let default = match version {
        Some(version) if scheduler.is_none() && is_before_1_9(version) => Some("normal"),
        _ => sampler.as_deref().and_then(names::automatic_scheduler),
    };
    recipe.scheduler = named.or_else(|| default.map(str::to_string));
    recipe.sampler = sampler;
    recipe.note_unknown_names();
}

fn is_before_1_9(version: &str) -> bool {
    let minor = version.strip_prefix("v1.").and_then(|rest| rest.split('.').next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor < 9)
}

fn number<T: std::str::FromStr>(recipe: &mut Recipe, key: &str, value: Option<&str>) -> Option<T> {
    let value = value?;
    let parsed = value.trim().parse().ok();
    if parsed.is_none() {
        recipe.note(unusable(key, value));
    }
    parsed
}

fn unusable(key: &str, value: &str) -> String {
    format!("\u{201c}{key}: {}\u{201d} cannot be used and was left out.", clipped(value, 60))
}

/// `name: hash, name: hash` (A1111) and `name, name` (Forge).
fn embeddings(hashes: Option<&str>, names: Option<&str>) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::new();
    let parts = |text: Option<&'_ str>| {
        let parts = text.unwrap_or_default().split(',').map(|part| part.trim().to_string());
        parts.filter(|part| !part.is_empty()).collect::<Vec<String>>()
    };
    for part in parts(hashes) {
        let (name, hash) = part.rsplit_once(':').unwrap_or((&part, ""));
        list.push((name.trim().to_string(), hash.trim().to_string()));
    }
    for name in parts(names) {
        if !list.iter().any(|(known, _)| *known == name) {
            list.push((name, String::new()));
        }
    }
    list
}

/// Keeps a parameter without a field, and says so where the picture may depend on it.
fn keep(recipe: &mut Recipe, key: &str, value: &str) {
    match recipe.extra.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => *old = value.to_string(),
        None => recipe.extra.push((key.to_string(), value.to_string())),
    }
    if !HARMLESS.contains(&key) && !settings::is_setting(key) {
        recipe.note(format!(
            "\u{201c}{}: {}\u{201d} has no counterpart here and is not used.",
            clipped(key, 60),
            clipped(value, 60)
        ));
    }
}
