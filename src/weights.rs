//! From a file's header to filled GPU tensors: declare everything, then stream.
//!
//! [`Weights`] is a cursor over a checkpoint's names: the path in the code is the path in the file. Layers declare
//! their tensors through it, which allocates them and notes where their numbers lie. [`Filling`] then reads the file
//! in its own order, in slices of at most 16 MiB; the GPU converts and reorders them. Neither wasm nor JavaScript
//! ever holds the model.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use half::{bf16, f16};

use crate::error::{Code, Error, Result};
use crate::files::checkpoint::Checkpoint;
use crate::files::{ArrayInfo, DType};
use crate::gpu::{Gpu, Storage, Tensor};
use crate::kernels::{PackWeights, pack_weights};

/// The most bytes that are read at once.
pub const SLICE_BYTES: usize = 16 << 20;

/// How the columns of a matrix are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// As in the file.
    Plain,
    /// GEGLU: four values, then their four gates, so that one thread holds both.
    Geglu,
}

/// A place in a checkpoint, from which tensors are declared.
#[derive(Clone)]
pub struct Weights {
    shared: Rc<Shared>,
    prefix: String,
}

struct Shared {
    gpu: Gpu,
    checkpoint: Checkpoint,
    jobs: RefCell<Vec<Job>>,
}

struct Job {
    array: ArrayInfo,
    target: Target,
}

enum Target {
    Matrix { packed: Tensor, column: usize, half: usize, channels: usize, taps: usize },
    Vector { tensor: Tensor, at: usize, half: usize },
    Rows(Rc<RefCell<Rows>>),
}

/// Rows that stay on the CPU: the token table, from which a prompt picks a few.
pub struct Rows {
    /// Numbers per row.
    pub width: usize,
    dtype: DType,
    keep_f32: bool,
    bytes: Vec<u8>,
}

impl Rows {
    /// Row `i` as f32; `None` past the end.
    pub fn row(&self, i: usize) -> Option<Vec<f32>> {
        let size = self.width * self.dtype.size();
        let bytes = self.bytes.get(i.checked_mul(size)?..)?.get(..size)?;
        Some(to_f32(self.dtype, bytes))
    }

    /// Number of rows read so far.
    pub fn len(&self) -> usize {
        self.bytes.len() / (self.width * self.dtype.size()).max(1)
    }

    /// No rows yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next rows of the file. f32 is halved unless the GPU too keeps f32: 76 MB instead of 152.
    fn push(&mut self, dtype: DType, bytes: &[u8]) {
        if dtype == DType::F32 && !self.keep_f32 {
            self.dtype = DType::F16;
            self.bytes.extend(to_f32(dtype, bytes).iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()));
        } else {
            self.dtype = dtype;
            self.bytes.extend_from_slice(bytes);
        }
    }
}

fn to_f32(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

impl Weights {
    /// The root of a checkpoint's names.
    pub fn new(gpu: &Gpu, checkpoint: Checkpoint) -> Self {
        let shared = Shared { gpu: gpu.clone(), checkpoint, jobs: RefCell::default() };
        Self { shared: Rc::new(shared), prefix: String::new() }
    }

    /// The device tensors are declared on.
    pub fn gpu(&self) -> &Gpu {
        &self.shared.gpu
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.shared.checkpoint
    }

    /// The place below this one called `part`.
    pub fn at(&self, part: impl Display) -> Self {
        Self { shared: self.shared.clone(), prefix: format!("{}{part}.", self.prefix) }
    }

    /// There is a tensor at or below `part`.
    pub fn has(&self, part: impl Display) -> bool {
        let wanted = format!("{}{part}", self.prefix);
        let arrays = &self.shared.checkpoint.arrays;
        let below = format!("{wanted}.");
        arrays.contains_key(&wanted)
            || arrays.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below))
    }

    /// The places `part.0`, `part.1`, … as far as they exist.
    pub fn list(&self, part: &str) -> Vec<Self> {
        let list = self.at(part);
        (0..).take_while(|i| list.has(i)).map(|i| list.at(i)).collect()
    }

    fn array(&self, leaf: &str) -> Result<&ArrayInfo> {
        let name = format!("{}{leaf}", self.prefix);
        self.shared
            .checkpoint
            .arrays
            .get(&name)
            .ok_or_else(|| Error::new(Code::MissingTensors, format!("the checkpoint lacks the tensor \"{name}\"")))
    }

    /// Shape of the tensor `leaf`.
    ///
    /// # Errors
    /// [`Code::MissingTensors`].
    pub fn shape(&self, leaf: &str) -> Result<&[usize]> {
        Ok(&self.array(leaf)?.shape)
    }

    /// Declares a vector (N), f32, padded to a multiple of four: `leaf` at each of `places`, one after the other.
    ///
    /// # Errors
    /// [`Code::WrongShape`] unless it has `length` elements in all.
    pub fn vector(places: &[&Self], leaf: &str, length: usize, columns: Columns) -> Result<Tensor> {
        let first = places[0];
        let tensor = first.gpu().empty(leaf, &[length.next_multiple_of(4)], Storage::F32);
        let mut at = 0;
        for place in places {
            let array = place.array(leaf)?;
            let part = length / places.len();
            if array.shape != [part] {
                return Err(wrong_shape(array, &format!("[{part}]")));
            }
            let half = if columns == Columns::Geglu { part / 2 } else { 0 };
            place.note(array, Target::Vector { tensor: tensor.clone(), at, half });
            at += part;
        }
        Ok(tensor)
    }

    /// Declares the weight of a linear layer or convolution, (kernel, kernel, C, N): `weight` at each of `places` side
    /// by side in N. The file has (N, C) or (N, C, kernel, kernel).
    ///
    /// # Errors
    /// [`Code::WrongShape`] unless it takes `channels` and has a filter of this `kernel`.
    pub fn matrix(places: &[&Self], channels: usize, kernel: usize, columns: Columns) -> Result<Tensor> {
        let mut n = 0;
        for place in places {
            let array = place.array("weight")?;
            let flat = array.shape.len() == 2 && kernel == 1;
            let fits = flat || array.shape.get(2..) == Some(&[kernel, kernel]);
            let rows = array.shape.first().copied().unwrap_or(0);
            if !fits || array.shape[1] != channels || rows == 0 || (places.len() > 1 && rows % 4 != 0) {
                return Err(wrong_shape(array, &format!("[N, {channels}] with a filter of {kernel}×{kernel}")));
            }
            n += rows;
        }
        let gpu = places[0].gpu();
        let shape = [kernel, kernel, channels.next_multiple_of(4), n.next_multiple_of(4)];
        let packed = gpu.empty("weight", &shape, gpu.storage());
        let mut column = 0;
        for place in places {
            let array = place.array("weight")?;
            let half = if columns == Columns::Geglu { n / 2 } else { 0 };
            if half % 4 != 0 {
                return Err(wrong_shape(array, "a multiple of eight rows"));
            }
            let taps = kernel * kernel;
            place.note(array, Target::Matrix { packed: packed.clone(), column, half, channels, taps });
            column += array.shape[0];
        }
        Ok(packed)
    }

    /// Declares rows (N, `width`) that stay on the CPU.
    ///
    /// # Errors
    /// [`Code::WrongShape`].
    pub fn rows(&self, leaf: &str, width: usize) -> Result<Rc<RefCell<Rows>>> {
        let array = self.array(leaf)?;
        if array.shape.len() != 2 || array.shape[1] != width {
            return Err(wrong_shape(array, &format!("[N, {width}]")));
        }
        let keep_f32 = self.gpu().storage() == Storage::F32;
        let size = if keep_f32 { array.dtype.size() } else { array.dtype.size().min(2) };
        // All at once: a vector that grows as rows come in takes three times the memory on the way.
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(array.numel() * size).map_err(|_| {
            Error::new(Code::TooLarge, format!("the tensor \"{}\" does not fit into memory", array.name))
        })?;
        let rows = Rc::new(RefCell::new(Rows { width, dtype: array.dtype, keep_f32, bytes }));
        self.note(array, Target::Rows(rows.clone()));
        Ok(rows)
    }

    fn note(&self, array: &ArrayInfo, target: Target) {
        self.shared.jobs.borrow_mut().push(Job { array: array.clone(), target });
    }

    /// All that was declared, ready to be filled.
    pub fn fill(&self) -> Filling {
        let mut jobs = self.shared.jobs.take();
        jobs.sort_by_key(|job| (job.array.source, job.array.offset));
        let total = jobs.iter().map(|job| job.array.length).sum();
        let slice = self.gpu().empty("slice", &[SLICE_BYTES / 4], Storage::F32);
        Filling { shared: self.shared.clone(), jobs, next: 0, done_rows: 0, slice, loaded: 0, total }
    }
}

fn wrong_shape(array: &ArrayInfo, expected: &str) -> Error {
    Error::new(Code::WrongShape, format!("the tensor \"{}\" is {:?}, expected {expected}", array.name, array.shape))
}

/// Declared tensors on their way from the file to the GPU.
pub struct Filling {
    shared: Rc<Shared>,
    jobs: Vec<Job>,
    next: usize,
    /// Rows of the next job that are done already: large tensors take several slices.
    done_rows: usize,
    slice: Tensor,
    loaded: u64,
    total: u64,
}

impl Filling {
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
        Ok(self.next < self.jobs.len())
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
                let whole = bytes.len() / 4 * 4;
                self.slice.write_bytes(0, &bytes[..whole]);
                if whole < bytes.len() {
                    let mut tail = [0; 4];
                    tail[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                    self.slice.write_bytes(whole as u64, &tail);
                }
                let dtype = match array.dtype {
                    DType::F16 => 1,
                    DType::BF16 => 2,
                    _ => 0,
                };
                let (plan, ()) = self.shared.gpu.record("pack weights", || {
                    pack_weights(&PackWeights {
                        slice: &self.slice,
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
