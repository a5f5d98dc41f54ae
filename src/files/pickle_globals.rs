//! The names a pickle may import, and what calling each of them makes. Everything else is refused by name: lists of
//! forbidden names have always had holes.

use super::array::DType;
use super::pickle::{Id, StorageRef, TensorRef, Value};
use super::pickle_vm::{MOST_VALUES, Vm};
use super::shown;
use crate::error::{Code, Error, Result};

/// An allowed name, by what calling it means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.FloatStorage` and its kin: a tag for an element type.
    Storage(DType),
    /// `torch._utils._rebuild_tensor_v2` or the older `_rebuild_tensor`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`, with or without state.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: another of these functions and its arguments.
    RebuildFromType,
    /// `torch.nn.Parameter`.
    Parameter,
    /// `torch.nn.ParameterDict`.
    ParameterDict,
    /// `torch.Size`.
    Size,
    /// A harmless name whose value does not matter to us.
    Inert,
}

/// Axes of a tensor.
const MOST_AXES: usize = 8;
/// Bytes of a storage's key; torch counts, or takes an address.
const LONGEST_KEY: usize = 64;
/// Tensors in one pickle.
const MOST_TENSORS: usize = 4096;

impl Global {
    /// The meaning of `module.name`, if it is allowed.
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", storage) if storage.ends_with("Storage") => Self::Storage(match storage {
                "FloatStorage" => DType::F32,
                "HalfStorage" => DType::F16,
                "BFloat16Storage" => DType::BF16,
                "DoubleStorage" => DType::F64,
                "LongStorage" => DType::I64,
                "IntStorage" => DType::I32,
                "ShortStorage" => DType::I16,
                "CharStorage" => DType::I8,
                "ByteStorage" => DType::U8,
                "BoolStorage" => DType::Bool,
                _ => return None,
            }),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch.nn.parameter", "Parameter") => Self::Parameter,
            ("torch.nn.modules.container", "ParameterDict") => Self::ParameterDict,
            ("torch", "Size") => Self::Size,
            ("torch", "device" | "Tensor") => Self::Inert,
            ("torch", "float16" | "float32" | "float64" | "bfloat16" | "int64" | "int32" | "uint8" | "bool") => {
                Self::Inert
            }
            ("__builtin__" | "builtins", "set" | "frozenset" | "bytearray") => Self::Inert,
            ("_codecs", "encode") => Self::Inert,
            ("numpy", "dtype" | "ndarray") => Self::Inert,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct") => Self::Inert,
            _ => return None,
        })
    }
}

impl Vm<'_> {
    /// Writes down an imported name, or refuses the file for it.
    pub(super) fn import(&mut self, module: &str, name: &str) -> Result<()> {
        let Some(global) = Global::named(module, name) else {
            let message = format!(
                "{} contains code: {}.{} – refused. Nothing of it was run. An embedding needs no code; get the file from \
                 another source, or as .safetensors.",
                shown(self.file),
                shown(module),
                shown(name)
            );
            return Err(Error::new(Code::UnsafePickle, message));
        };
        self.push(Value::Global(global), 0)
    }

    /// What Python would get from calling `function` with the tuple `args`.
    pub(super) fn call(&mut self, function: Id, args: Id) -> Result<()> {
        let Value::Global(mut global) = *self.get(function) else {
            return Err(self.bad("it calls something that is no function"));
        };
        let mut args = self.arguments(args)?;
        if global == Global::RebuildFromType {
            let (Some(&inner), Some(&inner_args)) = (args.first(), args.get(2)) else {
                return Err(self.bad("a rebuilt tensor lacks its arguments"));
            };
            global = match self.get(inner) {
                Value::Global(inner @ (Global::RebuildTensor | Global::RebuildParameter)) => *inner,
                _ => return Err(self.bad("a tensor is rebuilt by something else than a tensor's function")),
            };
            args = self.arguments(inner_args)?;
        }
        match global {
            Global::OrderedDict => {
                let pairs = self.pairs_of(args.first().copied())?;
                let depth = args.first().map_or(0, |pairs| self.depth(*pairs));
                self.push(Value::Dict(pairs), depth)
            }
            Global::RebuildTensor => {
                let tensor = self.tensor(&args)?;
                self.push(Value::Tensor(tensor), 0)
            }
            Global::RebuildParameter | Global::Parameter => match args.first() {
                Some(tensor) if matches!(self.get(*tensor), Value::Tensor(_)) => {
                    self.push_again(*tensor);
                    Ok(())
                }
                None if global == Global::Parameter => self.push(Value::Parameter(None), 0),
                _ => Err(self.bad("a parameter holds no tensor")),
            },
            Global::ParameterDict => self.push(Value::ParameterDict(None), 0),
            Global::Size => match args.first() {
                Some(axes) => {
                    self.push_again(*axes);
                    Ok(())
                }
                None => self.push(Value::Tuple(Vec::new()), 0),
            },
            Global::Inert => self.push(Value::Opaque, 0),
            Global::Storage(_) | Global::RebuildFromType => Err(self.bad("it calls something that is no function")),
        }
    }

    /// A call's arguments; torch's functions have at most seven. A pickle may pass one list a million times, so the
    /// length is checked before anything is copied.
    fn arguments(&self, id: Id) -> Result<Vec<Id>> {
        const MOST: usize = 16;
        let args = self.items(id)?;
        if args.len() > MOST {
            Err(self.bad(&format!("a call has more than {MOST} arguments")))
        } else {
            Ok(args.to_vec())
        }
    }

    /// Gives `object` its state. What has no state to us keeps none.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<()> {
        let depth = self.depth(state);
        match self.get(object) {
            Value::Parameter(_) => {
                let tensor = self.items(state).ok().and_then(|items| items.first().copied());
                match tensor {
                    Some(tensor) if matches!(self.get(tensor), Value::Tensor(_)) => {
                        self.replace(object, Value::Parameter(Some(tensor)), depth)
                    }
                    _ => Err(self.bad("a parameter holds no tensor")),
                }
            }
            Value::ParameterDict(_) => self.replace(object, Value::ParameterDict(Some(state)), depth),
            _ => Ok(()),
        }
    }

    /// The reference that torch puts in a pickle for bytes outside it.
    pub(super) fn storage(&mut self, id: Id) -> Result<()> {
        let parts = self.arguments(id)?;
        let part = |i: usize| parts.get(i).map(|id| self.get(*id));
        // Old files wrap a module's class in ('module', class, path, source code) for warnings about changed sources.
        let is_module =
            matches!((part(0), part(1)), (Some(Value::Text(tag)), Some(Value::Global(_))) if tag == "module");
        if let (true, Some(class)) = (is_module, parts.get(1)) {
            self.push_again(*class);
            return Ok(());
        }
        let storage = match (part(0), part(1), part(2), part(4).and_then(size_of)) {
            (
                Some(Value::Text(tag)),
                Some(Value::Global(Global::Storage(dtype))),
                Some(Value::Text(key)),
                Some(numel),
            ) if tag == "storage" && key.len() <= LONGEST_KEY => {
                StorageRef { key: key.clone(), dtype: *dtype, numel, view: 0 }
            }
            _ => return Err(self.bad("a reference to bytes outside the pickle is not one of torch's")),
        };
        // Old files may use a part of a storage: (key of the part, its offset, its size).
        let view = match parts.get(5) {
            Some(view) if *self.get(*view) != Value::None => {
                let view = self.items(*view)?;
                match view.get(1).and_then(|id| size_of(self.get(*id))) {
                    Some(offset) => offset,
                    None => return Err(self.bad("a part of a storage has no offset")),
                }
            }
            _ => 0,
        };
        self.push(Value::Storage(StorageRef { view, ..storage }), 0)
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, …)`, checked to lie within its storage.
    fn tensor(&mut self, args: &[Id]) -> Result<TensorRef> {
        self.tensors += 1;
        if self.tensors > MOST_TENSORS {
            return Err(self.bad(&format!("it holds more than {MOST_TENSORS} tensors")));
        }
        let [storage, offset, shape, strides, ..] = args else {
            return Err(self.bad("a tensor lacks its arguments"));
        };
        let Value::Storage(storage) = self.get(*storage).clone() else {
            return Err(self.bad("a tensor has no storage"));
        };
        let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
        let offset = size_of(self.get(*offset)).and_then(|offset| offset.checked_add(storage.view));
        let checked = offset.and_then(|offset| checked_tensor(storage, offset, &shape, &strides));
        checked.ok_or_else(|| {
            self.bad(&format!("a tensor of shape {shape:?} and strides {strides:?} leaves its storage or repeats it"))
        })
    }

    fn sizes(&self, id: Id) -> Result<Vec<u64>> {
        let axes = self.items(id)?;
        let sizes = axes.iter().take(MOST_AXES + 1).map(|id| size_of(self.get(*id))).collect::<Option<Vec<u64>>>();
        match sizes {
            Some(sizes) if sizes.len() <= MOST_AXES => Ok(sizes),
            Some(_) => Err(self.bad(&format!("a tensor has more than {MOST_AXES} axes"))),
            None => Err(self.bad("a tensor's shape or stride is negative or no number")),
        }
    }

    /// The pairs an OrderedDict is made of. A pickle may pass one list often, so the copies have a budget.
    fn pairs_of(&mut self, list: Option<Id>) -> Result<Vec<(Id, Id)>> {
        let Some(list) = list else { return Ok(Vec::new()) };
        self.copied = self.copied.saturating_add(self.items(list)?.len());
        if self.copied > MOST_VALUES {
            return Err(self.bad(&format!("its OrderedDicts are made of more than {MOST_VALUES} pairs")));
        }
        let pairs = self.items(list)?.iter().map(|pair| match self.items(*pair)? {
            [key, value] => Ok((*key, *value)),
            _ => Err(self.bad("an OrderedDict is made of something else than pairs")),
        });
        pairs.collect()
    }
}

/// An integer that can be a size.
fn size_of(value: &Value) -> Option<u64> {
    match value {
        Value::Int(n) => u64::try_from(*n).ok().filter(|n| *n <= i64::MAX as u64),
        _ => None,
    }
}

/// Refuses a tensor that leaves its storage, and one with more elements than its storage: with zero strides a file of
/// a few bytes could describe a billion rows.
fn checked_tensor(storage: StorageRef, offset: u64, shape: &[u64], strides: &[u64]) -> Option<TensorRef> {
    if shape.len() != strides.len() || shape.iter().zip(strides).any(|(axis, stride)| *axis > 1 && *stride == 0) {
        return None;
    }
    // Zero axes count as one here: a product must not overflow before it reaches its zero.
    let room = shape.iter().try_fold(1u64, |product, axis| product.checked_mul((*axis).max(1)))?;
    if room > u64::from(u32::MAX) {
        return None;
    }
    let numel: u64 = shape.iter().product();
    if numel > 0 {
        let mut last = offset;
        for (axis, stride) in shape.iter().zip(strides) {
            last = last.checked_add((axis - 1).checked_mul(*stride)?)?;
        }
        if last >= storage.numel || numel > storage.numel {
            return None;
        }
    }
    let shape = shape.iter().map(|axis| *axis as usize).collect();
    Some(TensorRef { storage, offset, shape, strides: strides.to_vec() })
}
