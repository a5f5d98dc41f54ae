//! What is fuzzed of models: the header of a checkpoint and the configs of a diffusers folder. No array is read.

use std::rc::Rc;

use serde_json::Value;
use wordbrush::files::source::past_the_end;
use wordbrush::files::{Checkpoint, LocalFuture, MemorySource, Source, taesd_file, vae_file};
use wordbrush::{Error, Result};

/// A header, and as many zeros behind it as its JSON speaks of: the limit is the file's, not the fuzzer's.
struct Sparse {
    name: &'static str,
    head: Vec<u8>,
    size: u64,
}

impl Source for Sparse {
    fn name(&self) -> &str {
        self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
                return Err(past_the_end(self.name, offset, length, self.size));
            }
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.head.len());
            let mut bytes = self.head[start..self.head.len().min(start.saturating_add(length))].to_vec();
            bytes.resize(length, 0);
            Ok(bytes)
        })
    }
}

fn sparse(name: &'static str, json: &[u8]) -> Rc<dyn Source> {
    let ends = serde_json::from_slice::<Value>(json).unwrap_or_default();
    let ends = ends.as_object().into_iter().flat_map(|entries| entries.values());
    let data = ends.filter_map(|entry| entry["data_offsets"][1].as_u64()).max().unwrap_or(0);
    let head = [&(json.len() as u64).to_le_bytes(), json].concat();
    let size = (head.len() as u64).saturating_add(data);
    Rc::new(Sparse { name, head, size })
}

fn check(read: std::result::Result<Option<Checkpoint>, Error>) {
    match read {
        Ok(Some(checkpoint)) => {
            for (name, array) in &checkpoint.arrays {
                assert!(!name.is_empty());
                assert_eq!(array.length, (array.numel() as u64).saturating_mul(array.dtype.size() as u64), "{name}");
                let size = checkpoint.sources[array.source].size();
                assert!(array.offset.checked_add(array.length).is_some_and(|end| end <= size), "{name}");
            }
        }
        Ok(None) => {}
        Err(e) => assert!(!e.message.is_empty() && e.message.len() < 4000 && !e.message.contains('\n'), "{e}"),
    }
}

/// Headers' JSON, split at zero bytes: the first is read as each kind of single file, all together as a diffusers folder with
/// its configs.
pub fn checkpoint(bytes: &[u8]) {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let one = || sparse("model.safetensors", parts[0]);
    check(pollster::block_on(Checkpoint::open(vec![one()])).map(Some));
    check(pollster::block_on(vae_file::open(one())).map(Some));
    check(pollster::block_on(taesd_file::open(one())));
    let weights = ["unet/model.safetensors", "vae/model.safetensors", "text_encoder/model.safetensors"];
    let configs =
        ["unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"];
    let mut folder: Vec<Rc<dyn Source>> =
        weights.into_iter().zip(&parts).map(|(name, json)| sparse(name, json)).collect();
    for (name, json) in configs.into_iter().zip(parts.iter().skip(weights.len())) {
        folder.push(Rc::new(MemorySource::new(name, json.to_vec())));
    }
    check(pollster::block_on(Checkpoint::open(folder)).map(Some));
}
