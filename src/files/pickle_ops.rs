//! The opcodes that write values down: numbers, texts, containers.

use super::pickle::{Id, Value};
use super::pickle_vm::{LONGEST_TEXT, Node, Vm};
use crate::error::Result;

impl Vm<'_> {
    pub(super) fn number(&mut self, op: u8) -> Result<bool> {
        let value = match op {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            0x8a => {
                let length = self.byte()?;
                long(self.take(length.into())?)
            }
            b'I' | b'L' => match self.line()?.trim_end_matches('L') {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => digits.parse().map_or(Value::Opaque, Value::Int),
            },
            b'F' => self.line()?.parse().map_or(Value::Opaque, Value::Float),
            _ => return Ok(false),
        };
        self.push(value, 0)?;
        Ok(true)
    }

    pub(super) fn text(&mut self, op: u8) -> Result<bool> {
        let length = match op {
            b'V' => {
                let line = self.line()?;
                self.push(Value::Text(line), 0)?;
                return Ok(true);
            }
            b'S' => {
                let line = self.line()?;
                self.push(Value::Text(line.trim_matches(['\'', '"']).to_string()), 0)?;
                return Ok(true);
            }
            0x8c | b'U' | b'C' => self.byte()?.into(),
            b'X' | b'T' | b'B' => u32::from_le_bytes(self.array()?).into(),
            0x8d | 0x8e => u64::from_le_bytes(self.array()?),
            _ => return Ok(false),
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= LONGEST_TEXT) else {
            return Err(self.bad(&format!("a text of {length} bytes is longer than {LONGEST_TEXT}")));
        };
        let bytes = self.take(length)?;
        let value = match op {
            b'C' | b'B' | 0x8e => Value::Opaque,
            _ => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        };
        self.push(value, 0)?;
        Ok(true)
    }

    pub(super) fn container(&mut self, op: u8) -> Result<bool> {
        match op {
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Value::Tuple(Vec::new()), 0)?,
            0x85..=0x87 => {
                let mut items = (0x85..=op).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                self.push_items(Value::Tuple, items)?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_items(Value::Tuple, items)?;
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push_items(Value::List, items)?;
            }
            b']' => self.push(Value::List(Vec::new()), 0)?,
            b'}' => self.push(Value::Dict(Vec::new()), 0)?,
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()), 0)?;
                self.set_items(&items)?;
            }
            0x8f => self.push(Value::Opaque, 0)?,
            0x90 => drop(self.pop_to_mark()?),
            0x91 => {
                self.pop_to_mark()?;
                self.push(Value::Opaque, 0)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn push_items(&mut self, container: impl FnOnce(Vec<Id>) -> Value, items: Vec<Id>) -> Result<()> {
        let depth = self.deepest(&items);
        self.push(container(items), depth + 1)
    }

    fn deepest(&self, items: &[Id]) -> u16 {
        items.iter().map(|id| self.depth(*id)).max().unwrap_or(0)
    }

    fn append(&mut self, items: &[Id]) -> Result<()> {
        let (list, depth) = (self.top()?, self.deepest(items) + 1);
        self.check_depth(depth)?;
        match self.nodes.get_mut(list) {
            Some(Node { value: Value::List(list), depth: before }) => {
                list.extend(items);
                *before = depth.max(*before);
                Ok(())
            }
            Some(Node { value: Value::Opaque, .. }) => Ok(()),
            _ => Err(self.bad("it appends to something that is no list")),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let (dict, depth) = (self.top()?, self.deepest(items) + 1);
        self.check_depth(depth)?;
        if !items.len().is_multiple_of(2) {
            return Err(self.bad("a key has no value"));
        }
        match self.nodes.get_mut(dict) {
            Some(Node { value: Value::Dict(pairs), depth: before }) => {
                pairs.extend(items.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))));
                *before = depth.max(*before);
                Ok(())
            }
            Some(Node { value: Value::Opaque, .. }) => Ok(()),
            _ => Err(self.bad("it sets a key of something that is no dict")),
        }
    }
}

/// A little-endian two's complement integer of any length.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 16 {
        return Value::Opaque;
    }
    let fill = if bytes.last().is_some_and(|top| top & 0x80 != 0) { 0xff } else { 0 };
    let mut all = [fill; 16];
    for (to, from) in all.iter_mut().zip(bytes) {
        *to = *from;
    }
    Value::Int(i128::from_le_bytes(all))
}
