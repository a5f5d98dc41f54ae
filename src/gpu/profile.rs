//! How long each dispatch takes: while a profile is being taken, every one of them has a pass of its own, with a timestamp at
//! either end.
//!
//! Nothing overlaps then, so the sum is a little more than a picture takes otherwise. Browsers round timestamps to a tenth of a
//! millisecond; over many steps the rounding evens out.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Code, Error, Result};

use super::Gpu;
use super::buffer::Buffer;
use super::launch::Launch;
use super::plan::{Command, Plan};

/// Timestamps of a query set: WebGPU's most.
const STAMPS: u32 = 4096;

/// What the dispatches took that do the same: of one plan, one kernel, one shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// The plan's label.
    pub plan: &'static str,
    /// What is computed, as in [`Dispatch::class`](super::Dispatch::class).
    pub class: &'static str,
    /// The kernel.
    pub kernel: &'static str,
    /// The shape of its result.
    pub shape: Vec<usize>,
    /// Dispatches, parts of large ones each for itself.
    pub dispatches: usize,
    /// Seconds on the device.
    pub seconds: f64,
    /// Multiplications and additions.
    pub flops: u64,
    /// Bytes that were bound.
    pub bytes: u64,
}

/// Passes whose timestamps were not read yet.
pub(super) struct Profiler {
    set: wgpu::QuerySet,
    written: Vec<Written>,
}

/// Two timestamps for each of some dispatches, and a row without a time for it.
struct Written {
    stamps: Rc<Buffer>,
    rows: Vec<Timed>,
}

impl Gpu {
    /// From now on the dispatches of plans are timed one by one, or no longer; times that nobody asked for are forgotten.
    ///
    /// # Errors
    /// [`Code::BadOption`] where the device has no timestamps.
    pub fn set_profiling(&self, on: bool) -> Result<()> {
        if on && !self.has_timestamps() {
            return Err(Error::new(
                Code::BadOption,
                "profile needs a GPU with timestamps (WebGPU's feature timestamp-query), and this one gives none: try another browser, or leave it out",
            ));
        }
        let profiler = on.then(|| Profiler { set: self.query_set(STAMPS), written: Vec::new() });
        *self.inner.profiler.borrow_mut() = profiler;
        Ok(())
    }

    /// What was timed since it was last asked for, in the order in which it first ran.
    ///
    /// # Errors
    /// Out of memory, a lost device, or a refused command.
    pub async fn profile(&self) -> Result<Vec<Timed>> {
        let written = self.inner.profiler.borrow_mut().as_mut().map(|profiler| std::mem::take(&mut profiler.written));
        let mut sums: Vec<Timed> = Vec::new();
        let mut places = BTreeMap::new();
        for Written { stamps, rows } in written.into_iter().flatten() {
            let seconds = self.seconds_between(&stamps, rows.len()).await?;
            for (row, seconds) in rows.into_iter().zip(seconds) {
                let key = (row.plan, row.class, row.kernel, row.shape.clone());
                let place = *places.entry(key).or_insert(sums.len());
                match sums.get_mut(place) {
                    None => sums.push(Timed { seconds, ..row }),
                    Some(sum) => {
                        sum.dispatches += row.dispatches;
                        sum.seconds += seconds;
                        sum.flops += row.flops;
                        sum.bytes += row.bytes;
                    }
                }
            }
        }
        Ok(sums)
    }

    /// Puts dispatches into passes of their own, if they are to be timed; false if not.
    pub(super) fn encode_timed(&self, encoder: &mut wgpu::CommandEncoder, plan: &Plan, launches: &[Launch]) -> bool {
        let mut profiler = self.inner.profiler.borrow_mut();
        let Some(Profiler { set, written }) = profiler.as_mut() else { return false };
        for launches in launches.chunks(STAMPS as usize / 2) {
            let mut rows = Vec::with_capacity(launches.len());
            for (i, launch) in launches.iter().enumerate() {
                let writes = stamps_around(set, 2 * i as u32);
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
                plan.encode(&mut encoder.begin_compute_pass(&descriptor), std::slice::from_ref(launch));
                rows.push(untimed(plan.label(), plan.command(launch), launch));
            }
            written.push(Written { stamps: self.resolve(encoder, set, 2 * rows.len() as u32), rows });
        }
        true
    }

    /// Whether the device can tell when a pass begins and ends.
    pub(super) fn has_timestamps(&self) -> bool {
        self.inner.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    pub(super) fn query_set(&self, count: u32) -> wgpu::QuerySet {
        let ty = wgpu::QueryType::Timestamp;
        self.inner.device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("timing"), ty, count })
    }

    /// The first `count` timestamps of a set as they are at this place among the commands.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder, set: &wgpu::QuerySet, count: u32) -> Rc<Buffer> {
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let buffer = self.buffer("timing", 8 * u64::from(count), usage);
        encoder.resolve_query_set(set, 0..count, &buffer.raw, 0);
        buffer
    }

    /// Seconds between the timestamps of each of `pairs` pairs.
    pub(super) async fn seconds_between(&self, stamps: &Buffer, pairs: usize) -> Result<Vec<f64>> {
        let bytes = self.read_back(stamps, 0, 16 * pairs as u64).await?;
        let stamp = |bytes: &[u8]| u64::from_le_bytes(std::array::from_fn(|i| bytes[i]));
        let period = f64::from(self.inner.queue.get_timestamp_period()) * 1e-9;
        let ticks = bytes.chunks_exact(16).map(|pair| stamp(&pair[8..]).saturating_sub(stamp(pair)));
        Ok(ticks.map(|ticks| ticks as f64 * period).collect())
    }
}

/// Timestamps at both ends of a pass, from `first` of the set on.
pub(super) fn stamps_around(query_set: &wgpu::QuerySet, first: u32) -> wgpu::ComputePassTimestampWrites<'_> {
    wgpu::ComputePassTimestampWrites {
        query_set,
        beginning_of_pass_write_index: Some(first),
        end_of_pass_write_index: Some(first + 1),
    }
}

fn untimed(plan: &'static str, command: &Command, launch: &Launch) -> Timed {
    let Command { dispatch, workgroups, shape, .. } = command;
    let groups = |workgroups: &[u32; 3]| workgroups.iter().map(|&n| u64::from(n)).product::<u64>();
    let bytes = dispatch.held + dispatch.read + dispatch.written;
    Timed {
        plan,
        class: dispatch.class,
        kernel: dispatch.name,
        shape: shape.clone(),
        dispatches: 1,
        seconds: 0.0,
        flops: launch.flops,
        // A part is taken to bind its share.
        bytes: bytes * groups(&launch.workgroups) / groups(workgroups).max(1),
    }
}
