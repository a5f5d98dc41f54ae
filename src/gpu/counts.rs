//! What a device is asked to do, in numbers.

use std::cell::{Cell, RefCell};

use super::launch;
use super::pace::Pace;
use super::plan::Stats;

/// One dispatch of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatch {
    /// The kernel.
    pub name: &'static str,
    /// What it computes: see [`Kernel::class`](super::Kernel::class).
    pub class: &'static str,
    /// Multiplications and additions.
    pub flops: u64,
    /// Bytes it binds that were there before the plan: weights, prompts.
    pub held: u64,
    /// Bytes it reads that the plan makes.
    pub read: u64,
    /// Bytes it writes.
    pub written: u64,
    /// Bytes of its largest binding.
    pub largest: u64,
    /// Parts that it can be cut into: 1 where it is too small for that, or knows no parts.
    pub parts: u32,
    /// Multiplications and additions of the largest of them.
    pub part: u64,
}

impl Dispatch {
    /// The work of the dispatches that it becomes at a pace; the last part may be smaller than the others.
    pub fn cut(&self, pace: Pace) -> Vec<u64> {
        let before = |part: u32| (u64::from(part) * self.part).min(self.flops);
        launch::parts_of(self.parts, self.part, pace).map(|parts| before(parts.end) - before(parts.start)).collect()
    }
}

/// A plan that was recorded.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The plan's label.
    pub label: &'static str,
    /// Its sums.
    pub stats: Stats,
    /// Its dispatches, in their order.
    pub dispatches: Vec<Dispatch>,
}

/// What passed between the CPU and the device so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes written by the CPU.
    pub uploaded: u64,
    /// Bytes read back.
    pub read_back: u64,
    /// Dispatches, parts of large ones each for itself.
    pub dispatches: usize,
    /// Submits, but for those that read back.
    pub submits: usize,
    /// Compute passes, but for those of profiles.
    pub passes: usize,
    /// Buffers made.
    pub buffers: usize,
    /// Bind groups made.
    pub bind_groups: usize,
}

/// Traffic as it happens, and the plans of a device that only counts.
#[derive(Default)]
pub(super) struct Ledger {
    pub traffic: Cell<Traffic>,
    pub plans: RefCell<Vec<Counted>>,
}

impl Ledger {
    pub fn note(&self, change: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.traffic.get();
        change(&mut traffic);
        self.traffic.set(traffic);
    }
}
