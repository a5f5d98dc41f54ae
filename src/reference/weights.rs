//! A checkpoint's arrays as candle's constructors take them.

use std::collections::HashMap;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;

use crate::error::{Code, Error};

/// The arrays of one part, in f32, under diffusers' names without the part's.
pub struct Weights {
    tensors: HashMap<String, Tensor>,
    unread: &'static [&'static str],
}

impl Weights {
    /// `unread` are the beginnings of names that candle will ask for but never use: it gets zeros that take no memory.
    pub fn new(tensors: HashMap<String, Tensor>, unread: &'static [&'static str]) -> Self {
        Self { tensors, unread }
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
    Error::new(Code::MissingTensors, format!("The reference needs \"{name}\", which this checkpoint does not have"))
}
