//! The opcodes of a pickle, protocols 0 to 5, as far as torch writes them.

use std::collections::HashMap;

use super::pickle::{Id, Value};
use super::{clipped, shown};
use crate::error::{Code, Error, Result};

const MOST_OPS: usize = 1_000_000;
pub(super) const MOST_VALUES: usize = 100_000;
const DEEPEST: u16 = 64;
pub(super) const LONGEST_TEXT: usize = 1 << 20;

/// Something under construction: what it is, and how many levels of containers it has.
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) depth: u16,
}

/// A pickle being read.
pub(super) struct Vm<'a> {
    pub(super) file: &'a str,
    bytes: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at each open MARK.
    pub(super) marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    pub(super) tensors: usize,
    /// Pairs copied out of lists so far.
    pub(super) copied: usize,
}

impl<'a> Vm<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            file,
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tensors: 0,
            copied: 0,
        }
    }

    /// All values, the outermost one, and the number of bytes read.
    pub(super) fn run(mut self) -> Result<(Vec<Value>, Id, usize)> {
        for _ in 0..MOST_OPS {
            let op = self.byte()?;
            if op == b'.' {
                let root = self.pop()?;
                return Ok((self.nodes.into_iter().map(|node| node.value).collect(), root, self.at));
            }
            let known =
                self.number(op)? || self.text(op)? || self.container(op)? || self.memory(op)? || self.object(op)?;
            if !known {
                return Err(self.bad(&format!("opcode 0x{op:02x} at byte {} is not one torch writes", self.at - 1)));
            }
        }
        Err(self.bad(&format!("it has more than {MOST_OPS} instructions")))
    }

    /// The error for a pickle that cannot be read on.
    pub(super) fn bad(&self, what: &str) -> Error {
        Error::new(Code::BadPickle, format!("{} is damaged or no embedding: {what}.", shown(self.file)))
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        self.nodes.get(id).map_or(&Value::Opaque, |node| &node.value)
    }

    pub(super) fn depth(&self, id: Id) -> u16 {
        self.nodes.get(id).map_or(0, |node| node.depth)
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Result<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Ok(items),
            _ => Err(self.bad("a tuple is expected where another value stands")),
        }
    }

    /// Pushes a new value whose deepest part has `depth` levels.
    pub(super) fn push(&mut self, value: Value, depth: u16) -> Result<()> {
        if self.nodes.len() >= MOST_VALUES {
            return Err(self.bad(&format!("it holds more than {MOST_VALUES} values")));
        }
        self.check_depth(depth)?;
        self.nodes.push(Node { value, depth });
        self.stack.push(self.nodes.len() - 1);
        Ok(())
    }

    /// Pushes a value that exists already.
    pub(super) fn push_again(&mut self, id: Id) {
        self.stack.push(id);
    }

    pub(super) fn replace(&mut self, id: Id, value: Value, depth: u16) -> Result<()> {
        let depth = depth.saturating_add(1);
        self.check_depth(depth)?;
        if let Some(node) = self.nodes.get_mut(id) {
            *node = Node { value, depth: depth.max(node.depth) };
        }
        Ok(())
    }

    pub(super) fn check_depth(&self, depth: u16) -> Result<()> {
        if depth > DEEPEST { Err(self.bad(&format!("it is nested more than {DEEPEST} levels deep"))) } else { Ok(()) }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.cut_short()),
        }
    }

    fn cut_short(&self) -> Error {
        let message = format!("{} is cut short: its pickle ends within a value. Download it again.", shown(self.file));
        Error::new(Code::Truncated, message)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// The text up to the next line feed.
    pub(super) fn line(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().take(LONGEST_TEXT).position(|byte| *byte == b'\n');
        let Some(length) = length else {
            return Err(if rest.len() < LONGEST_TEXT { self.cut_short() } else { self.bad("a line has no end") });
        };
        let line = self.take(length)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.bad("it takes a value that is not there"));
        }
        self.stack.pop().ok_or_else(|| self.bad("it takes a value that is not there"))
    }

    pub(super) fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(id) if self.stack.len() > floor => Ok(*id),
            _ => Err(self.bad("it uses a value that is not there")),
        }
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(self.bad("a mark is missing")),
        }
    }

    /// The stack's and the memo's own instructions, and the frame's.
    fn memory(&mut self, op: u8) -> Result<bool> {
        match op {
            0x80 => {
                let protocol = self.byte()?;
                if protocol > 5 {
                    return Err(self.bad(&format!("it is of pickle protocol {protocol}, the newest known is 5")));
                }
            }
            0x95 => drop(self.array::<8>()?),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_again(top);
            }
            b'g' | b'h' | b'j' => {
                let key = self.memo_key(op)?;
                match self.memo.get(&key) {
                    Some(id) => self.stack.push(*id),
                    None => return Err(self.bad(&format!("it recalls value {key}, which it never stored"))),
                }
            }
            b'p' | b'q' | b'r' => {
                let key = self.memo_key(op)?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn memo_key(&mut self, op: u8) -> Result<u32> {
        Ok(match op {
            b'h' | b'q' => self.byte()?.into(),
            b'j' | b'r' => u32::from_le_bytes(self.array()?),
            _ => {
                let line = self.line()?;
                line.parse().map_err(|_| self.bad(&format!("\"{}\" is no place in the memo", clipped(&line, 20))))?
            }
        })
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let top = self.top()?;
        if self.memo.len() >= MOST_VALUES {
            return Err(self.bad(&format!("it stores more than {MOST_VALUES} values")));
        }
        self.memo.insert(key, top);
        Ok(())
    }

    /// Imports and calls: the only instructions that could run code, were this Python.
    fn object(&mut self, op: u8) -> Result<bool> {
        match op {
            b'c' | b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                self.import(&module, &name)?;
                if op == b'i' {
                    return Err(self.bad(&format!("it makes a {} in a way torch never does", shown(&name))));
                }
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.get(module).clone(), self.get(name).clone()) {
                    (Value::Text(module), Value::Text(name)) => self.import(&module, &name)?,
                    _ => return Err(self.bad("it imports something without a name")),
                }
            }
            b'R' | 0x81 => {
                let args = self.pop()?;
                let function = self.pop()?;
                self.call(function, args)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                self.build(object, state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
