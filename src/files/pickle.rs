//! A pickle as data: values in an arena, nothing executed, nothing imported.
//!
//! Python runs a pickle; we only write down what it would build. Values refer to each other by index, so shared and
//! cyclic structures cost what they cost in the file, and no reading, comparing or dropping recurses.

use std::collections::HashMap;

use super::array::DType;
pub use super::pickle_globals::Global;
use super::pickle_vm::Vm;
use crate::error::Result;

/// The place of a value in its [`Pickle`].
pub type Id = usize;

/// Longer keys name no tensor.
const LONGEST_KEY: usize = 512;

/// A value that a pickle describes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer; longer ones than 128 bits become [`Value::Opaque`].
    Int(i128),
    /// A float.
    Float(f64),
    /// Text, or bytes of Python 2 that we take for text.
    Text(String),
    /// A tuple or `torch.Size`.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dict, its pairs in the order they were set.
    Dict(Vec<(Id, Id)>),
    /// A name the pickle imports, one of the few that are allowed.
    Global(Global),
    /// A reference to a tensor's bytes, which lie outside the pickle.
    Storage(StorageRef),
    /// A view of a storage.
    Tensor(TensorRef),
    /// `torch.nn.Parameter`, and the tensor it holds once its state is known.
    Parameter(Option<Id>),
    /// `torch.nn.ParameterDict`, and its state once that is known.
    ParameterDict(Option<Id>),
    /// Something whose content does not matter: a set, bytes, a device, a NumPy scalar.
    Opaque,
}

/// Bytes that a tensor lies in.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageRef {
    /// The storage's key in the file.
    pub key: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Number of its elements.
    pub numel: u64,
    /// First element of the part that is used (old files only, else 0).
    pub view: u64,
}

/// A tensor: a strided view of a storage that was checked to lie within it.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorRef {
    /// The bytes.
    pub storage: StorageRef,
    /// The first element, counted from the start of the storage.
    pub offset: u64,
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// Elements between neighbours along each axis.
    pub strides: Vec<u64>,
}

/// What a pickle describes.
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
    consumed: usize,
}

impl Pickle {
    /// Reads one pickle from the start of `bytes`; `file` is what errors call it.
    ///
    /// # Errors
    /// [`crate::error::Code::UnsafePickle`] when it imports a name that is not allowed, [`crate::error::Code::BadPickle`] when it is
    /// damaged or over a budget.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self> {
        let (values, root, consumed) = Vm::new(file, bytes).run()?;
        Ok(Self { values, root, consumed })
    }

    /// The outermost value.
    pub fn root(&self) -> Id {
        self.root
    }

    /// How many bytes the pickle took.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// All values, in the order the pickle made them.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value at `id`.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Opaque)
    }

    /// The tensor at `id`, also when a parameter wraps it.
    pub fn tensor(&self, id: Id) -> Option<&TensorRef> {
        match self.get(id) {
            Value::Tensor(tensor) => Some(tensor),
            Value::Parameter(Some(inner)) => match self.get(*inner) {
                Value::Tensor(tensor) => Some(tensor),
                _ => None,
            },
            _ => None,
        }
    }

    /// The pairs of a dict (a `ParameterDict` counts as the dict of its parameters), the last value of a repeated text
    /// key in the place of its first. Keys that are neither short text nor integers are left out.
    pub fn pairs(&self, id: Id) -> Option<Vec<(String, Id)>> {
        let pairs = self.raw_pairs(id)?;
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut unique: Vec<(String, Id)> = Vec::new();
        for (key, value) in pairs {
            let key = match self.get(*key) {
                Value::Text(key) if key.len() <= LONGEST_KEY => key.clone(),
                Value::Int(key) => key.to_string(),
                _ => continue,
            };
            match places.get(&key).and_then(|place| unique.get_mut(*place)) {
                Some(pair) => pair.1 = *value,
                None => {
                    places.insert(key.clone(), unique.len());
                    unique.push((key, *value));
                }
            }
        }
        Some(unique)
    }

    /// The pairs as the pickle set them, repeated keys and all.
    pub(super) fn raw_pairs(&self, id: Id) -> Option<&Vec<(Id, Id)>> {
        match self.get(id) {
            Value::Dict(pairs) => Some(pairs),
            Value::ParameterDict(Some(state)) => match self.get(*state) {
                Value::Dict(state) => self.parameters(state),
                _ => None,
            },
            _ => None,
        }
    }

    /// A module keeps its parameters in `_parameters`, among much else.
    fn parameters(&self, state: &[(Id, Id)]) -> Option<&Vec<(Id, Id)>> {
        let is_it = |key: Id| matches!(self.get(key), Value::Text(key) if key == "_parameters");
        let (_, parameters) = state.iter().rev().find(|(key, _)| is_it(*key))?;
        match self.get(*parameters) {
            Value::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }
}
