//! Where a model is opened: on the GPU or on the CPU.

use std::rc::Rc;

use wasm_bindgen::JsValue;

use crate::error::{Code, Error, Result};
use crate::files::Source;
use crate::gpu::{Options, Storage};
use crate::pipeline::StableDiffusion;

use super::options::{Fields, bad};

/// Where a model is computed.
#[derive(Clone, Copy, PartialEq)]
pub enum Device {
    /// The GPU, or the CPU where there is none.
    Auto,
    /// The GPU.
    Webgpu,
    /// The CPU.
    Cpu,
}

/// Opens a model there.
///
/// # Errors
/// As for [`StableDiffusion::open`].
pub async fn open(device: Device, sources: Vec<Rc<dyn Source>>, options: Options) -> Result<StableDiffusion> {
    if device == Device::Cpu {
        return StableDiffusion::open_on_cpu(sources).await;
    }
    match StableDiffusion::open(sources.clone(), options).await {
        Err(error) if error.code == Code::NoGpu && device == Device::Auto => {
            let opened = StableDiffusion::open_on_cpu(sources).await;
            opened.map_err(|refusal| match refusal.code {
                Code::TooLarge => {
                    Error::new(Code::NoGpu, format!("this browser gives no WebGPU adapter, and {}", refusal.message))
                }
                _ => refusal,
            })
        }
        opened => opened,
    }
}

/// What `load` was told of it.
///
/// # Errors
/// [`Code::UnknownOption`] and [`Code::BadOption`].
pub fn options(options: &JsValue) -> Result<(Device, Options)> {
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
    Ok((device, Options { storage, low_power, ..Options::default() }))
}
