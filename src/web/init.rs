//! A picture to start from, as JavaScript gives it.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use crate::error::Result;
use crate::pipeline::{Hires, Image, Init, Mask, MaskedContent, Own, Picture, Upscaler};
use crate::prompt::Syntax;
use crate::samplers::{Sampler, Schedule};

use super::options::{Fields, bad};

/// What A1111 runs of a picture that is started from, unless told otherwise.
const DENOISE: f64 = 0.75;
/// How far A1111 blurs a mask, unless told otherwise; ComfyUI does not.
const MASK_BLUR: f64 = 4.0;

/// `image`, `mask`, `maskBlur`, `maskedContent`, `maskedPadding`, `denoise` and `exactSteps` of the options. Pictures are `{width, height, data}` with four bytes a pixel,
/// which `pkg/pictures.js` makes of whatever a page has.
pub fn init(fields: &Fields, syntax: Syntax) -> Result<Option<Init>> {
    let Some(image) = fields.value("image") else {
        if let Some(name) = ["mask", "denoise"].into_iter().find(|name| fields.has(name)) {
            return Err(bad(name, "given without an image", "left out, or come with an image to start from"));
        }
        return Ok(None);
    };
    Ok(Some(Init {
        picture: Picture::Pixels(pixels("image", &image)?),
        denoise: fields.number("denoise")?.unwrap_or(DENOISE),
        mask: mask(fields, syntax)?,
        exact_steps: fields.truth("exactSteps")?.unwrap_or(false),
    }))
}

fn mask(fields: &Fields, syntax: Syntax) -> Result<Option<Mask>> {
    let Some(mask) = fields.value("mask") else {
        if let Some(name) = ["maskBlur", "maskedContent", "maskedPadding"].into_iter().find(|name| fields.has(name)) {
            return Err(bad(name, "given without a mask", "left out, or come with a mask over the image"));
        }
        return Ok(None);
    };
    let usual = if syntax == Syntax::A1111 { MASK_BLUR } else { 0.0 };
    let content = fields.text("maskedContent")?.map(|name| MaskedContent::from_name(&name)).transpose()?;
    Ok(Some(Mask {
        // White is painted anew.
        pixels: pixels("mask", &mask)?.rgba.chunks_exact(4).map(|pixel| f32::from(pixel[0]) / 255.0).collect(),
        blur: fields.number("maskBlur")?.unwrap_or(usual),
        content: content.unwrap_or_default(),
        only_masked: fields.whole("maskedPadding")?,
    }))
}

fn pixels(key: &str, value: &JsValue) -> Result<Image> {
    let fields = Fields::new(value, &["width", "height", "data"])?;
    let size = |name: &str| Ok(fields.whole(name)?.unwrap_or(0));
    let data = fields.value("data").unwrap_or(JsValue::UNDEFINED);
    let (width, height) = (size("width")?, size("height")?);
    let rgba = Uint8Array::new(&data).to_vec();
    if rgba.len() as u64 != width as u64 * height as u64 * 4 {
        return Err(bad(
            key,
            &format!("{width}×{height} with {} bytes", rgba.len()),
            "a picture with four bytes a pixel",
        ));
    }
    Ok(Image { width, height, rgba })
}

/// What a second pass is told.
const HIRES: [&str; 10] =
    ["scale", "upscaler", "steps", "denoise", "prompt", "negativePrompt", "seed", "sampler", "scheduler", "cfg"];

/// A second pass from `Hires`.
pub fn hires(options: &JsValue) -> Result<Hires> {
    let fields = Fields::new(options, &HIRES)?;
    let usual = Hires::default();
    Ok(Hires {
        scale: fields.number("scale")?.unwrap_or(usual.scale),
        upscaler: fields.text("upscaler")?.map_or(Ok(usual.upscaler), |name| Upscaler::from_name(&name))?,
        steps: fields.whole("steps")?,
        denoise: fields.number("denoise")?.unwrap_or(usual.denoise),
        own: Own {
            prompt: fields.text("prompt")?,
            negative_prompt: fields.text("negativePrompt")?,
            seed: fields.seed("seed")?,
            sampler: fields.text("sampler")?.map(|name| Sampler::from_name(&name)).transpose()?,
            schedule: fields.text("scheduler")?.map(|name| Schedule::from_name(&name)).transpose()?,
            cfg: fields.number("cfg")?.map(|cfg| cfg as f32),
        },
    })
}
