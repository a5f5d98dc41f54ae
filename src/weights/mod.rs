//! From a file's header to filled GPU tensors: declare everything, then stream.
//!
//! [`Weights`] is a cursor over a checkpoint's names: the path in the code is the path in the file. Layers declare
//! their tensors through it, which allocates them and notes where their numbers lie. [`Filling`] then reads the file
//! in its own order, in slices of at most 16 MiB; the GPU converts and reorders them. Neither wasm nor JavaScript
//! ever holds the model.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::files::checkpoint::Checkpoint;
use crate::files::{ArrayInfo, shown};
use crate::gpu::{Gpu, Storage, Tensor};

mod filling;
mod rows;

use filling::{Job, Target};

pub use filling::Filling;
pub use rows::Rows;

/// The most bytes that are read at once.
pub const SLICE_BYTES: usize = 16 << 20;

/// No layer is wider; a vector then fits into a slice.
const LONGEST_VECTOR: usize = 1 << 20;

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
        let array =
            self.shared.checkpoint.arrays.get(&name).ok_or_else(|| {
                Error::new(Code::MissingTensors, format!("the checkpoint lacks the tensor \"{name}\""))
            })?;
        if array.shape.contains(&0) {
            return Err(wrong_shape(array, "a tensor that is not empty"));
        }
        Ok(array)
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
            if array.shape != [part] || part > LONGEST_VECTOR {
                return Err(wrong_shape(array, &format!("[{part}]")));
            }
            let half = if columns == Columns::Geglu { part / 2 } else { 0 };
            place.note(array, Target::Vector { tensor: tensor.clone(), at, half });
            at += part;
        }
        Ok(tensor)
    }

    /// Declares vectors of one length (2, C), f32: one below the other, each padded to a multiple of four.
    ///
    /// # Errors
    /// [`Code::WrongShape`] unless both have `length` elements.
    pub fn vectors(&self, leaves: [&str; 2], length: usize) -> Result<Tensor> {
        let padded = length.next_multiple_of(4);
        let tensor = self.gpu().empty(leaves[0], &[2, padded], Storage::F32);
        for (i, leaf) in leaves.into_iter().enumerate() {
            let array = self.array(leaf)?;
            if array.shape != [length] || length > LONGEST_VECTOR {
                return Err(wrong_shape(array, &format!("[{length}]")));
            }
            self.note(array, Target::Vector { tensor: tensor.clone(), at: i * padded, half: 0 });
        }
        Ok(tensor)
    }

    /// Declares the weight of a convolution that follows a doubling, (4 · 2, 2, C, N): for the pixels of each parity the
    /// filter of 2×2 that the file's (N, C, 3, 3) is to them, where the nine pixels it sees are only four.
    ///
    /// # Errors
    /// [`Code::WrongShape`] unless it takes `channels` and has a filter of 3×3.
    pub fn phases(&self, channels: usize) -> Result<Tensor> {
        let array = self.array("weight")?;
        let &[rows, wide, 3, 3] = &array.shape[..] else {
            return Err(wrong_shape(array, &format!("[N, {channels}, 3, 3]")));
        };
        if wide != channels {
            return Err(wrong_shape(array, &format!("[N, {channels}, 3, 3]")));
        }
        let packed = self.room(array, [8, 2, channels.next_multiple_of(4), rows.next_multiple_of(4)])?;
        self.note(array, Target::Matrix { packed: packed.clone(), column: 0, half: 0, channels, taps: 9 });
        Ok(packed)
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
        let shape = [kernel, kernel, channels.next_multiple_of(4), n.next_multiple_of(4)];
        let packed = places[0].room(places[0].array("weight")?, shape)?;
        let mut column = 0;
        for place in places {
            let array = place.array("weight")?;
            let half = if columns == Columns::Geglu { n / 2 } else { 0 };
            if half % 4 != 0 || (columns == Columns::Geglu && n % 8 != 0) {
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
        let rows = Rc::new(RefCell::new(Rows { width, dtype: array.dtype, keep_f32, halved: false, bytes }));
        self.note(array, Target::Rows(rows.clone()));
        Ok(rows)
    }

    /// Room for what `array` becomes, (kernel, kernel, C, N) or (4 · 2, 2, C, N), if the GPU can bind so much at once.
    fn room(&self, array: &ArrayInfo, shape: [usize; 4]) -> Result<Tensor> {
        let (gpu, most) = (self.gpu(), self.gpu().largest_tensor());
        let bytes = shape.iter().fold(gpu.storage().size() as u64, |bytes, axis| bytes.saturating_mul(*axis as u64));
        if bytes > most {
            let sentence = format!(
                "the tensor \"{}\" takes {} MiB on the GPU, and this one binds at most {} MiB at once: the model cannot run here",
                shown(&array.name),
                bytes >> 20,
                most >> 20
            );
            return Err(Error::new(Code::TooLarge, sentence));
        }
        Ok(gpu.empty("weight", &shape, gpu.storage()))
    }

    fn note(&self, array: &ArrayInfo, target: Target) {
        self.shared.jobs.borrow_mut().push(Job { array: array.clone(), target });
    }

    /// All that was declared, ready to be filled.
    pub fn fill(&self) -> Filling {
        Filling::new(self.shared.clone())
    }
}

fn wrong_shape(array: &ArrayInfo, expected: &str) -> Error {
    Error::new(Code::WrongShape, format!("the tensor \"{}\" is {:?}, expected {expected}", array.name, array.shape))
}
