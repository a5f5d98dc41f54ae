//! Stable Diffusion 1.5 with Textual Inversion, computed by WebGPU kernels.
//!
//! ```text
//! bytes ──files──▶ named arrays ──weights──▶ GPU tensors ─┐
//! text  ──prompt─▶ windows of rows ──models/clip─▶ conditioning ─▶ models/unet ⇄ samplers ─▶ latents ─▶ models/vae ─▶ image
//! parameters ⇄ recipe ⇄ A1111's infotext, ComfyUI's graphs, pictures that carry them
//! ```
//!
//! Where there is no GPU, `reference` computes what stands between the bytes and the image.
//!
//! The modules below stand in the order a picture is made; `tests/layering.rs` holds them to it.

pub mod error;

pub mod files;

pub mod gpu;
pub mod kernels;

pub mod weights;

pub mod layers;
pub mod models;

pub mod prompt;
pub mod samplers;

pub mod recipe;

pub mod reference;

pub mod pipeline;

#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Code, Error, Result};
