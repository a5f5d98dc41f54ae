//! Plain objects from JavaScript: an unknown name is an error, not a silence.

use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Code, Error, Result};
use crate::pipeline::{Decoder, Params};
use crate::prompt::Syntax;
use crate::recipe::settings;
use crate::samplers::{Generator, Options, Prediction, Sampler, Schedule, Tool, Variation};

/// The fields of an options object whose names were checked.
pub struct Fields<'a>(&'a JsValue);

/// What a setting is that recipes keep among their extras.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number.
    Number,
    /// A whole number that may be larger than JavaScript's exact ones: a decimal string.
    Seed,
    /// What lies under a mask, by its name.
    Content,
}

/// Every option of a picture. Recipes have the same fields; those that are among a recipe's extras come with what
/// infotexts call them (for [`ETA`] it depends on the sampler).
pub const OPTIONS: [(&str, Option<(&str, Kind)>); 36] = [
    ("prompt", None),
    ("negativePrompt", None),
    ("steps", None),
    ("cfg", None),
    ("cfgRescale", None),
    ("guidanceStart", Some((settings::GUIDANCE_START, Kind::Number))),
    ("guidanceEnd", Some((settings::GUIDANCE_END, Kind::Number))),
    ("width", None),
    ("height", None),
    ("batchSize", None),
    ("seed", None),
    ("sampler", None),
    ("scheduler", None),
    ("clipSkip", None),
    ("promptSyntax", None),
    ("keepEmbeddingsWhole", None),
    ("rng", None),
    ("variationSeed", Some((settings::VARIATION_SEED, Kind::Seed))),
    ("variationStrength", Some((settings::VARIATION_STRENGTH, Kind::Number))),
    ("seedDelta", Some((settings::SEED_DELTA, Kind::Seed))),
    (ETA, Some(("", Kind::Number))),
    ("sNoise", Some((settings::SIGMA_NOISE, Kind::Number))),
    ("sChurn", Some((settings::SIGMA_CHURN, Kind::Number))),
    ("sTmin", Some((settings::SIGMA_TMIN, Kind::Number))),
    ("sTmax", Some((settings::SIGMA_TMAX, Kind::Number))),
    ("image", None),
    ("mask", None),
    ("maskBlur", Some((settings::MASK_BLUR, Kind::Number))),
    ("maskedContent", Some((settings::MASKED_CONTENT, Kind::Content))),
    ("maskedPadding", None),
    ("denoise", None),
    ("exactSteps", None),
    ("prediction", None),
    ("zeroTerminalSnr", None),
    ("decoder", None),
    ("vaeTiling", None),
];

/// The option whose name in infotexts is [`settings::eta`].
const ETA: &str = "eta";

/// The settings of a recipe's extras, with the names that infotexts give them beside this sampler.
pub fn settings(sampler: &str) -> impl Iterator<Item = (&'static str, &'static str, Kind)> {
    OPTIONS.into_iter().filter_map(move |(name, setting)| {
        let (key, kind) = setting?;
        Some((name, if name == ETA { settings::eta(sampler) } else { key }, kind))
    })
}

/// The parameters of a picture from `GenerateOptions`.
pub fn params(options: &JsValue) -> Result<Params> {
    let fields = Fields::new(options, &OPTIONS.map(|(name, _)| name))?;
    let defaults = Params::default();
    let syntax = syntax(fields.text("promptSyntax")?.as_deref())?;
    Ok(Params {
        prompt: fields.text("prompt")?.unwrap_or_default(),
        negative_prompt: fields.text("negativePrompt")?.unwrap_or_default(),
        syntax,
        // Who writes prompts for A1111 expects its noise levels and its noise.
        tool: if syntax == Syntax::A1111 { Tool::A1111 } else { Tool::ComfyUi },
        keep_embeddings_whole: fields.truth("keepEmbeddingsWhole")?.unwrap_or(false),
        steps: fields.whole("steps")?.unwrap_or(defaults.steps),
        cfg: fields.number("cfg")?.map_or(defaults.cfg, |cfg| cfg as f32),
        cfg_rescale: fields.number("cfgRescale")?.map_or(defaults.cfg_rescale, |multiplier| multiplier as f32),
        guidance_start: fields.number("guidanceStart")?.unwrap_or(defaults.guidance_start),
        guidance_end: fields.number("guidanceEnd")?.unwrap_or(defaults.guidance_end),
        width: fields.whole("width")?.unwrap_or(defaults.width),
        height: fields.whole("height")?.unwrap_or(defaults.height),
        seed: fields.seed("seed")?.unwrap_or(defaults.seed),
        sampler: fields.text("sampler")?.map_or(Ok(defaults.sampler), |name| Sampler::from_name(&name))?,
        schedule: match fields.text("scheduler")? {
            None => defaults.schedule,
            Some(name) => Some(Schedule::from_name(&name)?),
        },
        batch: fields.whole("batchSize")?.unwrap_or(defaults.batch),
        clip_skip: fields.whole("clipSkip")?.unwrap_or(defaults.clip_skip),
        sampling: sampling(&fields)?,
        generator: fields.text("rng")?.map_or(Ok(Generator::Cpu), |name| Generator::from_name(&name))?,
        variation: variation(&fields)?,
        seed_delta: fields.seed("seedDelta")?.unwrap_or(0),
        init: super::init::init(&fields, syntax)?,
        prediction: fields.text("prediction")?.map(|name| prediction(&name)).transpose()?,
        zero_terminal_snr: fields.truth("zeroTerminalSnr")?,
        decoder: decoder(fields.text("decoder")?.as_deref())?,
        vae_tiling: vae_tiling(&fields)?,
    })
}

fn sampling(fields: &Fields) -> Result<Options> {
    let defaults = Options::default();
    Ok(Options {
        eta: fields.number("eta")?,
        s_noise: fields.number("sNoise")?.unwrap_or(defaults.s_noise),
        churn: fields.number("sChurn")?.unwrap_or(defaults.churn),
        churn_min: fields.number("sTmin")?.unwrap_or(defaults.churn_min),
        churn_max: fields.number("sTmax")?.unwrap_or(defaults.churn_max),
    })
}

fn decoder(name: Option<&str>) -> Result<Decoder> {
    let all = [Decoder::Vae, Decoder::Taesd];
    let Some(name) = name else { return Ok(Decoder::Vae) };
    let found = all.into_iter().find(|decoder| decoder_name(*decoder) == name);
    found.ok_or_else(|| bad("decoder", &format!("\"{name}\""), "vae or taesd"))
}

fn vae_tiling(fields: &Fields) -> Result<bool> {
    match fields.get("vaeTiling") {
        None => Ok(false),
        Some(value) if value.as_string().as_deref() == Some("auto") => Ok(false),
        Some(value) if value.as_bool() == Some(true) => Ok(true),
        Some(value) => Err(bad("vaeTiling", &shown(&value), "true or auto")),
    }
}

/// What JavaScript calls a decoder.
pub fn decoder_name(decoder: Decoder) -> &'static str {
    match decoder {
        Decoder::Vae => "vae",
        Decoder::Taesd => "taesd",
    }
}

fn variation(fields: &Fields) -> Result<Option<Variation>> {
    let strength = fields.number("variationStrength")?.unwrap_or(0.0) as f32;
    let seed = fields.seed("variationSeed")?.unwrap_or(0);
    Ok((strength != 0.0).then_some(Variation { seed, strength }))
}

fn prediction(name: &str) -> Result<Prediction> {
    match name {
        "epsilon" => Ok(Prediction::Epsilon),
        "v" => Ok(Prediction::V),
        other => Err(bad("prediction", &format!("\"{other}\""), "epsilon or v")),
    }
}

/// The grammar of prompts by its name.
pub fn syntax(name: Option<&str>) -> Result<Syntax> {
    match name {
        None | Some("comfy") => Ok(Syntax::Comfy),
        Some("a1111") => Ok(Syntax::A1111),
        Some(other) => Err(bad("promptSyntax", &format!("\"{other}\""), "comfy or a1111")),
    }
}

impl<'a> Fields<'a> {
    /// Checks that `options` is a plain object (or nothing) with no other names than `known`.
    pub fn new(options: &'a JsValue, known: &[&str]) -> Result<Self> {
        if !options.is_undefined() && !options.is_null() {
            let object =
                options.dyn_ref::<Object>().ok_or_else(|| bad("options", "something else", "a plain object"))?;
            for key in Object::keys(object) {
                let key = key.as_string().unwrap_or_default();
                if !known.contains(&key.as_str()) {
                    let shown: String = key.chars().take(60).collect();
                    let sentence = format!("there is no option \"{shown}\"; known are: {}", known.join(", "));
                    return Err(Error::new(Code::UnknownOption, sentence));
                }
            }
        }
        Ok(Self(options))
    }

    /// Whatever the field holds.
    pub fn value(&self, key: &str) -> Option<JsValue> {
        self.get(key)
    }

    fn get(&self, key: &str) -> Option<JsValue> {
        let value = Reflect::get(self.0, &key.into()).ok()?;
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    /// A string.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        let text = |value: JsValue| value.as_string().ok_or_else(|| bad(key, &shown(&value), "a string"));
        self.get(key).map(text).transpose()
    }

    /// A truth value, if there is one.
    pub fn truth(&self, key: &str) -> Result<Option<bool>> {
        let truth = |value: JsValue| value.as_bool().ok_or_else(|| bad(key, &shown(&value), "true or false"));
        self.get(key).map(truth).transpose()
    }

    /// The field is there.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A string that must be there.
    pub fn needed_text(&self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| bad(key, "missing", "a string"))
    }

    /// A number that must be there.
    pub fn needed_number(&self, key: &str) -> Result<f32> {
        self.number(key)?.map(|number| number as f32).ok_or_else(|| bad(key, "missing", "a number"))
    }

    /// A list that must be there.
    pub fn list(&self, key: &str) -> Result<Vec<JsValue>> {
        let value = self.get(key).unwrap_or(JsValue::UNDEFINED);
        let list = value.dyn_ref::<js_sys::Array>().map(|list| list.iter().collect());
        list.ok_or_else(|| bad(key, &shown(&value), "a list"))
    }

    /// A number, if there is one.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        let number = |value: JsValue| value.as_f64().ok_or_else(|| bad(key, &shown(&value), "a number"));
        self.get(key).map(number).transpose()
    }

    /// A whole number, if there is one.
    pub fn whole(&self, key: &str) -> Result<Option<usize>> {
        let whole = |number: f64| {
            let fits = number.fract() == 0.0 && (0.0..=1e9).contains(&number);
            fits.then_some(number as usize).ok_or_else(|| bad(key, &number.to_string(), "a whole number, not negative"))
        };
        self.number(key)?.map(whole).transpose()
    }

    /// A number, a BigInt, or a decimal string; −1 draws one.
    pub fn seed(&self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = match value.as_f64() {
            // Above 2^53 a number is not the one that was written: pass those as strings or BigInts.
            Some(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => format!("{number}"),
            Some(number) => format!("{number:?}"),
            None if value.is_bigint() => {
                value.unchecked_ref::<js_sys::BigInt>().to_string(10).map(String::from).unwrap_or_default()
            }
            None => value.as_string().unwrap_or_default().trim().to_string(),
        };
        if text == "-1" {
            return Ok(Some((js_sys::Math::random() * 4_294_967_296.0) as u64));
        }
        let expected =
            "a whole number from 0 to 18446744073709551615 (above 2^53 as a string or BigInt), or -1 for a random one";
        text.parse().map(Some).map_err(|_| bad(key, &shown(&value), expected))
    }
}

fn shown(value: &JsValue) -> String {
    let text = value.as_string().map(|text| format!("\"{text}\""));
    let text = text.or_else(|| value.as_f64().map(|number| number.to_string()));
    text.unwrap_or_else(|| format!("{value:?}")).chars().take(60).collect()
}

/// The error for a value that cannot be used.
pub fn bad(key: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::BadOption, format!("{key} is {found}; it must be {expected}"))
}
