//! Files that are all shape and no numbers.

use std::cell::Cell;

use wordbrush::error::{Error, Result};
use wordbrush::files::source::past_the_end;
use wordbrush::files::{LocalFuture, Source};

/// A file that is a header and then zeros, of any size; it counts what is read of it.
pub struct SparseSource {
    name: String,
    head: Vec<u8>,
    size: u64,
    /// Bytes read so far.
    pub read: Cell<u64>,
}

impl SparseSource {
    /// A safetensors file of these arrays (name, shape), all of one dtype.
    pub fn safetensors<'a>(name: &str, dtype: &str, arrays: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Self {
        let (mut at, mut entries) = (0, Vec::new());
        let width = if dtype == "F32" { 4 } else { 2 };
        for (array, shape) in arrays {
            let end = at + shape.iter().product::<usize>() as u64 * width;
            entries.push(format!(r#""{array}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{at},{end}]}}"#));
            at = end;
        }
        let json = format!("{{{}}}", entries.join(","));
        let head = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        let size = head.len() as u64 + at;
        Self { name: name.to_string(), head, size, read: Cell::new(0) }
    }

    /// A file of these bytes and nothing else.
    #[allow(dead_code, reason = "each test binary uses its part")]
    pub fn of_bytes(name: &str, head: &[u8]) -> Self {
        Self { name: name.to_string(), head: head.to_vec(), size: head.len() as u64, read: Cell::new(0) }
    }
}

impl Source for SparseSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn is_local(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            if offset + length as u64 > self.size {
                return Err::<_, Error>(past_the_end(&self.name, offset, length, self.size));
            }
            self.read.set(self.read.get() + length as u64);
            let mut bytes = self.head.iter().skip(offset as usize).take(length).copied().collect::<Vec<u8>>();
            bytes.resize(length, 0);
            Ok(bytes)
        })
    }
}
