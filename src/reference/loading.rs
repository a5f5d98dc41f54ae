//! A checkpoint's arrays on their way into candle's tensors, in the file's own order.

use std::collections::HashMap;
use std::rc::Rc;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use half::{bf16, f16};

use super::candle;
use super::weights::{Weights, missing};
use crate::error::{Code, Error, Result};
use crate::files::{ArrayInfo, Checkpoint, DType, Source};

/// Read at once, unless a single array is larger.
const SLICE_BYTES: u64 = 16 << 20;
/// What candle's networks ask for but txt2img never uses.
const UNUSED: [&str; 2] = ["vae.encoder.", "vae.quant_conv."];

/// Arrays that are being read, and those that were, in f32 under diffusers' names.
pub struct Loading {
    sources: Vec<Rc<dyn Source>>,
    arrays: Vec<(String, ArrayInfo)>,
    next: usize,
    tensors: HashMap<String, Tensor>,
    loaded: u64,
}

impl Loading {
    /// All that txt2img needs of a checkpoint; nothing is read yet.
    pub fn new(checkpoint: &Checkpoint) -> Self {
        Self::of(checkpoint, |name| !UNUSED.iter().any(|prefix| name.starts_with(prefix)))
    }

    /// The arrays whose names are `used`.
    pub fn of(checkpoint: &Checkpoint, used: impl Fn(&str) -> bool) -> Self {
        let arrays = checkpoint.arrays.iter().filter(|(name, _)| used(name));
        let mut arrays: Vec<_> = arrays.map(|(name, info)| (name.clone(), info.clone())).collect();
        arrays.sort_by_key(|(_, info)| (info.source, info.offset));
        Self { sources: checkpoint.sources.clone(), arrays, next: 0, tensors: HashMap::new(), loaded: 0 }
    }

    /// Bytes read, and bytes in all.
    pub fn loaded(&self) -> (u64, u64) {
        (self.loaded, self.arrays.iter().map(|(_, info)| info.length).sum())
    }

    /// Numbers in all arrays.
    pub fn parameters(&self) -> u64 {
        self.arrays.iter().map(|(_, info)| info.length / info.dtype.size() as u64).sum()
    }

    /// Reads arrays that lie close together; false once all are there.
    pub async fn step(&mut self) -> Result<bool> {
        let Some((name, first)) = self.arrays.get(self.next) else { return Ok(false) };
        let near =
            |info: &ArrayInfo| info.source == first.source && info.offset + info.length - first.offset <= SLICE_BYTES;
        let count = self.arrays[self.next..].iter().take_while(|(_, info)| near(info)).count().max(1);
        let arrays = &self.arrays[self.next..self.next + count];
        let end = arrays.iter().map(|(_, info)| info.offset + info.length).max().unwrap_or(first.offset);
        let too_large = || Error::new(Code::TooLarge, format!("\"{}\" does not fit in memory", first.name));
        let length = usize::try_from(end - first.offset).map_err(|_| too_large())?;
        let source = self.sources.get(first.source).ok_or_else(|| missing(name))?;
        let bytes = source.read(first.offset, length).await?;
        for (name, info) in arrays {
            let at = (info.offset - first.offset) as usize;
            let numbers = widened(info, &bytes[at..at + info.length as usize])?;
            let tensor = Tensor::from_vec(numbers, info.shape.as_slice(), &Device::Cpu).map_err(candle)?;
            self.tensors.insert(name.clone(), tensor);
            self.loaded += info.length;
        }
        self.next += count;
        Ok(self.next < self.arrays.len())
    }

    /// Takes an array out.
    pub fn take(&mut self, name: &str) -> Result<Tensor> {
        self.tensors.remove(name).ok_or_else(|| missing(name))
    }

    /// Puts an array in the place of one that was taken out.
    pub fn put(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_string(), tensor);
    }

    /// Takes the arrays out whose names start with `part`.
    pub fn take_part(&mut self, part: &str) -> HashMap<String, Tensor> {
        let names: Vec<String> = self.tensors.keys().filter(|name| name.starts_with(part)).cloned().collect();
        let taken = names.into_iter().filter_map(|name| {
            let tensor = self.tensors.remove(&name)?;
            Some((name[part.len()..].to_string(), tensor))
        });
        taken.collect()
    }

    /// The same for candle's constructors. `unread` are those they ask for but never use.
    pub fn part(&mut self, part: &str, unread: &'static [&'static str]) -> VarBuilder<'static> {
        Weights::new(self.take_part(part), unread).into_builder()
    }
}

/// An array's numbers in f32.
fn widened(info: &ArrayInfo, bytes: &[u8]) -> Result<Vec<f32>> {
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match info.dtype {
        DType::F16 => Ok(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
        DType::BF16 => Ok(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
        DType::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        other => Err(Error::new(
            Code::WrongDtype,
            format!("\"{}\" is stored as {}, expected F16, BF16 or F32", info.name, other.name()),
        )),
    }
}
