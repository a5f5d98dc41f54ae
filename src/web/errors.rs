//! Our errors as JavaScript errors.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

use crate::error::Error;

/// A JavaScript `Error` with our sentence as `message` and our code's name as `code`.
pub fn to_js(error: Error) -> JsValue {
    let js = js_sys::Error::new(&error.message);
    // Setting a plain property of a fresh object cannot fail.
    let _ = Reflect::set(&js, &"code".into(), &error.code.name().into());
    js.into()
}

/// What a JavaScript exception says.
pub fn message_of(exception: &JsValue) -> String {
    let message = Reflect::get(exception, &"message".into()).ok().and_then(|message| message.as_string());
    message.or_else(|| exception.as_string()).unwrap_or_else(|| "unknown reason".to_string())
}
