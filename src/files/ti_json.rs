//! The JSON that A1111 keeps in pictures: an embedding's dict, with tensors as `{"TORCHTENSOR": nested lists}`.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::array::DType;
use super::ti_layout::{Node, Place, Tensor};

const TENSOR: &str = "TORCHTENSOR";
/// Levels of containers, and axes of a tensor.
const DEEPEST: usize = 8;
/// Values that are no tensor's; an embedding has a dozen.
const MOST_VALUES: usize = 10_000;
/// Numbers and lists in all tensors; 1024 vectors of width 1280 are 1.3 million.
const MOST_NUMBERS: usize = 2 << 20;

/// Reads the JSON. What is wrong with it is said in half a sentence.
pub fn parse(json: &[u8]) -> Result<Node, String> {
    let budget = Budget { values: Cell::new(MOST_VALUES), numbers: Cell::new(MOST_NUMBERS) };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let node = Any { budget: &budget, depth: DEEPEST }.deserialize(&mut deserializer);
    node.and_then(|node| deserializer.end().map(|()| node)).map_err(|e| e.to_string())
}

/// What may still be read.
struct Budget {
    values: Cell<usize>,
    numbers: Cell<usize>,
}

fn spend<E: serde::de::Error>(budget: &Cell<usize>, what: &str) -> Result<(), E> {
    let left = budget.get().checked_sub(1).ok_or_else(|| E::custom(format!("it holds too many {what}")))?;
    budget.set(left);
    Ok(())
}

/// Any value.
#[derive(Clone, Copy)]
struct Any<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Any<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("it is nested too deeply"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        spend(&self.budget.values, "values")?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let (inner, mut list) = (self.deeper()?, Vec::new());
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let (inner, mut entries) = (self.deeper()?, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            if key != TENSOR {
                entries.push((key, map.next_value_seed(inner)?));
                continue;
            }
            let mut nest = Nest { budget: self.budget, rank: None, shape: Vec::new(), values: Vec::new() };
            map.next_value_seed(Level { nest: &mut nest, depth: 0 })?;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            let numel = nest.shape.iter().try_fold(1usize, |numel, axis| numel.checked_mul(*axis));
            if numel != Some(nest.values.len()) {
                return Err(A::Error::custom("a tensor's lists are not equally deep"));
            }
            let place = Place::Values(Rc::new(nest.values));
            return Ok(Node::Tensor(Tensor { dtype: DType::F32, shape: nest.shape, place }));
        }
        Ok(Node::Dict(entries))
    }
}

/// A tensor being read from nested lists; all lists of one level must have one length.
struct Nest<'b> {
    budget: &'b Budget,
    /// How deep the numbers lie, once one was seen.
    rank: Option<usize>,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// A list or number of a tensor.
struct Level<'n, 'b> {
    nest: &'n mut Nest<'b>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        spend(&self.nest.budget.numbers, "numbers")?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number or a list of them")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if *self.nest.rank.get_or_insert(self.depth) != self.depth {
            return Err(E::custom("a tensor's lists are not equally deep"));
        }
        self.nest.values.push(value as f32);
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.depth;
        if depth == DEEPEST || self.nest.rank.is_some_and(|rank| depth >= rank) {
            return Err(A::Error::custom("a tensor's lists are not equally deep"));
        }
        let known = self.nest.shape.len() > depth;
        if !known {
            self.nest.shape.push(0);
        }
        let mut length = 0;
        while items.next_element_seed(Level { nest: &mut *self.nest, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        match self.nest.shape.get_mut(depth) {
            Some(axis) if known && *axis != length => Err(A::Error::custom("a tensor's lists are not equally long")),
            Some(axis) => {
                *axis = length;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
