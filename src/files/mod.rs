//! Untrusted bytes → named arrays: nothing here sees a GPU, nothing here executes what it reads.

pub mod array;
pub mod checkpoint;
mod completeness;
pub mod embedding_writer;
mod family;
mod folder;
mod image_embedding;
pub mod key_names;
pub mod model_config;
pub mod pickle;
mod pickle_globals;
mod pickle_ops;
mod pickle_vm;
pub mod png_text;
pub mod safetensors;
pub mod sniff;
pub mod source;
mod stego;
pub mod taesd_file;
pub mod textual_inversion;
mod ti_json;
mod ti_layout;
pub mod torch_file;
mod torch_legacy;
mod torch_zip;
pub mod vae_file;

pub use array::{ArrayInfo, DType};
pub use checkpoint::Checkpoint;
pub use embedding_writer::{to_a1111_pt, to_kohya_safetensors};
pub use model_config::ModelConfig;
pub use source::{LocalFuture, MemorySource, Source};
pub use textual_inversion::{Embedding, read_embeddings};

/// A name out of a file, fit for a sentence: short, on one line, no control characters.
pub(crate) fn shown(name: &str) -> String {
    clipped(name, 80)
}

/// At most `most` characters of a text, on one line; marks that turn the direction of writing are spelled out.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    let mut short = String::new();
    for letter in text.chars().take(most) {
        match letter {
            '"' | '\'' | '\\' => short.push(letter),
            _ => short.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}
