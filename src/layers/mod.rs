//! Weights and a kernel make a layer. Names are those of diffusers; shapes come from the checkpoint.

mod attention;
mod conv2d;
mod feed_forward;
mod linear;
mod norm;

pub use attention::{CrossAttention, SelfAttention};
pub use conv2d::Conv2d;
pub use feed_forward::FeedForward;
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm};
