//! Where bytes come from: a `File` in the browser, a URL with ranges, a file on disk, memory.

use std::future::Future;
use std::pin::Pin;

use crate::error::{Code, Error, Result};

/// A boxed future that need not be `Send`: the browser has one thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Random access to the bytes of one file. Offsets are u64: f32 checkpoints pass 4 GiB.
pub trait Source {
    /// The file's name, with its path inside a chosen folder (`unet/diffusion_pytorch_model.safetensors`).
    fn name(&self) -> &str;

    /// The file's length in bytes.
    fn size(&self) -> u64;

    /// Exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`Code::Truncated`] past the end, [`Code::Read`] when the medium fails.
    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>>;

    /// Reading a part again later costs little: no network is between.
    fn is_local(&self) -> bool {
        false
    }
}

/// The error for a range that leaves the file.
pub fn past_the_end(name: &str, offset: u64, length: usize, size: u64) -> Error {
    Error::new(
        Code::Truncated,
        format!(
            "{name} is cut short: bytes {offset} to {} are needed, the file has {size}",
            offset.saturating_add(length as u64)
        ),
    )
}

/// Bytes already in memory.
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    /// A source named `name` over `bytes`.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes }
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn is_local(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            let start = usize::try_from(offset).ok();
            let range = start.and_then(|start| Some(start..start.checked_add(length)?));
            let bytes = range.and_then(|range| self.bytes.get(range));
            bytes.map(<[u8]>::to_vec).ok_or_else(|| past_the_end(&self.name, offset, length, self.size()))
        })
    }
}

/// A file on disk (native programs).
#[cfg(not(target_arch = "wasm32"))]
pub struct DiskSource {
    name: String,
    size: u64,
    file: std::cell::RefCell<std::fs::File>,
}

#[cfg(not(target_arch = "wasm32"))]
impl DiskSource {
    /// Opens `path`; `name` is what error messages call it.
    ///
    /// # Errors
    /// [`Code::Read`] when the file cannot be opened.
    pub fn open(path: &std::path::Path, name: impl Into<String>) -> Result<Self> {
        let refused = |e: std::io::Error| Error::new(Code::Read, format!("{} cannot be opened: {e}", path.display()));
        let file = std::fs::File::open(path).map_err(refused)?;
        let size = file.metadata().map_err(refused)?.len();
        Ok(Self { name: name.into(), size, file: file.into() })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Source for DiskSource {
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
        use std::io::{Read, Seek, SeekFrom};
        Box::pin(async move {
            if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
                return Err(past_the_end(&self.name, offset, length, self.size));
            }
            let mut bytes = vec![0; length];
            let mut file = self.file.borrow_mut();
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|e| Error::new(Code::Read, format!("{} cannot be read: {e}", self.name)))?;
            Ok(bytes)
        })
    }
}
