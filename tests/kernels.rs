//! Every kernel against a loop-by-loop reference: awkward sizes, f32, f16 and packed storage, poisoned results.
//!
//! These tests need a GPU adapter and fail without one; `cargo xtask test` installs Mesa's lavapipe where none is found.

#[path = "kernels/attention.rs"]
mod attention;
#[path = "kernels/gemm.rs"]
mod gemm;
#[path = "kernels/group_norm.rs"]
mod group_norm;
#[path = "kernels/latents.rs"]
mod latents;
#[path = "kernels/layer_norm.rs"]
mod layer_norm;
#[path = "kernels/measured.rs"]
mod measured;
#[path = "kernels/pack_weights.rs"]
mod pack_weights;
#[path = "kernels/repeat.rs"]
mod repeat;
#[path = "kernels/tune.rs"]
mod tune;
#[path = "kernels/weigh_tokens.rs"]
mod weigh_tokens;
#[path = "kernels/whole_filter.rs"]
mod whole_filter;

mod support;
