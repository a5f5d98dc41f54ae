//! What is fuzzed of the files: each function takes any bytes and must return. Shared by the fuzz targets here and by
//! tests/files/mutations.rs, which feeds them changed files of the corpus in every test run.

use std::borrow::Cow;

use wordbrush::files::pickle::{Pickle, Value};
use wordbrush::files::{Embedding, png_text, read_embeddings, safetensors};
use wordbrush::recipe::{images, read};

/// The opcodes of a pickle.
pub fn pickle(bytes: &[u8]) {
    let Ok(pickle) = Pickle::read("fuzz", bytes) else { return };
    assert!(pickle.consumed() <= bytes.len());
    drop(pickle.pairs(pickle.root()));
    for value in pickle.values() {
        // Every tensor lies within its storage, whatever the pickle said.
        let Value::Tensor(tensor) = value else { continue };
        let last =
            tensor.shape.iter().zip(&tensor.strides).map(|(axis, stride)| (*axis as u64).saturating_sub(1) * stride);
        let last = tensor.offset + last.sum::<u64>();
        assert!(tensor.shape.contains(&0) || last < tensor.storage.numel);
    }
}

/// A torch file, new or old, and whatever else embeddings are read from.
pub fn torch_file(bytes: &[u8]) {
    check(read_embeddings("fuzz.pt", bytes));
}

/// A safetensors header: the first eight bytes are made to fit, so that the JSON is reached.
pub fn safetensors_header(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    if let (Some(length), Some(end)) = (file.first_chunk_mut::<8>(), bytes.iter().rposition(|byte| *byte == b'}')) {
        if u64::from_le_bytes(*length) > bytes.len() as u64 {
            *length = (end as u64).saturating_sub(7).to_le_bytes();
        }
    }
    if let Ok(header) = safetensors::header_of("fuzz.safetensors", &file) {
        let mut end = None;
        for array in header.by_offset() {
            assert!(end.is_none_or(|end| end == array.offset));
            assert_eq!(array.length as usize, array.numel() * array.dtype.size());
            end = Some(array.offset + array.length);
        }
        assert!(end.is_none_or(|end| end == file.len() as u64));
    }
    check(read_embeddings("fuzz.safetensors", &file));
}

/// A picture, and the JSON in its text; the checksums of a PNG are made to fit, so that its chunks are reached.
pub fn picture(bytes: &[u8]) {
    let bytes = mended(bytes);
    drop(png_text::find("fuzz.png", &bytes, "parameters", 1 << 20));
    check(read_embeddings("fuzz.png", &bytes));
}

/// A picture with a recipe (PNG, JPEG, WebP), or a text: what is put into a PNG is found there again, and nothing of it is
/// left in one that was bared.
pub fn recipe_picture(bytes: &[u8]) {
    let bytes = mended(bytes);
    if let Err(e) = read(&bytes) {
        assert!(!e.message.is_empty() && e.message.len() < 2000, "{e}");
    }
    let Ok(bare) = images::bare_png(&bytes) else { return };
    assert!(read(&bare).is_err() && bare.len() <= bytes.len());
    let text = "a cat\nNegative prompt: \nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: 7".to_string();
    let written = images::embed_in_png(&bytes, &[("parameters", text)]).expect("what can be bared can be written to");
    assert_eq!(read(&written).expect("a recipe").seed, Some(7));
}

/// The same bytes, with right checksums if they are a PNG's.
fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.starts_with(png_text::SIGNATURE) {
        return Cow::Borrowed(bytes);
    }
    let (mut bytes, mut at) = (bytes.to_vec(), png_text::SIGNATURE.len());
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let end = (at + 8).saturating_add(u32::from_be_bytes(*length) as usize);
        let Some(covered) = bytes.get(at + 4..end) else { break };
        let sum = crc32(covered).to_be_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&sum);
        at = end + 4;
    }
    Cow::Owned(bytes)
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn check(read: wordbrush::error::Result<Vec<Embedding>>) {
    match read {
        Ok(embeddings) => {
            assert!(!embeddings.is_empty());
            for e in embeddings {
                assert!(e.vectors > 0 && e.width > 0 && e.values.len() == e.vectors * e.width);
                assert!(e.values.iter().all(|value| value.is_finite()));
            }
        }
        Err(e) => assert!(!e.message.is_empty() && e.message.len() < 2000 && !e.message.contains('\n'), "{e}"),
    }
}
