//! A tensor: a shape over a range of a GPU buffer.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::Result;

use super::Gpu;
use super::arena::ALIGNMENT;
use super::buffer::Buffer;

/// How the numbers of a tensor lie in memory. Arithmetic is f32 in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// 16-bit floats (`array<vec4<f16>>`), where the adapter has shader-f16.
    F16,
    /// The same bits without shader-f16: pairs in a u32 (`unpack2x16float`).
    Packed,
    /// 32-bit floats: for tests against the oracle, and for the few tensors that need it.
    F32,
}

impl Storage {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Storage::F16 | Storage::Packed => 2,
            Storage::F32 => 4,
        }
    }

    /// The name options and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Storage::F16 => "f16",
            Storage::Packed => "packed",
            Storage::F32 => "f32",
        }
    }
}

/// A row-major array on the GPU. Clones are handles to the same numbers.
///
/// The last axis is a multiple of four: kernels read and write vectors of four.
#[derive(Clone)]
pub struct Tensor {
    pub(super) inner: Rc<Inner>,
    shape: Vec<usize>,
    /// Bytes before it, where it is a part of what lies there.
    offset: u64,
}

pub(super) struct Inner {
    pub gpu: Gpu,
    pub storage: Storage,
    pub bytes: u64,
    /// Outlives its plan: gets a buffer of its own instead of a place in the arena.
    pub kept: Cell<bool>,
    /// Where it lies; `None` while the plan that computes it is being recorded.
    pub place: RefCell<Option<Place>>,
}

/// A range of what `inner` holds.
pub(super) struct View {
    pub inner: Rc<Inner>,
    pub offset: u64,
    pub bytes: u64,
}

#[derive(Clone)]
pub(super) struct Place {
    pub buffer: Rc<Buffer>,
    pub offset: u64,
}

const TENSOR_USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

impl Gpu {
    /// A tensor with a buffer of its own, filled with zeros.
    pub fn empty(&self, label: &str, shape: &[usize], storage: Storage) -> Tensor {
        let tensor = self.declare(shape, storage);
        let buffer = self.buffer(label, tensor.inner.bytes, TENSOR_USAGE);
        *tensor.inner.place.borrow_mut() = Some(Place { buffer, offset: 0 });
        tensor
    }

    /// A tensor holding `values`, rounded to `storage`.
    pub fn upload(&self, label: &str, shape: &[usize], storage: Storage, values: &[f32]) -> Tensor {
        let tensor = self.empty(label, shape, storage);
        tensor.write(values);
        tensor
    }

    /// A tensor without a place yet: the recording gives it one.
    pub(super) fn declare(&self, shape: &[usize], storage: Storage) -> Tensor {
        let elements: usize = shape.iter().product();
        assert!(shape.last().is_some_and(|last| last % 4 == 0), "the last axis of {shape:?} is no multiple of four");
        let inner = Inner {
            gpu: self.clone(),
            storage,
            bytes: elements as u64 * storage.size() as u64,
            kept: Cell::new(false),
            place: RefCell::new(None),
        };
        Tensor { inner: Rc::new(inner), shape: shape.to_vec(), offset: 0 }
    }

    pub(super) fn tensor_buffer(&self, label: &str, size: u64) -> Rc<Buffer> {
        self.buffer(label, size, TENSOR_USAGE)
    }
}

impl Tensor {
    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// No elements at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the numbers are stored.
    pub fn storage(&self) -> Storage {
        self.inner.storage
    }

    /// Bytes on the GPU.
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * self.inner.storage.size() as u64
    }

    /// The device it lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.inner.gpu
    }

    /// The same numbers under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), self.len(), "reshape {:?} to {shape:?}", self.shape);
        Tensor { inner: self.inner.clone(), shape: shape.to_vec(), offset: self.offset }
    }

    /// Some rows of a picture (1, H, W, C), in place.
    pub fn rows(&self, rows: Range<usize>) -> Tensor {
        let &[1, height, width, channels] = &self.shape[..] else { panic!("rows of {:?}", self.shape) };
        assert!(rows.start < rows.end && rows.end <= height, "rows {rows:?} of {:?}", self.shape);
        let offset = self.offset + rows.start as u64 * self.row_bytes() as u64;
        assert_eq!(offset % ALIGNMENT, 0, "rows {rows:?} of {:?} begin where nothing can be bound", self.shape);
        Tensor { inner: self.inner.clone(), shape: vec![1, rows.len(), width, channels], offset }
    }

    /// Bytes of a row of a picture (1, H, W, C).
    pub fn row_bytes(&self) -> usize {
        self.len() / self.shape[0] / self.shape[1] * self.inner.storage.size()
    }

    /// Lets the tensor outlive the plan being recorded, in a buffer of its own.
    pub fn keep(&self) -> Tensor {
        self.inner.kept.set(true);
        self.clone()
    }

    pub(super) fn place(&self) -> Place {
        let place = self.inner.place.borrow().clone().expect("a tensor is read before its plan is finished");
        Place { offset: place.offset + self.offset, ..place }
    }

    /// What a binding of it covers.
    pub(super) fn view(&self) -> View {
        View { inner: self.inner.clone(), offset: self.offset, bytes: self.bytes() }
    }

    /// Overwrites the numbers with `values`.
    pub fn write(&self, values: &[f32]) {
        assert_eq!(values.len(), self.len(), "write into {:?}", self.shape);
        match self.inner.storage {
            Storage::F32 => self.write_bytes(0, bytemuck::cast_slice(values)),
            Storage::F16 | Storage::Packed => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                self.write_bytes(0, bytemuck::cast_slice(halves.reinterpret_cast()));
            }
        }
    }

    /// Overwrites raw bytes from byte `offset` on; both are multiples of four.
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) {
        let place = self.place();
        self.inner.gpu.write(&place.buffer, place.offset + offset, bytes);
    }

    /// Overwrites the `item`-th part along the first axis; the tensor is stored as f32.
    pub fn write_item(&self, item: usize, values: &[f32]) {
        assert_eq!(
            (self.inner.storage, values.len()),
            (Storage::F32, self.item_len(item)),
            "write {item} of {:?}",
            self.shape
        );
        self.write_bytes((item * values.len() * 4) as u64, bytemuck::cast_slice(values));
    }

    /// The numbers, read back as f32. Waits for the GPU.
    ///
    /// # Errors
    /// When the device was lost or had reported an error.
    pub async fn read(&self) -> Result<Vec<f32>> {
        Ok(numbers(self.inner.storage, &self.read_bytes().await?))
    }

    /// The `item`-th part along the first axis as it is after what was submitted so far, read back as f32. Awaiting it
    /// waits for the GPU, and fails when the device was lost or had reported an error.
    pub fn read_item(&self, item: usize) -> impl Future<Output = Result<Vec<f32>>> + use<> {
        let (place, storage) = (self.place(), self.inner.storage);
        let bytes = (self.item_len(item) * storage.size()) as u64;
        let found = self.inner.gpu.read_back(&place.buffer, place.offset + item as u64 * bytes, bytes);
        async move { Ok(numbers(storage, &found.await?)) }
    }

    fn item_len(&self, item: usize) -> usize {
        assert!(item < self.shape[0], "item {item} of {:?}", self.shape);
        self.len() / self.shape[0]
    }

    /// The bytes, read back. Waits for the GPU.
    ///
    /// # Errors
    /// When the device was lost or had reported an error.
    pub async fn read_bytes(&self) -> Result<Vec<u8>> {
        let place = self.place();
        self.inner.gpu.read_back(&place.buffer, place.offset, self.bytes()).await
    }
}

/// The numbers that bytes hold.
fn numbers(storage: Storage, bytes: &[u8]) -> Vec<f32> {
    match storage {
        Storage::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Storage::F16 | Storage::Packed => {
            bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
    }
}
