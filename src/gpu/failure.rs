//! What can go wrong with a device, in sentences.

use std::sync::Mutex;

use crate::error::{Code, Error};

pub(super) fn no_gpu(reason: &str) -> Error {
    Error::new(
        Code::NoGpu,
        format!(
            "NO_GPU: no WebGPU adapter was found ({reason}). In a browser: use a current Chrome, Edge, Safari 26 or Firefox with hardware acceleration switched on. Natively: install a Vulkan driver (on Debian `apt-get install mesa-vulkan-drivers` gives one that runs on the CPU)"
        ),
    )
}

pub(super) fn no_memory() -> Error {
    let sentence = "the GPU's memory is full: close other tabs and programs, or choose a smaller picture";
    Error::new(Code::GpuOutOfMemory, sentence)
}

pub(super) fn keep_first(slot: &Mutex<Option<Error>>, error: Error) {
    if let Ok(mut slot) = slot.lock() {
        slot.get_or_insert(error);
    }
}

pub(super) fn from_wgpu(error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => no_memory(),
        other => Error::new(
            Code::GpuValidation,
            format!("the GPU refused a command (our mistake, please report it): {other}"),
        ),
    }
}
