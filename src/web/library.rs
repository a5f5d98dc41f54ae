//! What JavaScript sees of embeddings.

use js_sys::{Array, Object};
use wasm_bindgen::JsValue;

use crate::error::Result;
use crate::files::textual_inversion::Embedding;
use crate::pipeline::Craft;
use crate::prompt::{Facts, Library, Near, Site};

use super::object;
use super::options::{Fields, bad};

/// `EmbeddingInfo`.
pub fn embedding_info(name: &str, embedding: &Embedding) -> Object {
    object([
        ("name", name.into()),
        ("vectors", embedding.vectors.into()),
        ("width", embedding.width.into()),
        ("norm", embedding.mean_norm().into()),
        ("dtype", embedding.dtype.name().into()),
        ("layout", embedding.layout.into()),
        ("key", embedding.key.as_str().into()),
        ("sha256", embedding.sha256.as_str().into()),
        ("shortHash", embedding.sha256.get(..12).unwrap_or_default().into()),
        ("warnings", embedding.warnings.iter().map(JsValue::from).collect::<Array>().into()),
    ])
}

/// `EmbeddingCall`s, their places counted as JavaScript counts a string.
pub fn calls(prompt: &str, calls: &[Site], library: &Library) -> Array {
    let place = |at: usize| JsValue::from(prompt[..at].encode_utf16().count());
    let call = |call: &Site| -> JsValue {
        let near = if call.known.is_none() { library.nearest(&call.name) } else { None };
        let name = |name: Option<&str>| name.map_or(JsValue::NULL, JsValue::from);
        object([
            ("start", place(call.call.start)),
            ("end", place(call.call.end)),
            ("groupStart", place(call.group.start)),
            ("groupEnd", place(call.group.end)),
            ("written", call.name.as_str().into()),
            ("name", name(call.known.as_deref())),
            ("nearest", name(near)),
        ])
        .into()
    };
    calls.iter().map(call).collect()
}

/// `EmbeddingFacts`.
pub fn facts(facts: &Facts) -> Object {
    let entry = |near: &Near| -> JsValue {
        // The tokenizer shows the end of a word as a space.
        let word = near.word.trim_end();
        object([("id", near.id.into()), ("word", word.into()), ("cosine", near.cosine.into())]).into()
    };
    let nearest = facts.nearest.iter().map(|vector| JsValue::from(vector.iter().map(entry).collect::<Array>()));
    object([
        ("norms", facts.norms.iter().map(|&norm| JsValue::from(norm)).collect::<Array>().into()),
        ("vocabularyNorm", facts.vocabulary_norm.into()),
        ("budget", facts.budget.into()),
        ("nearest", nearest.collect::<Array>().into()),
        ("warnings", facts.warning.iter().map(JsValue::from).collect::<Array>().into()),
    ])
}

/// The name and making of an embedding from `CraftSpec`.
pub fn craft(spec: &JsValue) -> Result<(String, Craft)> {
    const ALL: [&str; 8] = ["name", "kind", "text", "terms", "names", "of", "factor", "rows"];
    let kind = Fields::new(spec, &ALL)?.needed_text("kind")?;
    let own: &[&str] = match kind.as_str() {
        "text" => &["name", "kind", "text"],
        "mix" => &["name", "kind", "terms"],
        "concat" => &["name", "kind", "names"],
        "scale" => &["name", "kind", "of", "factor"],
        "rows" => &["name", "kind", "of", "rows"],
        other => return Err(bad("kind", &format!("\"{other}\""), "text, mix, concat, scale or rows")),
    };
    let fields = Fields::new(spec, own)?;
    let craft = match kind.as_str() {
        "text" => Craft::Text(fields.needed_text("text")?),
        "mix" => Craft::Mix(fields.list("terms")?.iter().map(term).collect::<Result<_>>()?),
        "concat" => Craft::Concatenate(fields.list("names")?.iter().map(text).collect::<Result<_>>()?),
        "scale" => Craft::Scale(fields.needed_text("of")?, fields.needed_number("factor")?),
        _ => Craft::Rows(fields.needed_text("of")?, fields.list("rows")?.iter().map(row).collect::<Result<_>>()?),
    };
    Ok((fields.needed_text("name")?, craft))
}

fn term(term: &JsValue) -> Result<(f32, String)> {
    let term = Fields::new(term, &["name", "factor"])?;
    Ok((term.needed_number("factor")?, term.needed_text("name")?))
}

fn text(name: &JsValue) -> Result<String> {
    name.as_string().ok_or_else(|| bad("names", "a list of other things", "a list of strings"))
}

fn row(row: &JsValue) -> Result<usize> {
    let whole = row.as_f64().filter(|row| row.fract() == 0.0 && (0.0..=1e6).contains(row));
    whole.map(|row| row as usize).ok_or_else(|| bad("rows", "a list of other things", "a list of row numbers"))
}
