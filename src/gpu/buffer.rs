//! Buffers that are counted, written and read back.

use std::cell::Cell;
use std::rc::Rc;

use crate::error::{Code, Error, Result};

use super::Gpu;

/// Bytes of GPU memory that live buffers take, and the most they ever took.
#[derive(Default)]
pub(super) struct Allocated {
    pub now: Cell<u64>,
    pub peak: Cell<u64>,
}

/// A GPU buffer that frees its memory when dropped: on the web wgpu's own drop frees nothing.
pub(super) struct Buffer {
    pub raw: wgpu::Buffer,
    size: u64,
    allocated: Rc<Allocated>,
}

impl Buffer {
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.raw.destroy();
        self.allocated.now.set(self.allocated.now.get() - self.size);
    }
}

impl Gpu {
    pub(super) fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Rc<Buffer> {
        // WebGPU refuses bindings of zero bytes and copies that are no multiple of four.
        let size = size.max(16).next_multiple_of(4);
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            size: if self.inner.count_only { 16 } else { size },
            usage,
            mapped_at_creation: false, // for large buffers it crashed whole tabs
        };
        let raw = if self.refuses() { self.refused(descriptor) } else { self.inner.device.create_buffer(&descriptor) };
        self.inner.ledger.note(|traffic| traffic.buffers += 1);
        let allocated = self.inner.allocated.clone();
        allocated.now.set(allocated.now.get() + size);
        allocated.peak.set(allocated.peak.get().max(allocated.now.get()));
        Rc::new(Buffer { raw, size, allocated })
    }

    /// Whether this buffer is the one that [`refuse_buffer`](Self::refuse_buffer) spoke of.
    fn refuses(&self) -> bool {
        let left = self.inner.refused_in.get().map(|left| left.saturating_sub(1));
        self.inner.refused_in.set(left.filter(|left| *left > 0));
        left == Some(0)
    }

    /// What a device gives that has no memory left: a buffer that exists, but that nothing can be done with.
    fn refused(&self, descriptor: wgpu::BufferDescriptor) -> wgpu::Buffer {
        self.out_of_memory();
        let _scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::Validation);
        self.inner.device.create_buffer(&wgpu::BufferDescriptor { size: 1 << 50, ..descriptor })
    }

    /// Overwrites bytes of a buffer from `offset` on.
    pub(super) fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        self.inner.ledger.note(|traffic| traffic.uploaded += bytes.len() as u64);
        if !self.inner.count_only {
            self.inner.queue.write_buffer(&buffer.raw, offset, bytes);
        }
    }

    /// The bytes of a range of a buffer as they are after what was submitted so far; awaiting them waits for the GPU.
    pub(super) fn read_back(
        &self,
        buffer: &Buffer,
        offset: u64,
        size: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + use<> {
        let size = size.next_multiple_of(4);
        self.inner.ledger.note(|traffic| traffic.read_back += size);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer("read back", size, usage);
        let counting = self.inner.count_only;
        let mapped = if counting { 0..16 } else { 0..size };
        let mut encoder = self.inner.device.create_command_encoder(&Default::default());
        if !counting {
            encoder.copy_buffer_to_buffer(&buffer.raw, offset, &staging.raw, 0, size);
        }
        self.inner.queue.submit([encoder.finish()]);

        let (done, wait) = futures_channel::oneshot::channel();
        staging.raw.map_async(wgpu::MapMode::Read, mapped.clone(), move |result| {
            let _ = done.send(result.is_ok());
        });
        let gpu = self.clone();
        async move {
            gpu.poll()?;
            let readable = wait.await.unwrap_or(false);
            gpu.check().await?;
            let lost = || Error::new(Code::DeviceLost, "the GPU's result could not be read: the device was lost");
            if !readable {
                return Err(lost());
            }
            let mut bytes = staging.raw.get_mapped_range(mapped).map_err(|_| lost())?.to_vec();
            bytes.resize(size as usize, 0);
            staging.raw.unmap();
            Ok(bytes)
        }
    }
}
