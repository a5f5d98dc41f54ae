//! The catalogue: one operation = `name.rs` + `name.wgsl`, the same word for file, function, label and test.
//!
//! | kernel | formula | used by |
//! |---|---|---|
//! | [`gemm`](gemm()) | `a·w`, then bias, time embedding, activation, GEGLU, residual | every linear layer and convolution; statistics for the norm after it |
//! | [`attention`](attention()) | `softmax(q kᵀ/√d) v` | CLIP, UNet, the VAE's middle |
//! | [`group_norm`](group_norm()) | group normalisation, SiLU | ResnetBlocks, transformers, outputs |
//! | [`layer_norm`](layer_norm()) | layer normalisation | CLIP, transformer blocks |
//! | [`weigh_tokens`](weigh_tokens()) | `empty + w·(x − empty)` | conditioning |
//! | [`weigh_windows`](weigh_windows()) | `x·m`, mean restored | conditioning in A1111's dialect |
//! | [`scale_latents`](scale_latents()) | `x · scale` | inputs of UNet and VAE |
//! | [`repeat`](repeat()) | a batch, several times | what all prompts share in the UNet |
//! | [`rescale_guidance`](rescale_guidance()) | how much contrast guidance added | the denoising loop, where it is asked for |
//! | [`soft_clamp`](soft_clamp()) | `3·tanh(x/3)` | TAESD's input |
//! | [`sampler_step`](sampler_step()) | guidance, then a mix of the sampler's registers | the denoising loop |
//! | [`conv_out_step`](conv_out_step()) | the same with the UNet's last convolution before it | the denoising loop, but where guidance is rescaled |
//! | [`image`](image()) | −1…1 or 0…1 to RGBA bytes | the last step |
//! | [`pack_weights`](pack_weights()) | a file's order to ours | loading |
//! | [`whole_filter`](whole_filter()) | four phases' filters to the one they come from | pictures of odd size |

#[macro_use]
mod source;

mod attention;
mod choice;
mod conv_out_step;
mod gemm;
mod group_norm;
mod image;
mod layer_norm;
mod measured;
mod pack_weights;
mod product;
mod repeat;
mod rescale_guidance;
mod sampler_step;
mod scale_latents;
mod soft_clamp;
mod tile;
mod tune;
mod weigh_tokens;
mod weigh_windows;
mod whole_filter;

pub use attention::{Attention, Rows, Seen, Split, attention, attention_on};
pub use conv_out_step::conv_out_step;
pub use gemm::{gemm, gemm_measured, gemm_measured_on, gemm_on, matrices};
pub use group_norm::{GroupNorm, Moments, group_norm};
pub use image::{image, image_from_unit};
pub use layer_norm::layer_norm;
pub use measured::{Measure, Measured};
pub use pack_weights::{PackWeights, pack_weights};
pub use product::{Activation, Gemm, Geometry, Normal, RowBias, Strip};
pub use repeat::repeat;
pub use rescale_guidance::{Rescale, rescale_guidance};
pub use sampler_step::{HEAD, ROW, matrix_offset, sampler_step, step_len};
pub use scale_latents::scale_latents;
pub use soft_clamp::soft_clamp;
pub use tile::{Memory, Tile};
pub use tune::tune;
pub use weigh_tokens::weigh_tokens;
pub use weigh_windows::weigh_windows;
pub use whole_filter::whole_filter;
