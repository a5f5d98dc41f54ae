//! Kernels are timed.

use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use crate::error::{Code, Error};
use crate::gpu::{Gpu, Timed};
use crate::pipeline::StableDiffusion;

use super::errors::to_js;
use super::{Engine, busy, object};

fn gpu(sd: &StableDiffusion) -> Result<Gpu, JsValue> {
    let sentence = "profile times the GPU's kernels, and this model is computed on the CPU: leave it out";
    sd.gpu().cloned().ok_or_else(|| to_js(Error::new(Code::BadOption, sentence)))
}

#[wasm_bindgen]
impl Engine {
    /// From now on every kernel is timed by itself, or no longer.
    #[wasm_bindgen(js_name = setProfiling)]
    pub fn set_profiling(&self, on: bool) -> Result<(), JsValue> {
        gpu(&*self.sd()?.try_borrow().map_err(busy)?)?.set_profiling(on).map_err(to_js)
    }

    /// What was timed since: `KernelTime[]`, see `index.d.ts`.
    pub async fn profile(&self) -> Result<Array, JsValue> {
        let gpu = gpu(&*self.sd()?.try_borrow().map_err(busy)?)?;
        let rows = gpu.profile().await.map_err(to_js)?;
        Ok(rows.iter().map(|row| JsValue::from(kernel_time(row))).collect())
    }
}

fn kernel_time(row: &Timed) -> Object {
    object([
        ("plan", row.plan.into()),
        ("class", row.class.into()),
        ("kernel", row.kernel.into()),
        ("shape", row.shape.iter().map(|&size| JsValue::from(size)).collect::<Array>().into()),
        ("dispatches", row.dispatches.into()),
        ("seconds", row.seconds.into()),
        ("flops", (row.flops as f64).into()),
        ("bytes", (row.bytes as f64).into()),
    ])
}
