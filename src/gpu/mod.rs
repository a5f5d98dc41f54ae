//! The device and what lives on it. Only this module names wgpu.
//!
//! Kernels are called like functions while a [`Plan`] is being recorded ([`Gpu::record`]); the plan lays its
//! tensors out in an arena from their lifetimes and is then replayed as often as wanted.

mod arena;
mod buffer;
mod counts;
mod device;
mod failure;
mod launch;
mod matrices;
mod pace;
mod pipeline;
mod plan;
mod prepare;
mod profile;
mod record;
mod shader;
mod subgroups;
mod tensor;
mod timing;
mod trust;
mod tuning;
mod unroll;
mod vendor;

pub use counts::{Counted, Dispatch, Traffic};
pub use device::{Adapter, Gpu, Options};
pub use pace::Pace;
pub use plan::{Plan, Stats};
#[cfg(target_arch = "wasm32")]
pub use prepare::Background;
pub use prepare::{Count, Listener, Preparing};
pub use profile::Timed;
pub use record::Kernel;
pub use shader::{Value, header, without};
pub use tensor::{Storage, Tensor};
pub use tuning::Table;
pub use unroll::unrolled;
pub use vendor::Vendor;
