//! What happens before the first step of a picture: kernels are compiled, by the browser in the background, and perhaps measured.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Map, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::gpu::{Count, Gpu, Preparing, Table};

use super::{Engine, busy};

#[wasm_bindgen]
impl Engine {
    /// From now on `listener(what, done, total)` hears of what is prepared before a picture: `kernels` that are compiled, and
    /// what is measured (`measure`).
    pub fn listen(&self, listener: Function) -> Result<(), JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        if let Some(gpu) = sd.gpu() {
            listen(gpu, listener);
        }
        Ok(())
    }

    /// What measurements must be of to be used here; `undefined` where none are wanted, as on software adapters.
    #[wasm_bindgen(js_name = tunedFor)]
    pub fn tuned_for(&self) -> Result<Option<String>, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        Ok(sd.gpu().filter(|gpu| !gpu.adapter().software).map(Gpu::tuned_for))
    }

    /// From now on kernels are measured before the first picture of a size, but for those that are known from an earlier visit:
    /// what [`measurements`](Self::measurements) gave then. What is none of ours, or of another device, is not used.
    pub fn tune(&self, known: Option<String>) -> Result<(), JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        let Some(gpu) = sd.gpu() else { return Ok(()) };
        if let Some(table) = known.and_then(|text| Table::from_json(&text)) {
            gpu.use_table(table);
        }
        gpu.set_measuring(true);
        Ok(())
    }

    /// What was measured so far, as text; `undefined` if nothing was.
    pub fn measurements(&self) -> Result<Option<String>, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        let table = sd.gpu().filter(|gpu| gpu.measuring()).map(Gpu::table);
        Ok(table.filter(|table| !table.variants.is_empty()).map(|table| table.to_json()))
    }
}

/// Tells JavaScript of everything that is prepared: `listener(what, done, total)`.
fn listen(gpu: &Gpu, listener: Function) {
    gpu.listen(Rc::new(move |what, done, total| {
        let what = match what {
            Preparing::Measuring => "measure",
            Preparing::Kernels => "kernels",
        };
        // A listener that throws must not end the picture.
        let _ = listener.call3(&JsValue::NULL, &what.into(), &done.into(), &total.into());
    }));
}

/// Has pipelines made in the background, many at once. wgpu only knows `createComputePipeline`, whose pipelines are compiled one after the
/// other when they are first used. So the device gets one that finds out what would be asked for, and then has it.
pub fn compile_in_background(gpu: &Gpu) {
    let Some(device) = gpu.raw_device().map(|device| device.unchecked_ref::<Object>().clone()) else { return };
    let method = |name: &str| Reflect::get(&device, &name.into()).ok()?.dyn_into::<Function>().ok();
    let (Some(create), Some(create_async)) = (method(CREATE), method("createComputePipelineAsync")) else { return };
    let maker = Rc::new(Maker {
        device: device.clone(),
        create,
        create_async,
        noting: Cell::new(false),
        noted: RefCell::default(),
        made: Map::new(),
    });
    let asked = maker.clone();
    let instead = Closure::<dyn Fn(JsValue) -> Result<JsValue, JsValue>>::new(move |descriptor| asked.ask(descriptor));
    if !Reflect::set(&device, &CREATE.into(), instead.as_ref()).unwrap_or(false) {
        return;
    }
    gpu.set_background(Rc::new(move |ask, count| {
        // The device calls it as long as it lives.
        let _ = &instead;
        maker.noting.set(true);
        ask();
        maker.noting.set(false);
        let maker = maker.clone();
        Box::pin(async move { maker.make(count).await })
    }));
}

const CREATE: &str = "createComputePipeline";

struct Maker {
    device: Object,
    create: Function,
    create_async: Function,
    /// Descriptors are only noted.
    noting: Cell<bool>,
    noted: RefCell<Vec<JsValue>>,
    /// Pipelines by their shader modules, each until it is asked for.
    made: Map,
}

impl Maker {
    /// What `createComputePipeline` answers.
    fn ask(&self, descriptor: JsValue) -> Result<JsValue, JsValue> {
        if self.noting.get() {
            self.noted.borrow_mut().push(descriptor);
            return Ok(Object::new().into());
        }
        let module = module(&descriptor)?;
        let made = self.made.get(&module);
        if made.is_undefined() {
            return self.create.call1(&self.device, &descriptor);
        }
        self.made.delete(&module);
        Ok(made)
    }

    /// Makes what was noted. What does not work is left out: whoever then asks for it hears why.
    async fn make(&self, count: Count) {
        let begin = |descriptor: JsValue| {
            let promise = self.create_async.call1(&self.device, &descriptor).ok()?.dyn_into::<Promise>().ok()?;
            Some((module(&descriptor).ok()?, JsFuture::from(promise)))
        };
        let begun: Vec<_> = self.noted.take().into_iter().map(begin).collect();
        let total = begun.len();
        for (i, begun) in begun.into_iter().enumerate() {
            if let Some((module, pipeline)) = begun {
                if let Ok(pipeline) = pipeline.await {
                    self.made.set(&module, &pipeline);
                }
            }
            count(i + 1, total);
        }
    }
}

fn module(descriptor: &JsValue) -> Result<JsValue, JsValue> {
    Reflect::get(&Reflect::get(descriptor, &"compute".into())?, &"module".into())
}
