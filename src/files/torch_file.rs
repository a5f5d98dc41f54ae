//! What `torch.save` writes: a pickle that describes tensors, and the bytes they lie in.

use std::borrow::Cow;
use std::collections::HashMap;

use half::{bf16, f16};

use super::array::DType;
use super::pickle::{Pickle, TensorRef};
use super::sniff::{self, Kind};
use super::{shown, torch_legacy, torch_zip};
use crate::error::{Code, Error, Result};

/// A torch file in memory.
pub struct TorchFile<'a> {
    /// What the file's error sentences call it.
    pub(super) file: String,
    /// The object that was saved.
    pub pickle: Pickle,
    pub(super) storages: HashMap<String, Cow<'a, [u8]>>,
    pub(super) big_endian: bool,
}

impl<'a> TorchFile<'a> {
    /// Reads a torch file of today's zip format, or of the one before torch 1.6.
    ///
    /// # Errors
    /// What the file is instead, or what is wrong with it.
    pub fn read(file: &str, bytes: &'a [u8]) -> Result<Self> {
        match sniff::sniff(bytes.get(..sniff::HEAD).unwrap_or(bytes)) {
            Kind::Zip => torch_zip::read(file, bytes),
            Kind::TorchLegacy => torch_legacy::read(file, bytes),
            kind => Err(sniff::refusal(kind, file, "a file written by torch.save")),
        }
    }

    /// A tensor's elements, row-major.
    ///
    /// # Errors
    /// [`Code::WrongDtype`] for integers, [`Code::Truncated`] when the storage is absent or shorter than promised.
    pub fn values(&self, tensor: &TensorRef) -> Result<Vec<f32>> {
        let storage = &tensor.storage;
        let size = storage.dtype.size();
        let bytes = self.storages.get(&storage.key).map(Cow::as_ref).unwrap_or_default();
        if storage.numel.checked_mul(size as u64).is_none_or(|needed| needed > bytes.len() as u64) {
            let message = format!(
                "{} is cut short: the tensor data \"{}\" has {} bytes, {} elements of {size} bytes are promised.",
                shown(&self.file),
                shown(&storage.key),
                bytes.len(),
                storage.numel
            );
            return Err(Error::new(Code::Truncated, message));
        }
        let numel: usize = tensor.shape.iter().product();
        let mut packed = Vec::with_capacity(numel * size);
        for place in places(tensor) {
            let start = place as usize * size;
            let element = bytes.get(start..start + size).unwrap_or_default();
            if self.big_endian { packed.extend(element.iter().rev()) } else { packed.extend_from_slice(element) }
        }
        floats(&packed, storage.dtype).ok_or_else(|| {
            Error::new(
                Code::WrongDtype,
                format!("{} holds {} where floats are expected.", shown(&self.file), storage.dtype.name()),
            )
        })
    }
}

/// Where a tensor's elements lie in its storage, in row-major order.
fn places(tensor: &TensorRef) -> impl Iterator<Item = u64> {
    let numel: usize = tensor.shape.iter().product();
    (0..numel).map(|i| {
        let mut rest = i;
        let axes = tensor.shape.iter().zip(&tensor.strides).rev();
        axes.fold(tensor.offset, |place, (axis, stride)| {
            let step = rest % axis;
            rest /= axis;
            place + step as u64 * stride
        })
    })
}

/// Little-endian elements as f32; `None` for types that are no floats. The bytes need no alignment.
pub fn floats(bytes: &[u8], dtype: DType) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.chunks_exact(N).filter_map(|chunk| chunk.first_chunk().copied()).map(convert).collect()
    }
    Some(match dtype {
        DType::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        DType::F32 => each(bytes, f32::from_le_bytes),
        DType::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        DType::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}
