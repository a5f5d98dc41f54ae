//! Filling what was declared: the file in its own order, slice by slice.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Result;
use crate::files::{ArrayInfo, DType};
use crate::gpu::{Storage, Tensor};
use crate::kernels::{PackWeights, pack_weights};

use super::rows::{Rows, to_f32};
use super::{SLICE_BYTES, Shared, wrong_shape};

/// An array of the file and where its numbers go.
pub(super) struct Job {
    pub array: ArrayInfo,
    pub target: Target,
}

pub(super) enum Target {
    Matrix { packed: Tensor, column: usize, half: usize, channels: usize, taps: usize },
    Vector { tensor: Tensor, at: usize, half: usize },
    Rows(Rc<RefCell<Rows>>),
}

/// Declared tensors on their way from the file to the GPU.
pub struct Filling {
    shared: Rc<Shared>,
    jobs: Vec<Job>,
    next: usize,
    /// Rows of the next job that are done already: large tensors take several slices.
    done_rows: usize,
    /// Where the file's bytes wait for the GPU; given back at the end.
    slice: Option<Tensor>,
    loaded: u64,
    total: u64,
}

impl Filling {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        let mut jobs = shared.jobs.take();
        jobs.sort_by_key(|job| (job.array.source, job.array.offset));
        let total = jobs.iter().map(|job| job.array.length).sum();
        let slice = Some(shared.gpu.empty("slice", &[SLICE_BYTES / 4], Storage::F32));
        Self { shared, jobs, next: 0, done_rows: 0, slice, loaded: 0, total }
    }

    /// Bytes done.
    pub fn loaded(&self) -> u64 {
        self.loaded
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Reads and uploads one slice; false once everything is done.
    ///
    /// # Errors
    /// When the file cannot be read or the GPU fails. What is already loaded stays; the call may be repeated.
    pub async fn step(&mut self) -> Result<bool> {
        let Some(job) = self.jobs.get(self.next) else { return Ok(false) };
        if job.array.length > SLICE_BYTES as u64 {
            self.step_rows().await?;
        } else {
            self.step_tensors().await?;
        }
        // Also keeps the browser from queueing the whole model as pending writes.
        self.shared.gpu.finish().await?;
        let more = self.next < self.jobs.len();
        if !more {
            // The tensors are their layers' alone from now on: a layer that is dropped gives its memory back.
            (self.slice, self.jobs, self.next) = (None, Vec::new(), 0);
        }
        Ok(more)
    }

    /// Some rows of a tensor that is larger than a slice.
    async fn step_rows(&mut self) -> Result<()> {
        let job = &self.jobs[self.next];
        let rows = job.array.shape[0];
        let row_bytes = (job.array.length / rows as u64) as usize;
        let most = (SLICE_BYTES / row_bytes / 4 * 4).max(4);
        if row_bytes * 4 > SLICE_BYTES {
            return Err(wrong_shape(&job.array, "rows of at most 4 MiB"));
        }
        let count = most.min(rows - self.done_rows);
        let offset = job.array.offset + (self.done_rows * row_bytes) as u64;
        let bytes = self.shared.checkpoint.sources[job.array.source].read(offset, count * row_bytes).await?;
        self.take(self.next, self.done_rows, count, &bytes);
        self.loaded += bytes.len() as u64;
        self.done_rows += count;
        if self.done_rows == rows {
            self.next += 1;
            self.done_rows = 0;
        }
        Ok(())
    }

    /// Whole tensors that lie close together in the file, in one read.
    async fn step_tensors(&mut self) -> Result<()> {
        let first = &self.jobs[self.next].array;
        let (source, start) = (first.source, first.offset);
        let fits = |job: &&Job| {
            job.array.source == source && job.array.offset + job.array.length - start <= SLICE_BYTES as u64
        };
        let count = self.jobs[self.next..].iter().take_while(fits).count().max(1);
        let jobs = self.next..self.next + count;
        let end = self.jobs[jobs.clone()].iter().map(|job| job.array.offset + job.array.length).max().unwrap_or(start);
        let bytes = self.shared.checkpoint.sources[source].read(start, (end - start) as usize).await?;
        for i in jobs {
            let array = &self.jobs[i].array;
            let at = (array.offset - start) as usize;
            let rows = array.shape.first().copied().unwrap_or(1);
            self.take(i, 0, rows, &bytes[at..at + array.length as usize]);
            self.loaded += array.length;
        }
        self.next += count;
        Ok(())
    }

    /// Brings rows `first..first + count` of a job's tensor to their place.
    fn take(&self, job: usize, first: usize, count: usize, bytes: &[u8]) {
        let Job { array, target } = &self.jobs[job];
        match target {
            Target::Rows(rows) => rows.borrow_mut().push(array.dtype, bytes),
            Target::Vector { tensor, at, half } => {
                let mut values = to_f32(array.dtype, bytes);
                if *half > 0 {
                    values = interleave(&values, *half);
                }
                tensor.write_bytes(*at as u64 * 4, bytemuck::cast_slice(&values));
            }
            Target::Matrix { packed, column, half, channels, taps } => {
                let slice = self.slice.as_ref().expect("the slice stays until the last job is done");
                let whole = bytes.len() / 4 * 4;
                slice.write_bytes(0, &bytes[..whole]);
                if whole < bytes.len() {
                    let mut tail = [0; 4];
                    tail[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                    slice.write_bytes(whole as u64, &tail);
                }
                let dtype = match array.dtype {
                    DType::F16 => 1,
                    DType::BF16 => 2,
                    _ => 0,
                };
                let (plan, ()) = self.shared.gpu.record("pack weights", || {
                    pack_weights(&PackWeights {
                        slice,
                        dtype,
                        first,
                        rows: count,
                        channels: *channels,
                        taps: *taps,
                        packed,
                        column: *column,
                        half: *half,
                    });
                });
                plan.run();
            }
        }
    }
}

/// GEGLU's order of columns: four values, then their four gates.
fn interleave(values: &[f32], half: usize) -> Vec<f32> {
    let (value, gate) = values.split_at(half);
    value.chunks(4).zip(gate.chunks(4)).flat_map(|(value, gate)| [value, gate].concat()).collect()
}
