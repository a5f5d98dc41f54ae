//! A picture to start from, as JavaScript gives it.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use crate::error::Result;
use crate::pipeline::{Hires, Image, Init, Picture, Upscaler};

use super::options::{Fields, bad};

/// What A1111 runs of a picture that is started from, unless told otherwise.
const DENOISE: f64 = 0.75;
/// The same for its second pass.
const HIRES_DENOISE: f64 = 0.7;

/// `image`, `mask`, `denoise` and `exactSteps` of the options. Pictures are `{width, height, data}` with four bytes a pixel,
/// which `pkg/pictures.js` makes of whatever a page has.
pub fn init(fields: &Fields) -> Result<Option<Init>> {
    let Some(image) = fields.value("image") else {
        if let Some(name) = ["mask", "denoise"].into_iter().find(|name| fields.has(name)) {
            return Err(bad(name, "given without an image", "left out, or come with an image to start from"));
        }
        return Ok(None);
    };
    let mask = fields.value("mask").map(|mask| pixels("mask", &mask)).transpose()?;
    Ok(Some(Init {
        picture: Picture::Pixels(pixels("image", &image)?),
        denoise: fields.number("denoise")?.unwrap_or(DENOISE),
        // White is painted anew.
        mask: mask.map(|mask| mask.rgba.chunks_exact(4).map(|pixel| f32::from(pixel[0]) / 255.0).collect()),
        exact_steps: fields.truth("exactSteps")?.unwrap_or(false),
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

/// A second pass from an object `{scale, upscaler, steps, denoise}`.
pub fn hires(options: &JsValue) -> Result<Hires> {
    let fields = Fields::new(options, &["scale", "upscaler", "steps", "denoise"])?;
    Ok(Hires {
        scale: fields.number("scale")?.unwrap_or(2.0),
        upscaler: fields.text("upscaler")?.map_or(Ok(Upscaler::default()), |name| Upscaler::from_name(&name))?,
        steps: fields.whole("steps")?,
        denoise: fields.number("denoise")?.unwrap_or(HIRES_DENOISE),
    })
}
