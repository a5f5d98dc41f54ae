//! Plain objects from JavaScript: an unknown name is an error, not a silence.

use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Code, Error, Result};
use crate::gpu::{self, Storage};
use crate::pipeline::{
    Decoder, ETA, Params, SEED_DELTA, SIGMA_CHURN, SIGMA_NOISE, SIGMA_TMAX, SIGMA_TMIN, VARIATION_SEED,
    VARIATION_STRENGTH,
};
use crate::prompt::Syntax;
use crate::samplers::{Generator, Options, Sampler, Schedule, Tool, Variation};

/// The fields of an options object whose names were checked.
pub struct Fields<'a>(&'a JsValue);

const GENERATE: [&str; 23] = [
    "prompt",
    "negativePrompt",
    "steps",
    "cfg",
    "width",
    "height",
    "seed",
    "sampler",
    "scheduler",
    "clipSkip",
    "promptSyntax",
    "keepEmbeddingsWhole",
    "rng",
    "variationSeed",
    "variationStrength",
    "seedDelta",
    "eta",
    "sNoise",
    "sChurn",
    "sTmin",
    "sTmax",
    "decoder",
    "vaeTiling",
];

/// Settings of the noise and the sampler, and what they are called in A1111's infotexts.
pub const SETTINGS: [(&str, &str); 8] = [
    ("variationSeed", VARIATION_SEED),
    ("variationStrength", VARIATION_STRENGTH),
    ("seedDelta", SEED_DELTA),
    ("eta", ETA),
    ("sNoise", SIGMA_NOISE),
    ("sChurn", SIGMA_CHURN),
    ("sTmin", SIGMA_TMIN),
    ("sTmax", SIGMA_TMAX),
];

/// Where a model is computed.
#[derive(Clone, Copy, PartialEq)]
pub enum Device {
    /// The GPU, or the CPU where there is none and the model is small.
    Auto,
    /// The GPU.
    Webgpu,
    /// The CPU.
    Cpu,
}

/// Where and how a model is opened, from `LoadOptions`.
pub fn open(options: &JsValue) -> Result<(Device, gpu::Options)> {
    let fields = Fields::new(options, &["device", "dtype", "powerPreference"])?;
    let device = match fields.text("device")?.as_deref() {
        None | Some("auto") => Device::Auto,
        Some("webgpu") => Device::Webgpu,
        Some("cpu") => Device::Cpu,
        Some(other) => return Err(bad("device", &format!("\"{other}\""), "auto, webgpu or cpu")),
    };
    let storage = match fields.text("dtype")?.as_deref() {
        None | Some("auto") => None,
        Some("f16") => Some(Storage::F16),
        Some("packed") => Some(Storage::Packed),
        Some("f32") => Some(Storage::F32),
        Some(other) => {
            let sentence = format!("dtype is \"{other}\"; it must be auto, f16, packed or f32");
            return Err(Error::new(Code::BadOption, sentence));
        }
    };
    let low_power = fields.text("powerPreference")?.as_deref() == Some("low-power");
    Ok((device, gpu::Options { storage, low_power, software: None }))
}

/// The parameters of a picture from `GenerateOptions`.
pub fn params(options: &JsValue) -> Result<Params> {
    let fields = Fields::new(options, &GENERATE)?;
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
        width: fields.whole("width")?.unwrap_or(defaults.width),
        height: fields.whole("height")?.unwrap_or(defaults.height),
        seed: fields.seed("seed")?.unwrap_or(defaults.seed),
        sampler: fields.text("sampler")?.map_or(Ok(defaults.sampler), |name| Sampler::from_name(&name))?,
        schedule: match fields.text("scheduler")? {
            None => defaults.schedule,
            Some(name) => Some(Schedule::from_name(&name)?),
        },
        clip_skip: fields.whole("clipSkip")?.unwrap_or(defaults.clip_skip),
        sampling: sampling(&fields)?,
        generator: match fields.text("rng")? {
            Some(name) if nvidia(&name)? => Generator::Nvidia,
            _ => Generator::Cpu,
        },
        variation: variation(&fields)?,
        seed_delta: fields.seed("seedDelta")?.unwrap_or(0),
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

/// Whose random numbers: PyTorch's on an NVIDIA GPU instead of on a CPU.
pub fn nvidia(name: &str) -> Result<bool> {
    match name {
        "cpu" => Ok(false),
        "nv" => Ok(true),
        other => Err(bad("rng", &format!("\"{other}\""), "cpu or nv")),
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
