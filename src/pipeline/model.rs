//! What a loaded checkpoint is called, and its hash.

use std::fmt::Write;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::files::{Checkpoint, Source};
use crate::samplers::Prediction;
use crate::weights::SLICE_BYTES;

/// A checkpoint's name and hash, as recipes carry them.
pub struct Model {
    /// The file's or folder's name.
    pub name: String,
    /// The name of a separate VAE file, if one decodes.
    pub vae: Option<String>,
    /// What its UNet predicts, as far as the file says.
    pub prediction: Prediction,
    /// It was trained on noise levels that end in noise alone, as far as the file says.
    pub zero_terminal_snr: bool,
    /// sha256 of the file in 64 hex digits, once it was computed. A folder has none.
    pub sha256: Option<String>,
    hashing: Option<Hashing>,
}

struct Hashing {
    source: Rc<dyn Source>,
    done: u64,
    sha256: Sha256,
}

impl Model {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let first = checkpoint.sources.first();
        let path = first.map_or("", |source| source.name());
        // A folder's files are called `some-model/unet/…`; the folder's own name may be unknown.
        let mut parts: Vec<&str> = path.split('/').collect();
        let single = checkpoint.sources.len() == 1;
        let name = match parts.pop() {
            Some(file) if single => file.to_string(),
            _ => parts.len().checked_sub(2).map_or("diffusers folder".to_string(), |i| parts[i].to_string()),
        };
        let hashing =
            first.filter(|_| single).map(|source| Hashing { source: source.clone(), done: 0, sha256: Sha256::new() });
        let v = checkpoint.config.v_prediction;
        Self {
            name,
            vae: None,
            prediction: if v { Prediction::V } else { Prediction::Epsilon },
            zero_terminal_snr: checkpoint.config.zero_terminal_snr,
            sha256: None,
            hashing,
        }
    }

    /// Bytes of the file that were hashed so far.
    pub(super) fn hashed(&self) -> u64 {
        self.hashing.as_ref().map_or(0, |hashing| hashing.done)
    }

    pub(super) async fn hash_slice(&mut self) -> Result<bool> {
        let Some(hashing) = &mut self.hashing else { return Ok(false) };
        let length = (hashing.source.size() - hashing.done).min(SLICE_BYTES as u64);
        hashing.sha256.update(hashing.source.read(hashing.done, length as usize).await?);
        hashing.done += length;
        if hashing.done < hashing.source.size() {
            return Ok(true);
        }
        let mut text = String::new();
        if let Some(hashing) = self.hashing.take() {
            for byte in hashing.sha256.finalize() {
                let _ = write!(text, "{byte:02x}");
            }
        }
        self.sha256 = Some(text);
        Ok(false)
    }
}
