//! The three networks and TAESD, reading like the paper. The checkpoint is the configuration: blocks are counted from its
//! names, channels read from its shapes; fields carry diffusers' names.

mod blocks;
pub mod clip;
pub mod taesd;
pub mod unet;
pub mod vae;
pub mod vae_encoder;

pub use blocks::Room;
pub use clip::{Clip, ClipEmbeddings};
pub use taesd::Taesd;
pub use unet::Unet;
pub use vae::Vae;
pub use vae_encoder::VaeEncoder;
