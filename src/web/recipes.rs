//! Recipes for JavaScript: read from pictures and texts, written as texts.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::{Error, Result};
use crate::pipeline::{MaskedContent, Upscaler};
use crate::prompt::{Syntax, expand};
use crate::recipe::images::{bare_png, embed_in_png, png_chunks};
use crate::recipe::second_pass::Own;
use crate::recipe::settings::{
    DENOISE, HIRES_SCALE, HIRES_STEPS, HIRES_UPSCALER, KEEP_WHOLE, MASKED_PADDING, ONLY_MASKED,
};
use crate::recipe::{Batch, Dialect, Recipe, Rng, comfy, infotext, read};
use crate::samplers::Generator;

use super::errors::to_js;
use super::object;
use super::options::{Fields, Kind, OPTIONS, bad, settings, syntax};

/// Reads the recipe of a PNG, JPEG or WebP picture, or of a text; `fileName` is what errors call it.
#[wasm_bindgen(js_name = readRecipe)]
pub fn read_recipe(bytes: &[u8], file_name: &str) -> Result<Object, JsValue> {
    let named = |error: Error| Error::new(error.code, format!("{file_name}: {}", error.message));
    read(bytes).map(|recipe| to_object(&recipe)).map_err(|error| to_js(named(error)))
}

/// Writes a recipe as A1111's text (`a1111`), ComfyUI's API JSON (`comfy`) or workflow JSON (`workflow`).
#[wasm_bindgen(js_name = recipeText)]
pub fn recipe_text(recipe: &JsValue, form: &str) -> Result<String, JsValue> {
    let recipe = from_object(recipe).map_err(to_js)?;
    match form {
        "a1111" => Ok(infotext::write(&recipe)),
        "comfy" => Ok(comfy::api_json(&recipe)),
        "workflow" => Ok(comfy::workflow_json(&recipe)),
        other => Err(to_js(bad("form", &format!("\"{other}\""), "a1111, comfy or workflow"))),
    }
}

/// A PNG with this recipe in place of the one it carries; with `undefined` it carries nothing.
#[wasm_bindgen(js_name = writeRecipe)]
pub fn write_recipe(png: &[u8], recipe: &JsValue) -> Result<Vec<u8>, JsValue> {
    if recipe.is_undefined() {
        return bare_png(png).map_err(to_js);
    }
    from_object(recipe).and_then(|recipe| embed_in_png(png, &png_chunks(&recipe))).map_err(to_js)
}

fn to_object(recipe: &Recipe) -> Object {
    let text = |text: &Option<String>| text.as_deref().map_or(JsValue::UNDEFINED, JsValue::from);
    let size = |size: Option<usize>| size.map_or(JsValue::UNDEFINED, JsValue::from);
    let embedding = |(name, hash): &(String, String)| {
        JsValue::from(object([("name", name.as_str().into()), ("shortHash", hash.as_str().into())]))
    };
    let pair =
        |(key, value): &(String, String)| JsValue::from([key, value].into_iter().map(JsValue::from).collect::<Array>());
    let syntax = recipe.dialect.map_or(JsValue::UNDEFINED, |dialect| match dialect {
        Dialect::Comfy => "comfy".into(),
        Dialect::A1111 => "a1111".into(),
    });
    let made = object([
        ("prompt", recipe.prompt.as_str().into()),
        ("negativePrompt", recipe.negative_prompt.as_str().into()),
        ("steps", size(recipe.steps)),
        ("sampler", text(&recipe.sampler)),
        ("scheduler", text(&recipe.scheduler)),
        ("cfg", recipe.cfg.map_or(JsValue::UNDEFINED, JsValue::from)),
        ("seed", recipe.seed.map_or(JsValue::UNDEFINED, |seed| seed.to_string().into())),
        ("width", size(recipe.width)),
        ("height", size(recipe.height)),
        ("clipSkip", size(recipe.clip_skip)),
        ("rng", recipe.rng.map_or(JsValue::UNDEFINED, |rng| if rng == Rng::Nvidia { "nv" } else { "cpu" }.into())),
        ("model", text(&recipe.model)),
        ("modelHash", text(&recipe.model_hash)),
        ("vae", text(&recipe.vae)),
        ("promptSyntax", syntax),
        ("embeddings", recipe.embeddings.iter().map(embedding).collect::<Array>().into()),
        ("keepEmbeddingsWhole", recipe.extra.iter().any(is_keep_whole).into()),
        ("template", text(&recipe.raw_prompt)),
        ("negativeTemplate", text(&recipe.raw_negative_prompt)),
        ("notes", recipe.notes.iter().map(JsValue::from).collect::<Array>().into()),
    ]);
    // Setting a plain property of a fresh object cannot fail.
    let set = |field: &str, value: JsValue| drop(Reflect::set(&made, &field.into(), &value));
    if let Some(multiplier) = recipe.cfg_rescale {
        set("cfgRescale", multiplier.into());
    }
    if let Some(Batch { size, place }) = recipe.batch {
        set("batchSize", size.into());
        place.into_iter().for_each(|place| set("batchPosition", place.into()));
    }
    let told = |name: &str| recipe.extra.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    // A picture to start from and a second pass are told by one word in infotexts.
    let mut used = Vec::new();
    let denoise = told(DENOISE).and_then(|value| usable(value, Kind::Number));
    used.extend(denoise.as_ref().map(|_| DENOISE.to_string()));
    if let Some(padding) = masked_padding(told) {
        used.extend([ONLY_MASKED.0, MASKED_PADDING].map(str::to_string));
        set("maskedPadding", padding.into());
    }
    match hires(recipe, told, &mut used) {
        Some(hires) => {
            let _ = Reflect::set(&hires, &"denoise".into(), &denoise.unwrap_or(JsValue::UNDEFINED));
            set("hires", hires.into());
        }
        None => set("denoise", denoise.unwrap_or(JsValue::UNDEFINED)),
    }
    let settings: Vec<_> = settings(recipe.sampler.as_deref().unwrap_or_default()).collect();
    let value_of =
        |(key, value): &(String, String), of: &(&str, &str, Kind)| (of.1 == key).then(|| usable(value, of.2)).flatten();
    for setting in &settings {
        recipe.extra.iter().filter_map(|pair| value_of(pair, setting)).for_each(|value| set(setting.0, value));
    }
    let is_set = |pair: &(String, String)| settings.iter().any(|setting| value_of(pair, setting).is_some());
    let extra = recipe.extra.iter().filter(|pair| !is_keep_whole(pair) && !is_set(pair) && !used.contains(&pair.0));
    set("extra", extra.map(pair).collect::<Array>().into());
    made
}

/// How much around what is masked is painted, if it is not the whole picture.
fn masked_padding<'r>(told: impl Fn(&str) -> Option<&'r str>) -> Option<u32> {
    /// Where A1111's slider stands at first.
    const USUAL: u32 = 32;
    told(ONLY_MASKED.0).filter(|area| *area == ONLY_MASKED.1)?;
    Some(told(MASKED_PADDING).and_then(|padding| padding.parse().ok()).unwrap_or(USUAL))
}

/// The second pass that extras tell of, and the keys it is told by.
fn hires<'r>(recipe: &Recipe, told: impl Fn(&str) -> Option<&'r str>, used: &mut Vec<String>) -> Option<Object> {
    let scale: f64 = told(HIRES_SCALE)?.parse().ok().filter(|scale: &f64| scale.is_finite())?;
    let upscaler = told(HIRES_UPSCALER).and_then(|name| Upscaler::from_name(name).ok());
    let steps = told(HIRES_STEPS).and_then(|value| usable(value, Kind::Number));
    let own = Own::of(recipe).with_templates(recipe.dialect);
    used.extend([HIRES_SCALE, HIRES_STEPS].map(str::to_string));
    used.extend(upscaler.map(|_| HIRES_UPSCALER.to_string()));
    used.extend(own.settings().into_iter().map(|(key, _)| key));
    let text = |text: Option<String>| text.map_or(JsValue::UNDEFINED, JsValue::from);
    Some(object([
        ("scale", scale.into()),
        ("upscaler", upscaler.unwrap_or_default().name().into()),
        ("steps", steps.unwrap_or(JsValue::UNDEFINED)),
        ("prompt", text(own.prompt)),
        ("negativePrompt", text(own.negative_prompt)),
        ("seed", text(own.seed.map(|seed| seed.to_string()))),
        ("sampler", text(own.sampler)),
        ("scheduler", text(own.scheduler)),
        ("cfg", own.cfg.map_or(JsValue::UNDEFINED, JsValue::from)),
    ]))
}

/// A setting's value for `generate`; one it could not use stays among the extras.
fn usable(value: &str, kind: Kind) -> Option<JsValue> {
    match kind {
        Kind::Number => value.parse::<f64>().ok().filter(|number| !number.is_nan()).map(JsValue::from),
        Kind::Seed => value.parse::<u64>().ok().map(|seed| seed.to_string().into()),
        Kind::Content => MaskedContent::from_name(value).ok().map(|content| content.name().into()),
    }
}

fn is_keep_whole((key, value): &(String, String)) -> bool {
    (key.as_str(), value.as_str()) == KEEP_WHOLE
}

/// What a recipe tells besides the options of a picture.
const BESIDES: [&str; 10] = [
    "hires",
    "batchPosition",
    "model",
    "modelHash",
    "vae",
    "embeddings",
    "template",
    "negativeTemplate",
    "extra",
    "notes",
];

fn from_object(recipe: &JsValue) -> Result<Recipe> {
    let known: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).chain(BESIDES).collect();
    let fields = Fields::new(recipe, &known)?;
    let embedding = |value: &JsValue| {
        let fields = Fields::new(value, &["name", "shortHash"])?;
        Ok((fields.needed_text("name")?, fields.text("shortHash")?.unwrap_or_default()))
    };
    let embeddings = if fields.has("embeddings") { fields.list("embeddings")? } else { Vec::new() };
    let dialect = match fields.text("promptSyntax")?.as_deref() {
        None => None,
        name => Some(match syntax(name)? {
            Syntax::Comfy => Dialect::Comfy,
            Syntax::A1111 => Dialect::A1111,
        }),
    };
    let pair = |value: &JsValue| {
        let pair: Vec<String> = Array::from(value).iter().filter_map(|part| part.as_string()).collect();
        <[String; 2]>::try_from(pair)
            .map(|[key, value]| (key, value))
            .map_err(|_| bad("extra", "a list of other things", "a list of [key, value]"))
    };
    let mut extra = Vec::new();
    if fields.has("extra") {
        extra = fields.list("extra")?.iter().map(pair).collect::<Result<_>>()?;
    }
    let sampler = fields.text("sampler")?;
    for (field, name, kind) in settings(sampler.as_deref().unwrap_or_default()) {
        let value = match kind {
            Kind::Number => fields.number(field)?.map(|number| number.to_string()),
            Kind::Seed => fields.seed(field)?.map(|seed| seed.to_string()),
            Kind::Content => fields.text(field)?,
        };
        extra.extend(value.map(|value| (name.to_string(), value)));
    }
    if let Some(hires) = fields.value("hires") {
        let seed = fields.seed("seed")?.unwrap_or_default();
        let worked_out = |template: &str| match dialect {
            Some(Dialect::A1111) => template.to_string(),
            _ => expand(template, seed),
        };
        extra.extend(super::init::hires(&hires)?.settings(worked_out));
    } else if let Some(denoise) = fields.number("denoise")? {
        extra.push((DENOISE.to_string(), denoise.to_string()));
    }
    if let Some(padding) = fields.whole("maskedPadding")? {
        extra.push((ONLY_MASKED.0.to_string(), ONLY_MASKED.1.to_string()));
        extra.push((MASKED_PADDING.to_string(), padding.to_string()));
    }
    if fields.truth("keepEmbeddingsWhole")? == Some(true) {
        extra.push((KEEP_WHOLE.0.to_string(), KEEP_WHOLE.1.to_string()));
    }
    let place = fields.whole("batchPosition")?;
    let batch = fields.whole("batchSize")?.filter(|size| *size > 1).map(|size| Batch { size, place });
    Ok(Recipe {
        prompt: fields.text("prompt")?.unwrap_or_default(),
        negative_prompt: fields.text("negativePrompt")?.unwrap_or_default(),
        steps: fields.whole("steps")?,
        sampler,
        scheduler: fields.text("scheduler")?,
        cfg: fields.number("cfg")?.filter(|cfg| cfg.is_finite()),
        cfg_rescale: fields.number("cfgRescale")?.filter(|multiplier| multiplier.is_finite() && *multiplier != 0.0),
        seed: fields.seed("seed")?,
        batch,
        width: fields.whole("width")?,
        height: fields.whole("height")?,
        clip_skip: fields.whole("clipSkip")?,
        rng: fields.text("rng")?.map(|name| Generator::from_name(&name).map(Rng::from)).transpose()?,
        model: fields.text("model")?,
        model_hash: fields.text("modelHash")?,
        vae: fields.text("vae")?,
        dialect,
        raw_prompt: fields.text("template")?,
        raw_negative_prompt: fields.text("negativeTemplate")?,
        extra,
        embeddings: embeddings.iter().map(embedding).collect::<Result<_>>()?,
        ..Recipe::default()
    })
}
