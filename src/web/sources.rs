//! Files, folders and URLs of the browser as sources of bytes.

use std::rc::Rc;

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Headers, RequestInit, Response};

use crate::error::{Code, Error, Result};
use crate::files::source::past_the_end;
use crate::files::{LocalFuture, Source};

use super::errors::message_of;

/// Sources from an array of `{name, blob}` and `{name, url}`.
pub async fn from_js(files: &Array) -> Result<Vec<Rc<dyn Source>>> {
    let mut sources: Vec<Rc<dyn Source>> = Vec::new();
    for file in files.iter() {
        let field = |key: &str| Reflect::get(&file, &key.into()).unwrap_or(JsValue::UNDEFINED);
        let name = field("name").as_string().unwrap_or_else(|| "the file".to_string());
        if let Some(url) = field("url").as_string() {
            sources.push(Rc::new(UrlSource::open(name, url).await?));
        } else if let Ok(blob) = field("blob").dyn_into::<Blob>() {
            sources.push(Rc::new(BlobSource { name, blob }));
        } else {
            return Err(Error::new(Code::BadOption, format!("{name} is neither a File, a Blob nor a URL")));
        }
    }
    Ok(sources)
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

/// A URL whose server answers range requests.
struct UrlSource {
    name: String,
    url: String,
    size: u64,
}

impl UrlSource {
    /// Asks for the first byte, which tells the size and whether the server knows ranges.
    async fn open(name: String, url: String) -> Result<Self> {
        let response = fetch_range(&name, &url, 0, 1).await?;
        let range = response.headers().get("content-range").ok().flatten();
        let size = range.as_deref().and_then(|range| range.rsplit('/').next()?.parse().ok());
        let Some(size) = size else {
            let sentence = format!(
                "the server of {name} does not say how large the file is: it must answer range requests and expose Content-Range (status {})",
                response.status()
            );
            return Err(Error::new(Code::Read, sentence));
        };
        Ok(Self { name, url, size })
    }
}

impl Source for UrlSource {
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
            if length == 0 {
                return Ok(Vec::new());
            }
            let response = fetch_range(&self.name, &self.url, offset, length).await?;
            let failed = |e: JsValue| Error::new(Code::Read, format!("{} broke off: {}", self.name, message_of(&e)));
            let buffer = JsFuture::from(response.array_buffer().map_err(failed)?).await.map_err(failed)?;
            let bytes = Uint8Array::new(&buffer).to_vec();
            if bytes.len() != length {
                let sentence =
                    format!("the server of {} sent {} bytes where {length} were asked for", self.name, bytes.len());
                return Err(Error::new(Code::Read, sentence));
            }
            Ok(bytes)
        })
    }
}

async fn fetch_range(name: &str, url: &str, offset: u64, length: usize) -> Result<Response> {
    let failed = |e: JsValue| Error::new(Code::Read, format!("{name} cannot be fetched: {}", message_of(&e)));
    let headers = Headers::new().map_err(failed)?;
    headers.set("Range", &format!("bytes={offset}-{}", offset + length as u64 - 1)).map_err(failed)?;
    let init = RequestInit::new();
    init.set_headers(&headers);
    let global = js_sys::global();
    let fetch = Reflect::get(&global, &"fetch".into()).map_err(failed)?;
    let fetch: js_sys::Function = fetch.dyn_into().map_err(failed)?;
    let promise: js_sys::Promise = fetch.call2(&global, &url.into(), &init).map_err(failed)?.unchecked_into();
    let response: Response = JsFuture::from(promise).await.map_err(failed)?.unchecked_into();
    match response.status() {
        206 => Ok(response),
        200 => Err(Error::new(
            Code::Read,
            format!("the server of {name} does not answer range requests: download the file and choose it from disk"),
        )),
        status => Err(Error::new(Code::Read, format!("{name} cannot be fetched: the server answered {status}"))),
    }
}
