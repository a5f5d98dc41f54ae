//! The corpus (tests/corpus, by make_corpus.py): what is found in each file, against torch and against another reader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use pytorch_reader::{DType as TheirDType, PytorchReader, Tensor as TheirTensor};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wordbrush::files::{Embedding, read_embeddings, textual_inversion};

/// What a file must give: embeddings, or an error's code.
#[derive(Deserialize)]
struct Expected {
    #[serde(default)]
    embeddings: Vec<Found>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    key: Option<String>,
    layout: Option<String>,
    vectors: usize,
    width: usize,
    first: Vec<f32>,
    sha256: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn index() -> BTreeMap<String, Expected> {
    serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap()
}

/// The files of the corpus, in the order of their names.
pub fn files() -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), std::fs::read(folder().join("files").join(name)).unwrap());
    index().into_keys().map(read).collect()
}

fn sha256(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn compare(file: &str, found: &[Embedding], expected: &[Found]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |fine: bool, what: &str| {
        if !fine {
            wrong.push(format!("{file}: {what}"));
        }
    };
    check(found.len() == expected.len(), "number of embeddings");
    for (found, expected) in found.iter().zip(expected) {
        check(found.name == expected.name, &format!("name {}", found.name));
        check((found.vectors, found.width) == (expected.vectors, expected.width), "shape");
        check(found.values.get(..4) == Some(&expected.first), "first values");
        check(sha256(&found.values) == expected.sha256, "values");
        check(expected.key.as_ref().is_none_or(|key| *key == found.key), &format!("key {}", found.key));
        check(expected.layout.as_ref().is_none_or(|layout| layout == found.layout), found.layout);
    }
    wrong
}

#[test]
fn every_file_gives_what_it_must() {
    let index = index();
    assert!(index.len() >= 60, "{}", index.len());
    let mut wrong = Vec::new();
    for (file, bytes) in files() {
        let expected = &index[&file];
        match (read_embeddings(&file, &bytes), &expected.error) {
            (Ok(found), None) => wrong.extend(compare(&file, &found, &expected.embeddings)),
            (Err(e), Some(code)) if e.code.name() == code => {
                let sentence = e.message.contains(&file) && e.message.ends_with('.') && e.message.len() < 500;
                wrong.extend((!sentence).then(|| format!("{file}: no sentence: {e}")));
            }
            (Ok(_), Some(code)) => wrong.push(format!("{file}: was read, expected {code}")),
            (Err(e), expected) => wrong.push(format!("{file}: {} ({e}), expected {expected:?}", e.code.name())),
        }
        drop(textual_inversion::top_level_keys(&file, &bytes));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Values as the other reader has them; `None` for types that no embedding has.
pub fn their_values(tensor: &TheirTensor) -> Option<Vec<f32>> {
    let bytes = tensor.read().ok()?;
    Some(match tensor.dtype() {
        TheirDType::F64 => bytes.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
        TheirDType::F32 => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        TheirDType::F16 => bytes.chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        TheirDType::BF16 => bytes.chunks(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => return None,
    })
}

#[test]
fn another_reader_finds_the_same_values() {
    let (mut agreed, mut unread) = (0, Vec::new());
    for (file, expected) in index() {
        let path = folder().join("files").join(&file);
        let bytes = std::fs::read(&path).unwrap();
        let is_torch = bytes.starts_with(b"PK") || bytes.starts_with(b"\x80\x02\x8a\x0a");
        if expected.error.is_some() || !is_torch {
            continue;
        }
        let ours = read_embeddings(&file, &bytes).unwrap();
        let Ok(reader) = PytorchReader::new(&path) else {
            unread.push(file);
            continue;
        };
        // A list's tensors have no names there, and numbered tokens are several: their rows are looked for one by one.
        let theirs: Vec<Vec<f32>> = reader.tensors().values().filter_map(their_values).collect();
        for embedding in &ours {
            let whole = theirs.contains(&embedding.values);
            let by_row = embedding
                .values
                .chunks(embedding.width)
                .all(|row| theirs.iter().any(|all| all.chunks(row.len()).any(|r| r == row)));
            if theirs.is_empty() {
                unread.push(file.clone());
            } else {
                assert!(whole || by_row, "{file}: {} differs", embedding.name);
                agreed += 1;
            }
        }
    }
    println!("{agreed} embeddings agree; not read by the other reader: {unread:?}");
    assert!(agreed >= 50, "only {agreed} agree; not read: {unread:?}");
}
