//! A1111's infotext, written.

use super::infotext::{EXACT, FEWEST, NEGATIVE, OURS, RESCALE, bracketed_length, is_known, parameters, parse};
use super::{Dialect, NVIDIA, Recipe, Rng, names, template};

/// Writes a recipe as A1111 does. Whatever it holds, [`parse`] reads the same fields back (but for what is `None`, where
/// an infotext's silence has a meaning of its own, and the notes): where the plain form would not, a parameter
/// `Exact …` carries the field.
pub fn write(recipe: &Recipe) -> String {
    let mut text = plain_text(&recipe.prompt);
    // The line is written even when it is empty: ComfyUI does not import an infotext without it, and others then put
    // everything into the wrong field.
    text.push_str(&format!("\n{NEGATIVE} {}\n", plain_text(&recipe.negative_prompt)));
    let mut line = parameter_line(recipe);
    let plain = parse(&format!("{text}{}", joined(&line)));
    for ((key, _), value) in EXACT.iter().zip(exact_values(recipe, &plain)) {
        // The version stays last.
        let at = line.len() - 1;
        line.splice(at..at, value.map(|value| (key.to_string(), value)));
    }
    text + &joined(&line)
}

/// The fields that the plain form lost, in the order of [`EXACT`].
fn exact_values(recipe: &Recipe, plain: &Recipe) -> [Option<String>; 5] {
    let lost = |here: &String, there: &String| (here != there).then(|| here.clone());
    let lost_name = |here: &Option<String>, there: &Option<String>| here.clone().filter(|_| here != there);
    [
        lost(&recipe.prompt, &plain.prompt),
        lost(&recipe.negative_prompt, &plain.negative_prompt),
        lost_name(&recipe.sampler, &plain.sampler),
        lost_name(&recipe.scheduler, &plain.scheduler),
        (recipe.embeddings != plain.embeddings).then(|| serde_json::json!(recipe.embeddings).to_string()),
    ]
}

/// A prompt in the form that survives most: lines end in `\n`, and no other control characters.
fn plain_text(prompt: &str) -> String {
    let lines = prompt.replace("\r\n", "\n").replace('\r', "\n");
    lines.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// The parameters, in A1111's order.
fn parameter_line(recipe: &Recipe) -> Vec<(String, String)> {
    let mut line = Vec::new();
    let mut add = |key: &str, value: Option<String>| line.extend(value.map(|value| (key.to_string(), value)));
    let size = recipe.width.zip(recipe.height).map(|(width, height)| format!("{width}x{height}"));
    add("Steps", recipe.steps.map(|steps| steps.to_string()));
    add("Sampler", recipe.sampler.as_deref().map(|name| names::a1111_sampler(name).to_string()));
    add("Schedule type", recipe.scheduler.as_deref().map(|name| names::a1111_scheduler(name).to_string()));
    add("CFG scale", recipe.cfg.filter(|cfg| cfg.is_finite()).map(|cfg| cfg.to_string()));
    add(
        RESCALE,
        recipe.cfg_rescale.filter(|multiplier| multiplier.is_finite()).map(|multiplier| multiplier.to_string()),
    );
    add("Seed", recipe.seed.map(|seed| seed.to_string()));
    add("Size", size);
    add("Model hash", recipe.model_hash.clone());
    add("Model", recipe.model.clone());
    add("VAE", recipe.vae.clone());
    add("Clip skip", recipe.clip_skip.filter(|skip| *skip != 1).map(|skip| skip.to_string()));
    // As A1111 wrote them before 1.3.
    add("Batch size", recipe.batch.map(|batch| batch.size.to_string()));
    add("Batch pos", recipe.batch.and_then(|batch| batch.place).map(|place| place.to_string()));
    // Without this A1111 takes a GPU's.
    add("RNG", Some(if recipe.rng == Some(Rng::Nvidia) { NVIDIA } else { "CPU" }.to_string()));
    let (hashed, bare): (Vec<_>, Vec<_>) = recipe.embeddings.iter().partition(|(_, hash)| !hash.is_empty());
    // A1111 strips these two from the names, because they part the list.
    let name = |name: &str| name.replace([':', ','], "");
    let hashed: Vec<String> = hashed.iter().map(|(name_, hash)| format!("{}: {hash}", name(name_))).collect();
    let bare: Vec<String> = bare.iter().map(|(name_, _)| name(name_)).collect();
    add("TI hashes", Some(hashed.join(", ")).filter(|list| !list.is_empty()));
    add("TI", Some(bare.join(", ")).filter(|list| !list.is_empty()));
    // Where no dialect is said, the reader takes A1111's.
    let dialect = recipe.dialect.or(Some(Dialect::A1111));
    let template = |prompt: &str, raw: &Option<String>| template::beside(prompt, raw.as_deref(), dialect);
    // The names that the extension sd-dynamic-prompts gives them in A1111.
    add("Template", template(&recipe.prompt, &recipe.raw_prompt));
    add("Negative Template", template(&recipe.negative_prompt, &recipe.raw_negative_prompt));
    add("Prompt dialect", recipe.dialect.filter(|dialect| *dialect != Dialect::A1111).map(|it| it.name().to_string()));
    for (key, value) in &recipe.extra {
        // Only what reads back as this one parameter may go into the line.
        let alone = parameter(key, value);
        if !is_known(key) && matches!(parameters(&alone).as_slice(), [one] if one.key == key && one.value == *value) {
            add(key, Some(value.clone()));
        }
    }
    add("Version", Some(format!("{OURS} {}", env!("CARGO_PKG_VERSION"))));
    if line.len() < FEWEST {
        line.insert(0, ("Clip skip".to_string(), recipe.clip_skip.unwrap_or(1).to_string()));
    }
    line
}

fn joined(line: &[(String, String)]) -> String {
    let parts: Vec<String> = line.iter().map(|(key, value)| parameter(key, value)).collect();
    parts.join(", ")
}

/// A1111 reads no key of a single character, but one with a space behind it.
fn parameter(key: &str, value: &str) -> String {
    let single = key.chars().count() == 1;
    format!("{key}{}: {}", if single { " " } else { "" }, quoted(value))
}

/// A value as the line can hold it: quoted as JSON if it has a comma, a colon or a line break (A1111's rule), or if
/// reading it bare would change it. JSON stays bare, because that is how Civitai writes and reads it.
fn quoted(value: &str) -> String {
    let json = || value.starts_with(['{', '[']) && bracketed_length(value) == Some(value.len());
    if json() && !value.contains('\n') && serde_json::from_str::<serde_json::Value>(value).is_ok() {
        return value.to_string();
    }
    let bare = value.trim() == value
        && !value.starts_with(['"', '{', '['])
        && !value.contains([',', ':'])
        && !value.contains(char::is_control);
    if bare { value.to_string() } else { serde_json::Value::from(value).to_string() }
}
