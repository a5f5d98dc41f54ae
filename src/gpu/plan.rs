//! A recorded sequence of dispatches, replayed in one pass.

use std::rc::Rc;

use super::Gpu;
use super::buffer::Buffer;
use super::counts::{Counted, Dispatch};
use super::launch::{Cut, Launch, launches};
use super::pace::Pace;
use super::record::UNIFORM_ALIGNMENT;

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
    /// The shape of its result.
    pub shape: Vec<usize>,
    pub workgroups: [u32; 3],
    /// How it can be cut, if it is large.
    pub cut: Option<Cut>,
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

    pub(super) fn label(&self) -> &'static str {
        self.label
    }

    /// What a launch is of.
    pub(super) fn command(&self, launch: &Launch) -> &Command {
        &self.commands[launch.command]
    }

    /// The arena.
    pub(super) fn slabs(&self) -> &[Rc<Buffer>] {
        &self.buffers.slabs
    }

    /// Sends the whole sequence to the GPU; does not wait for it.
    pub fn run(&self) {
        let pace = self.gpu.inner.pace.get();
        let launches = self.launches(pace);
        let submits = pace.submits(launches.iter().map(|launch| launch.flops));
        self.gpu.started(self.stats.flops);
        for range in submits {
            self.gpu.inner.ledger.note(|traffic| {
                traffic.submits += 1;
                traffic.dispatches += range.len();
            });
            let mut encoder = self
                .gpu
                .inner
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(self.label) });
            if !self.gpu.encode_timed(&mut encoder, self, &launches[range.clone()]) {
                self.gpu.inner.ledger.note(|traffic| traffic.passes += 1);
                let descriptor = wgpu::ComputePassDescriptor { label: Some(self.label), timestamp_writes: None };
                self.encode(&mut encoder.begin_compute_pass(&descriptor), &launches[range]);
            }
            self.gpu.inner.queue.submit([encoder.finish()]);
        }
    }

    /// Its dispatches, the large ones in parts.
    pub(super) fn launches(&self, pace: Pace) -> Vec<Launch> {
        launches(&self.commands, pace)
    }

    /// Puts dispatches into a pass.
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass, launches: &[Launch]) {
        for launch in launches {
            let Some(ready) = &self.command(launch).ready else { continue };
            pass.set_pipeline(&ready.pipeline);
            let offset = launch.origin.map(|origin| origin * UNIFORM_ALIGNMENT as u32);
            pass.set_bind_group(0, &ready.bind_group, offset.as_slice());
            let [x, y, z] = launch.workgroups;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Fills the arena with NaN: a kernel that leaves part of its result unwritten then shows.
    pub fn poison(&self) {
        for slab in &self.buffers.slabs {
            self.gpu.write(slab, 0, &vec![0xff; slab.size() as usize]);
        }
    }
}
