//! A recorded sequence of dispatches, replayed in one pass.

use std::rc::Rc;

use super::Gpu;
use super::buffer::Buffer;
use super::counts::{Counted, Dispatch};

/// What a plan does and takes, counted while it was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Dispatches of one replay.
    pub dispatches: usize,
    /// Multiplications and additions of one replay.
    pub flops: u64,
    /// Bytes of its arena.
    pub arena: u64,
}

pub(super) struct Command {
    pub dispatch: Dispatch,
    pub workgroups: [u32; 3],
    /// `None` on a device that only counts.
    pub ready: Option<Ready>,
}

/// What a dispatch needs on the device.
pub(super) struct Ready {
    pub pipeline: Rc<wgpu::ComputePipeline>,
    pub bind_group: wgpu::BindGroup,
}

/// Dispatches with their pipelines, bindings and arena, ready to be replayed.
pub struct Plan {
    gpu: Gpu,
    label: &'static str,
    commands: Vec<Command>,
    stats: Stats,
    buffers: Buffers,
}

/// The memory a plan needs: dropping a buffer destroys it, whatever bind groups still name it.
pub(super) struct Buffers {
    /// The arena.
    pub slabs: Vec<Rc<Buffer>>,
    /// Everything that is bound.
    pub held: Vec<Rc<Buffer>>,
}

impl Plan {
    pub(super) fn new(
        gpu: &Gpu,
        label: &'static str,
        commands: Vec<Command>,
        stats: Stats,
        mut buffers: Buffers,
    ) -> Self {
        buffers.held.sort_by_key(Rc::as_ptr);
        buffers.held.dedup_by(|a, b| Rc::ptr_eq(a, b));
        let plan = Self { gpu: gpu.clone(), label, commands, stats, buffers };
        if gpu.inner.count_only {
            let dispatches = plan.commands.iter().map(|command| command.dispatch).collect();
            gpu.inner.ledger.plans.borrow_mut().push(Counted { label, stats, dispatches });
        }
        plan
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The arena.
    pub(super) fn slabs(&self) -> &[Rc<Buffer>] {
        &self.buffers.slabs
    }

    /// Sends the whole sequence to the GPU; does not wait for it.
    pub fn run(&self) {
        let submits = self.gpu.inner.pace.get().submits(self.commands.iter().map(|command| command.dispatch.flops));
        self.gpu.started(self.stats.flops);
        for range in submits {
            self.gpu.inner.ledger.note(|traffic| traffic.submits += 1);
            let mut encoder = self
                .gpu
                .inner
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(self.label) });
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(self.label),
                    timestamp_writes: None,
                });
                for command in &self.commands[range] {
                    let Some(ready) = &command.ready else { continue };
                    pass.set_pipeline(&ready.pipeline);
                    pass.set_bind_group(0, &ready.bind_group, &[]);
                    let [x, y, z] = command.workgroups;
                    pass.dispatch_workgroups(x, y, z);
                }
            }
            self.gpu.inner.queue.submit([encoder.finish()]);
        }
    }

    /// Fills the arena with NaN: a kernel that leaves part of its result unwritten then shows.
    pub fn poison(&self) {
        for slab in &self.buffers.slabs {
            self.gpu.write(slab, 0, &vec![0xff; slab.size() as usize]);
        }
    }
}
