//! The JavaScript API: few classes, few methods, and JavaScript pulls. The only user of wasm_bindgen.
//!
//! `pkg/worker.js` owns these objects; what a page sees is `pkg/index.js`.

mod errors;
mod init;
mod library;
mod needs;
mod opening;
mod options;
mod preparing;
mod profile;
mod recipes;
mod sources;

use std::rc::Rc;

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::{Code, Error};
use crate::pipeline::StableDiffusion;
use crate::prompt::{Piece, Syntax, Warning, expand};

use errors::to_js;
use library::embedding_info;

/// Runs once when the module is loaded: panics become readable console messages.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// One loaded model.
#[wasm_bindgen]
pub struct Engine {
    sd: Option<Rc<std::cell::RefCell<StableDiffusion>>>,
}

/// One picture in the making.
#[wasm_bindgen]
pub struct Generation {
    sd: Rc<std::cell::RefCell<StableDiffusion>>,
    inner: crate::pipeline::Generation,
}

fn disposed() -> JsValue {
    to_js(Error::new(Code::Disposed, "this model was disposed: load it again"))
}

fn busy<E>(_: E) -> JsValue {
    to_js(Error::new(Code::Busy, "the model is busy with another call: wait for it"))
}

#[wasm_bindgen]
impl Engine {
    /// Reads a checkpoint's header and makes room for it. `files` are `{name, blob}` or `{name, size, read}`; several
    /// make a diffusers folder.
    pub async fn open(files: Array, options: JsValue) -> Result<Engine, JsValue> {
        let (device, options) = opening::options(&options).map_err(to_js)?;
        let sources = sources::from_js(&files).map_err(to_js)?;
        let sd = opening::open(device, sources, options).await.map_err(to_js)?;
        // A software adapter computes where the background is compiled, and browsers give that less of the processors.
        if let Some(gpu) = sd.gpu().filter(|gpu| !gpu.adapter().software) {
            preparing::compile_in_background(gpu);
        }
        Ok(Engine { sd: Some(Rc::new(sd.into())) })
    }

    fn sd(&self) -> Result<&Rc<std::cell::RefCell<StableDiffusion>>, JsValue> {
        self.sd.as_ref().ok_or_else(disposed)
    }

    /// Brings in a slice of the checkpoint; true while there is more.
    #[allow(clippy::await_holding_refcell_ref, reason = "another call meanwhile gets BUSY from try_borrow")]
    pub async fn load(&self) -> Result<bool, JsValue> {
        let sd = self.sd()?.clone();
        let mut sd = sd.try_borrow_mut().map_err(busy)?;
        sd.load().await.map_err(to_js)
    }

    /// Bytes loaded.
    #[wasm_bindgen(getter)]
    pub fn loaded(&self) -> Result<f64, JsValue> {
        Ok(self.sd()?.try_borrow().map_err(busy)?.loaded().0 as f64)
    }

    /// Bytes in all.
    #[wasm_bindgen(getter)]
    pub fn total(&self) -> Result<f64, JsValue> {
        Ok(self.sd()?.try_borrow().map_err(busy)?.loaded().1 as f64)
    }

    /// Numbers per token: the width an embedding must have.
    #[wasm_bindgen(getter, js_name = textWidth)]
    pub fn text_width(&self) -> Result<usize, JsValue> {
        Ok(self.sd()?.try_borrow().map_err(busy)?.text_width())
    }

    /// `{name, backend, f16, software, storage}` of the adapter, or of the CPU where there is none.
    pub fn adapter(&self) -> Result<Object, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        let Some(gpu) = sd.gpu() else {
            return Ok(object([
                ("name", "CPU".into()),
                ("backend", "cpu".into()),
                ("f16", false.into()),
                ("software", true.into()),
                ("storage", "f32".into()),
            ]));
        };
        let adapter = gpu.adapter();
        Ok(object([
            ("name", adapter.name.as_str().into()),
            ("backend", "webgpu".into()),
            ("f16", adapter.f16.into()),
            ("software", adapter.software.into()),
            ("storage", gpu.storage().name().into()),
        ]))
    }

    /// `{wasmBytes, gpuBytes, gpuPeakBytes}`: memory taken now, and the most that buffers took.
    pub fn memory(&self) -> Result<Object, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        let heap = core::arch::wasm32::memory_size::<0>() * 65536;
        let (now, peak) = sd.gpu().map_or((0, 0), |gpu| (gpu.allocated(), gpu.peak()));
        Ok(object([
            ("wasmBytes", (heap as f64).into()),
            ("gpuBytes", (now as f64).into()),
            ("gpuPeakBytes", (peak as f64).into()),
        ]))
    }

    /// Adds the embeddings of a file; returns what is known of each.
    #[wasm_bindgen(js_name = addEmbedding)]
    pub fn add_embedding(&self, file_name: &str, bytes: &[u8]) -> Result<Array, JsValue> {
        let mut sd = self.sd()?.try_borrow_mut().map_err(busy)?;
        let added = sd.add_embedding(file_name, bytes).map_err(to_js)?;
        Ok(added.iter().map(|embedding| JsValue::from(embedding_info(&embedding.name, embedding))).collect())
    }

    /// Takes an embedding out; false if there is none of that name.
    #[wasm_bindgen(js_name = removeEmbedding)]
    pub fn remove_embedding(&self, name: &str) -> Result<bool, JsValue> {
        Ok(self.sd()?.try_borrow_mut().map_err(busy)?.remove_embedding(name))
    }

    /// What is known of each embedding.
    pub fn embeddings(&self) -> Result<Array, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        Ok(sd.library().iter().map(|(name, embedding)| JsValue::from(embedding_info(name, embedding))).collect())
    }

    /// Opens a separate VAE file, `[{name, blob}]` or `[{name, size, read}]`; `load` then brings it in. Returns what it is:
    /// `vae` or `taesd`.
    #[wasm_bindgen(js_name = openVae)]
    #[allow(clippy::await_holding_refcell_ref, reason = "another call meanwhile gets BUSY from try_borrow")]
    pub async fn open_vae(&self, files: Array) -> Result<String, JsValue> {
        let mut sources = sources::from_js(&files).map_err(to_js)?;
        let source = sources
            .pop()
            .filter(|_| sources.is_empty())
            .ok_or_else(|| to_js(Error::new(Code::BadOption, "a VAE is one file: choose a single .safetensors")))?;
        let sd = self.sd()?.clone();
        let mut sd = sd.try_borrow_mut().map_err(busy)?;
        let decoder = sd.open_vae(source).await.map_err(to_js)?;
        Ok(options::decoder_name(decoder).to_string())
    }

    /// Gives up a separate VAE that is not fully loaded.
    #[wasm_bindgen(js_name = dropVae)]
    pub fn drop_vae(&self) -> Result<(), JsValue> {
        self.sd()?.try_borrow_mut().map_err(busy)?.drop_vae();
        Ok(())
    }

    /// Hashes a slice of a single-file model; true while there is more. Pictures carry the hash from then on.
    #[allow(clippy::await_holding_refcell_ref, reason = "another call meanwhile gets BUSY from try_borrow")]
    pub async fn hash(&self) -> Result<bool, JsValue> {
        let sd = self.sd()?.clone();
        let mut sd = sd.try_borrow_mut().map_err(busy)?;
        sd.hash().await.map_err(to_js)
    }

    /// Bytes of the file that were hashed so far; 0 once the hash is known.
    #[wasm_bindgen(getter)]
    pub fn hashed(&self) -> Result<f64, JsValue> {
        Ok(self.sd()?.try_borrow().map_err(busy)?.hashed() as f64)
    }

    /// sha256 of the file in 64 hex digits, once [`hash`](Self::hash) has nothing more to do.
    #[wasm_bindgen(getter)]
    pub fn sha256(&self) -> Result<Option<String>, JsValue> {
        Ok(self.sd()?.try_borrow().map_err(busy)?.model().sha256.clone())
    }

    /// Norms, nearest words and budget of an embedding.
    #[wasm_bindgen(js_name = embeddingFacts)]
    pub fn embedding_facts(&self, name: &str) -> Result<Object, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        sd.embedding_facts(name).map(|facts| library::facts(&facts)).map_err(to_js)
    }

    /// Makes an embedding of words or of others, and adds it; see `CraftSpec` in `index.d.ts`.
    #[wasm_bindgen(js_name = craftEmbedding)]
    pub fn craft_embedding(&self, spec: &JsValue) -> Result<Object, JsValue> {
        let (name, craft) = library::craft(spec).map_err(to_js)?;
        let mut sd = self.sd()?.try_borrow_mut().map_err(busy)?;
        let made = sd.craft_embedding(&name, &craft).map_err(to_js)?;
        Ok(embedding_info(&made.name, &made))
    }

    /// An embedding as a file: `safetensors` (kohya's layout) or `pt` (A1111's).
    #[wasm_bindgen(js_name = exportEmbedding)]
    pub fn export_embedding(&self, name: &str, format: &str) -> Result<Vec<u8>, JsValue> {
        self.sd()?.try_borrow().map_err(busy)?.export_embedding(name, format).map_err(to_js)
    }

    /// `{windows, tokens, vectors, warnings, used, calls, chosen}` of a prompt: what the text encoder would see, where in the
    /// prompt embeddings are called, and what of a dynamic prompt stays with `seed`.
    pub fn tokens(&self, prompt: &str, prompt_syntax: Option<String>, seed: Option<u64>) -> Result<Object, JsValue> {
        let sd = self.sd()?.try_borrow().map_err(busy)?;
        let syntax = options::syntax(prompt_syntax.as_deref()).map_err(to_js)?;
        let scenario = sd.read(prompt, syntax);
        // Where a prompt changes over the steps, the longest of what it says.
        let end = |piece: &Piece| matches!(piece, Piece::Id(crate::prompt::BOS | crate::prompt::EOS));
        let sizes = scenario.parts.iter().flat_map(|part| &part.spans).map(|span| {
            let tokens = span.parsed.windows.iter().flat_map(|window| &window.tokens);
            let pieces: Vec<&Piece> = tokens.map(|token| &token.piece).filter(|piece| !end(piece)).collect();
            let vectors = pieces.iter().filter(|piece| matches!(piece, Piece::Row { .. })).count();
            (span.parsed.windows.len(), pieces.len(), vectors)
        });
        let (windows, tokens, vectors) = sizes.max().unwrap_or((1, 0, 0));
        let calls = sd.calls(prompt, syntax);
        let chosen = seed.filter(|_| syntax == Syntax::Comfy).map(|seed| expand(prompt, seed));
        Ok(object([
            ("windows", windows.into()),
            ("tokens", tokens.into()),
            ("vectors", vectors.into()),
            ("chosen", chosen.filter(|chosen| chosen != prompt).into()),
            ("calls", library::calls(prompt, &calls, sd.library()).into()),
            ("warnings", warnings_info(&scenario.warnings).into()),
            ("used", scenario.used.iter().map(JsValue::from).collect::<Array>().into()),
        ]))
    }

    /// Begins a picture; `options` is a plain object, see `GenerateOptions` in `index.d.ts`.
    #[allow(clippy::await_holding_refcell_ref, reason = "another call meanwhile gets BUSY from try_borrow_mut")]
    pub async fn start(&self, options: JsValue) -> Result<Generation, JsValue> {
        let params = options::params(&options).map_err(to_js)?;
        let shared = self.sd()?.clone();
        let sd = shared.try_borrow().map_err(busy)?;
        let inner = sd.start(&params).await.map_err(to_js)?;
        drop(sd);
        Ok(Generation { sd: shared, inner })
    }

    /// Begins a second pass at a larger size over what `first` made.
    #[allow(clippy::await_holding_refcell_ref, reason = "only shared: another call may read meanwhile")]
    pub async fn enlarge(&self, first: &Generation, options: JsValue) -> Result<Generation, JsValue> {
        let hires = init::hires(&options).map_err(to_js)?;
        let shared = self.sd()?.clone();
        let sd = shared.try_borrow().map_err(busy)?;
        let inner = sd.enlarge(&first.inner, &hires).await.map_err(to_js)?;
        drop(sd);
        Ok(Generation { sd: shared, inner })
    }

    /// Gives the GPU's memory back. Later calls throw `DISPOSED`.
    pub fn dispose(&mut self) {
        self.sd = None;
    }
}

#[wasm_bindgen]
impl Generation {
    /// Steps in all.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> usize {
        self.inner.progress().steps
    }

    /// Steps done.
    #[wasm_bindgen(getter)]
    pub fn done(&self) -> usize {
        self.inner.progress().done
    }

    /// The noise level that the latents are at now.
    #[wasm_bindgen(getter)]
    pub fn sigma(&self) -> f32 {
        self.inner.progress().sigma
    }

    /// The seed, as a decimal string: it may be larger than JavaScript's exact numbers.
    #[wasm_bindgen(getter)]
    pub fn seed(&self) -> String {
        self.inner.params().seed.to_string()
    }

    /// Pixels.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.inner.params().width
    }

    /// Pixels.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.inner.params().height
    }

    /// `{code, message}` of everything in the prompts that could not be done.
    #[wasm_bindgen(getter)]
    pub fn warnings(&self) -> Array {
        warnings_info(self.inner.warnings())
    }

    /// One denoising step; true while there are more.
    pub async fn step(&mut self) -> Result<bool, JsValue> {
        self.inner.step().await.map_err(to_js)
    }

    /// Pictures made at once.
    #[wasm_bindgen(getter)]
    pub fn pictures(&self) -> usize {
        self.inner.params().batch
    }

    /// The seed of a picture, counted from 0, and that of its variation if there is one, as decimal strings.
    #[wasm_bindgen(js_name = seedsOf)]
    pub fn seeds_of(&self, picture: usize) -> Vec<String> {
        let (seed, variation) = self.inner.seeds_of(picture);
        [Some(seed), variation].into_iter().flatten().map(|seed| seed.to_string()).collect()
    }

    /// What the picture is going to be, `{width, height, data}` with RGBA bytes: a pixel for every 8×8, or by `taesd` in full.
    #[allow(clippy::await_holding_refcell_ref, reason = "another call meanwhile gets BUSY from try_borrow_mut")]
    pub async fn preview(&self, taesd: bool) -> Result<Object, JsValue> {
        let sd = self.sd.try_borrow().map_err(busy)?;
        let preview = if taesd { self.inner.preview_by_taesd(&sd).await } else { self.inner.preview(&sd).await };
        let image = preview.map_err(to_js)?;
        Ok(object([
            ("width", image.width.into()),
            ("height", image.height.into()),
            ("data", js_sys::Uint8ClampedArray::from(&image.rgba[..]).into()),
        ]))
    }

    /// A picture, counted from 0, as the latents now are: the bytes of a PNG that carries its recipe.
    #[allow(clippy::await_holding_refcell_ref, reason = "another call meanwhile gets BUSY from try_borrow_mut")]
    pub async fn image(&self, picture: usize) -> Result<Vec<u8>, JsValue> {
        let sd = self.sd.try_borrow().map_err(busy)?;
        let image = self.inner.image_of(picture, &sd).await.map_err(to_js)?;
        image.png_with(&self.inner.recipe_of(picture, &sd)).map_err(to_js)
    }
}

fn object<const N: usize>(entries: [(&str, JsValue); N]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        // Setting a plain property of a fresh object cannot fail.
        let _ = Reflect::set(&object, &key.into(), &value);
    }
    object
}

fn warnings_info(warnings: &[Warning]) -> Array {
    let info =
        |warning: &Warning| object([("code", warning.code.into()), ("message", warning.message.as_str().into())]);
    warnings.iter().map(|warning| JsValue::from(info(warning))).collect()
}
