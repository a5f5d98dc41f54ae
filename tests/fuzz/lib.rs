//! The rooms of Wordbrush that read what comes from outside, and none of the others: they need no GPU and no second
//! opinion, so the fuzz targets build in minutes, and the sanitizers watch only what is fuzzed. `tests/layering.rs` holds
//! these rooms to what they may use; what of them is used nowhere here is used by the others.
#![allow(dead_code)]

#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/files/mod.rs"]
pub mod files;
#[path = "../../src/prompt/mod.rs"]
pub mod prompt;
#[path = "../../src/recipe/mod.rs"]
pub mod recipe;

pub use error::{Code, Error, Result};
