//! A checkpoint's arrays as candle's tensors.

use std::collections::HashMap;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use half::{bf16, f16};

use super::candle;
use crate::error::{Code, Error, Result};
use crate::files::{ArrayInfo, Checkpoint, DType as FileDType, Source};

/// The arrays of one part, in f32, under diffusers' names without the part's.
pub struct Weights {
    tensors: HashMap<String, Tensor>,
    unread: &'static [&'static str],
}

impl Weights {
    /// Reads the arrays whose names start with `part` and go on with none of `unread`: those candle will ask for but
    /// never use, and it gets zeros that take no memory.
    pub async fn read(checkpoint: &Checkpoint, part: &str, unread: &'static [&'static str]) -> Result<Self> {
        let mut tensors = HashMap::new();
        for (name, info) in &checkpoint.arrays {
            let Some(name) = name.strip_prefix(part).filter(|name| !starts_with_any(name, unread)) else { continue };
            let source = checkpoint.sources.get(info.source).ok_or_else(|| missing(name))?;
            let numbers = read_array(source.as_ref(), info).await?;
            let tensor = Tensor::from_vec(numbers, info.shape.as_slice(), &Device::Cpu).map_err(candle)?;
            tensors.insert(name.to_string(), tensor);
        }
        Ok(Self { tensors, unread })
    }

    /// What candle's constructors take their weights from.
    pub fn into_builder(self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self), DType::F32, Device::Cpu)
    }
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        if starts_with_any(name, self.unread) {
            return Tensor::zeros((), dtype, device)?.broadcast_as(shape);
        }
        let tensor = self.get_unchecked(name, dtype, device)?;
        // candle asks for some matrices both ways and takes the error as its answer.
        if tensor.shape() != &shape {
            candle_core::bail!("{name} has the shape {:?}, expected {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => tensor.to_device(device)?.to_dtype(dtype),
            None => candle_core::bail!("there is no {name}"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// The error for an array that a complete checkpoint would have.
pub fn missing(name: &str) -> Error {
    Error::new(Code::Internal, format!("The reference needs \"{name}\", which this checkpoint does not have"))
}

/// An array's numbers, widened to f32.
async fn read_array(source: &dyn Source, info: &ArrayInfo) -> Result<Vec<f32>> {
    let too_large = || Error::new(Code::TooLarge, format!("\"{}\" does not fit in memory", info.name));
    let length = usize::try_from(info.length).map_err(|_| too_large())?;
    let bytes = source.read(info.offset, length).await?;
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match info.dtype {
        FileDType::F16 => Ok(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
        FileDType::BF16 => Ok(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
        FileDType::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        other => Err(Error::new(
            Code::WrongDtype,
            format!("\"{}\" is stored as {}, expected F16, BF16 or F32", info.name, other.name()),
        )),
    }
}
