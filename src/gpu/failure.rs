//! What can go wrong with a device, in sentences.

use std::sync::Mutex;

use crate::error::{Code, Error, Result};

use super::Gpu;

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

impl Gpu {
    /// Remembers that there was no memory for a buffer, as if the device had reported it.
    pub(super) fn out_of_memory(&self) {
        keep_first(&self.inner.failure, no_memory());
    }

    /// Raises the first error the device reported since the last call.
    ///
    /// # Errors
    /// Out of memory, a lost device, or a refused command.
    pub async fn check(&self) -> Result<()> {
        let Some(error) = self.first_failure() else { return Ok(()) };
        self.settle().await;
        Err(error)
    }

    /// Lets the device report what else goes wrong with the commands that were sent before an error was raised: who comes
    /// next would take it for its own. Browsers tell of errors in a task of their own, which may come after what was waited for
    /// once, but not after twice. That the device is lost stays known.
    async fn settle(&self) {
        for _ in 0..2 {
            if self.submitted().await.is_err() {
                return;
            }
        }
        if let Some(lost) = self.first_failure().filter(|error| error.code == Code::DeviceLost) {
            keep_first(&self.inner.failure, lost);
        }
    }

    fn first_failure(&self) -> Option<Error> {
        self.inner.failure.lock().ok().and_then(|mut failure| failure.take())
    }
}
