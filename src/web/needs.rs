//! What a model is going to take, for JavaScript.

use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use crate::error::Result;
use crate::files::Checkpoint;
use crate::pipeline::{Params, needs};

use super::errors::to_js;
use super::options::{Fields, bad};
use super::{object, sources};

/// The largest side and batch worth counting for; no picture is larger.
const MOST: usize = 8192;

/// Reads a checkpoint's header and tells what the model takes: see `ModelNeeds` in `index.d.ts`. `files` as in
/// `Engine.open`; `options` are `width`, `height`, `batchSize` and `dtype`.
#[wasm_bindgen(js_name = modelNeeds)]
pub async fn model_needs(files: Array, options: JsValue) -> Result<Object, JsValue> {
    let (size, bytes) = read(&options).map_err(to_js)?;
    let sources = sources::from_js(&files).map_err(to_js)?;
    let checkpoint = Checkpoint::open(sources).await.map_err(to_js)?;
    let needs = needs(&checkpoint, size, bytes);
    let number = |value: u64| JsValue::from(value as f64);
    Ok(object([
        ("fileBytes", number(needs.file)),
        ("parameters", number(needs.parameters)),
        ("textWidth", needs.text_width.into()),
        ("weightBytes", number(needs.weights)),
        ("tokenBytes", number(needs.tokens)),
        ("stepBytes", number(needs.step)),
        ("decodeBytes", number(needs.decode)),
        ("gpuPeakBytes", number(needs.peak())),
    ]))
}

/// Width, height and pictures at once, and the bytes of a number.
fn read(options: &JsValue) -> Result<([usize; 3], usize)> {
    let fields = Fields::new(options, &["width", "height", "batchSize", "dtype"])?;
    let usual = Params::default();
    let side = |key, usual| match fields.whole(key)?.unwrap_or(usual) {
        number @ 1..=MOST => Ok(number),
        other => Err(bad(key, &other.to_string(), "between 1 and 8192")),
    };
    let size = [side("width", usual.width)?, side("height", usual.height)?, side("batchSize", usual.batch)?];
    // What the adapter has decides between f16 and packed, which take the same.
    let bytes = if fields.text("dtype")?.as_deref() == Some("f32") { 4 } else { 2 };
    Ok((size, bytes))
}
