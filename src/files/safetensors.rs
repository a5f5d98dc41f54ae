//! The safetensors header: a length, JSON, and the promise that the arrays lie one after the other.
//!
//! The crate of that name wants the whole file in memory and counts in `usize`, which is 32 bits in wasm; checkpoints
//! pass 4 GiB. So the header is read alone, offsets are u64, and the format's rules are checked here once more.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::array::{ArrayInfo, DType};
use super::sniff::{self, Kind};
use super::{Source, clipped, shown};
use crate::error::{Code, Error, Result};

/// The longest header we read; Stable Diffusion 1.5 needs about 0.2 MiB.
const LONGEST_HEADER: u64 = 16 << 20;
/// Stable Diffusion 1.5 with its moving averages has about 2 000 arrays.
const MOST_ARRAYS: usize = 10_000;
const MOST_AXES: usize = 8;
const LONGEST_NAME: usize = 512;

const WANTED: &str = "a .safetensors file";

/// What a safetensors file says about its arrays.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// The arrays, in the order of the header's JSON ("the first array" of an embedding means this order).
    pub arrays: Vec<ArrayInfo>,
    /// The header's `__metadata__`: free text, for display only.
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// The arrays in the order of their bytes, for reading the file once from front to back.
    pub fn by_offset(&self) -> Vec<&ArrayInfo> {
        let mut arrays: Vec<_> = self.arrays.iter().collect();
        arrays.sort_by_key(|array| (array.offset, array.length));
        arrays
    }
}

/// Reads and checks the header of `source`, and none of its arrays; `source_index` is copied to each of them.
///
/// # Errors
/// What the file is instead of safetensors, or which of the format's rules it breaks.
pub async fn read_header(source: &dyn Source, source_index: usize) -> Result<Header> {
    let size = source.size();
    let head = source.read(0, size.min(sniff::HEAD as u64) as usize).await?;
    let length = header_length(source.name(), &head, size)?;
    let json = source.read(8, length).await?;
    parse_header(source.name(), &json, size, source_index)
}

/// The same for a file already in memory.
///
/// # Errors
/// As [`read_header`].
pub fn header_of(file: &str, bytes: &[u8]) -> Result<Header> {
    let size = bytes.len() as u64;
    let length = header_length(file, bytes, size)?;
    parse_header(file, bytes.get(8..8 + length).unwrap_or_default(), size, 0)
}

/// How many bytes of JSON follow the first eight; within the file and our limit.
fn header_length(file: &str, head: &[u8], size: u64) -> Result<usize> {
    let kind = sniff::sniff(head.get(..sniff::HEAD).unwrap_or(head));
    let length = match head.first_chunk::<8>() {
        Some(length) if kind == Kind::Safetensors => u64::from_le_bytes(*length),
        Some(length) if kind == Kind::Unknown && file.to_ascii_lowercase().ends_with(".safetensors") => {
            let length = u64::from_le_bytes(*length);
            return Err(bad(file, &format!("no JSON follows its first 8 bytes, which promise {length} bytes of it")));
        }
        _ => return Err(sniff::refusal(kind, file, WANTED)),
    };
    if length > LONGEST_HEADER {
        let message =
            format!("{} has a header of {length} bytes; the most Wordbrush reads is {LONGEST_HEADER}.", shown(file));
        return Err(Error::new(Code::TooLarge, message));
    }
    if 8 + length > size {
        return Err(cut_short(file, 8 + length, size));
    }
    Ok(length as usize)
}

fn parse_header(file: &str, json: &[u8], size: u64, source_index: usize) -> Result<Header> {
    let base = 8 + json.len() as u64;
    let json = std::str::from_utf8(json).map_err(|_| bad(file, "its header is not UTF-8 text"))?;
    let raw: RawHeader = serde_json::from_str(json)
        .map_err(|e| bad(file, &format!("its header cannot be read: {}", clipped(&e.to_string(), 200))))?;
    check_layout(file, &raw.entries, size - base, size)?;
    let arrays = raw.entries.into_iter().map(|(name, entry)| entry.into_array(file, name, base, source_index));
    Ok(Header { arrays: arrays.collect::<Result<_>>()?, metadata: raw.metadata })
}

fn bad(file: &str, what: &str) -> Error {
    Error::new(Code::BadSafetensors, format!("{} is damaged or was written by a faulty program: {what}.", shown(file)))
}

fn cut_short(file: &str, needed: u64, size: u64) -> Error {
    let missing = needed.saturating_sub(size);
    let message = format!(
        "{} is cut short: its header promises {needed} bytes, the file has {size} ({missing} are missing). Download it again.",
        shown(file)
    );
    Error::new(Code::Truncated, message)
}

/// Each array starts where the one before it ends, the first at 0, and the last ends with the file: no holes, no
/// overlaps, no room for a second file inside this one.
fn check_layout(file: &str, entries: &[(String, RawEntry)], data: u64, size: u64) -> Result<()> {
    let mut ranges: Vec<_> = entries.iter().map(|(name, entry)| (entry.data_offsets, name)).collect();
    ranges.sort();
    let mut end = 0;
    for ([start, stop], name) in ranges {
        let name = shown(name);
        if stop < start {
            return Err(bad(file, &format!("\"{name}\" ends at byte {stop}, before it starts at {start}")));
        }
        if start != end {
            let what = if start < end { "overlaps the array before it" } else { "leaves a hole before it" };
            return Err(bad(file, &format!("\"{name}\" {what} (it starts at byte {start}, expected {end})")));
        }
        end = stop;
    }
    match end.cmp(&data) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(cut_short(file, (size - data).saturating_add(end), size)),
        std::cmp::Ordering::Less => {
            Err(bad(file, &format!("{} bytes after the last array belong to none", data - end)))
        }
    }
}

/// The header's JSON: like a map, but in order, and a name may not come twice.
struct RawHeader {
    entries: Vec<(String, RawEntry)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Shape,
    data_offsets: [u64; 2],
}

impl RawEntry {
    fn into_array(self, file: &str, name: String, base: u64, source: usize) -> Result<ArrayInfo> {
        let dtype = dtype_named(&self.dtype).ok_or_else(|| {
            let (file, name, dtype) = (shown(file), shown(&name), shown(&self.dtype));
            Error::new(
                Code::WrongDtype,
                format!("{file}: \"{name}\" has the element type {dtype}, which Wordbrush does not know."),
            )
        })?;
        let [start, stop] = self.data_offsets;
        let Shape(axes) = self.shape;
        // Zero axes count as one here: a product must not overflow before it reaches its zero.
        let room = axes.iter().try_fold(1u64, |product, axis| product.checked_mul((*axis).max(1)));
        if room.is_none_or(|room| room > u64::from(u32::MAX)) {
            let message =
                format!("{}: \"{}\" has the shape {axes:?}, too large for one array.", shown(file), shown(&name));
            return Err(Error::new(Code::TooLarge, message));
        }
        let shape: Vec<usize> = axes.iter().map(|axis| *axis as usize).collect();
        let numel = axes.iter().product::<u64>();
        let length = numel * dtype.size() as u64;
        if length != stop - start {
            let name = shown(&name);
            return Err(bad(
                file,
                &format!("\"{name}\" {axes:?} in {} needs {length} bytes, it has {}", dtype.name(), stop - start),
            ));
        }
        Ok(ArrayInfo { name, dtype, shape, source, offset: base + start, length })
    }
}

/// The axes of an array; no more than [`MOST_AXES`] are ever kept.
struct Shape(Vec<u64>);

fn dtype_named(name: &str) -> Option<DType> {
    use DType::*;
    let all = [F64, F32, F16, BF16, F8E5M2, F8E4M3, I64, I32, I16, I8, U64, U32, U16, U8, Bool];
    all.into_iter().find(|dtype| dtype.name() == name)
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of arrays")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { entries: Vec::new(), metadata: BTreeMap::new() };
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name.len() > LONGEST_NAME {
                        return Err(A::Error::custom(format!(
                            "a name has {} bytes, the most is {LONGEST_NAME}",
                            name.len()
                        )));
                    }
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("\"{}\" comes twice", shown(&name))));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else if header.entries.len() == MOST_ARRAYS {
                        return Err(A::Error::custom(format!("more than {MOST_ARRAYS} arrays")));
                    } else {
                        header.entries.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Few;
        impl<'de> Visitor<'de> for Few {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a shape")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut axes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(axis) = axes.next_element()? {
                    if shape.len() == MOST_AXES {
                        return Err(A::Error::custom(format!("a shape of more than {MOST_AXES} axes")));
                    }
                    shape.push(axis);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Few)
    }
}
