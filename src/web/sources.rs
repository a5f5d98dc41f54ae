//! Files of the browser, and what `pkg/` downloads or keeps, as sources of bytes.

use std::rc::Rc;

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use crate::error::{Code, Error, Result};
use crate::files::source::past_the_end;
use crate::files::{LocalFuture, Source};

use super::errors::message_of;

/// Sources from an array of `{name, blob}` and `{name, size, read}`.
pub fn from_js(files: &Array) -> Result<Vec<Rc<dyn Source>>> {
    let source = |file: JsValue| -> Result<Rc<dyn Source>> {
        let field = |key: &str| Reflect::get(&file, &key.into()).unwrap_or(JsValue::UNDEFINED);
        let name = field("name").as_string().unwrap_or_else(|| "the file".to_string());
        if let Ok(blob) = field("blob").dyn_into::<Blob>() {
            return Ok(Rc::new(BlobSource { name, blob }));
        }
        match (field("read").dyn_into::<Function>(), field("size").as_f64()) {
            (Ok(read), Some(size)) => Ok(Rc::new(ReaderSource { name, size: size as u64, reader: file, read })),
            _ => Err(Error::new(Code::BadOption, format!("{name} is neither a File, a Blob nor a URL"))),
        }
    };
    files.iter().map(source).collect()
}

/// A `File` or `Blob`: slices are read as they are needed, the rest stays on disk.
struct BlobSource {
    name: String,
    blob: Blob,
}

impl Source for BlobSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.blob.size() as u64
    }

    fn is_local(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            let end = offset.saturating_add(length as u64);
            if end > self.size() {
                return Err(past_the_end(&self.name, offset, length, self.size()));
            }
            let failed = |e: JsValue| {
                let reason = message_of(&e);
                Error::new(
                    Code::Read,
                    format!(
                        "{} cannot be read ({reason}): was it changed, moved or removed? Choose it again",
                        self.name
                    ),
                )
            };
            let slice = self.blob.slice_with_f64_and_f64(offset as f64, end as f64).map_err(failed)?;
            let buffer = JsFuture::from(slice.array_buffer()).await.map_err(failed)?;
            Ok(Uint8Array::new(&buffer).to_vec())
        })
    }
}

/// What JavaScript reads on our behalf, `{name, size, read(offset, length)}`: a download, or a model in the browser's storage.
struct ReaderSource {
    name: String,
    size: u64,
    reader: JsValue,
    read: Function,
}

impl Source for ReaderSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            if offset.saturating_add(length as u64) > self.size {
                return Err(past_the_end(&self.name, offset, length, self.size));
            }
            // The reader's own sentence says which file and what happened.
            let failed = |e: JsValue| Error::new(Code::Read, message_of(&e));
            let promise: Promise = self
                .read
                .call2(&self.reader, &(offset as f64).into(), &(length as f64).into())
                .and_then(JsCast::dyn_into)
                .map_err(failed)?;
            let bytes: Uint8Array = JsFuture::from(promise).await.and_then(JsCast::dyn_into).map_err(failed)?;
            let bytes = bytes.to_vec();
            if bytes.len() != length {
                let sentence = format!("{} gave {} bytes where {length} were asked for", self.name, bytes.len());
                return Err(Error::new(Code::Read, sentence));
            }
            Ok(bytes)
        })
    }
}
