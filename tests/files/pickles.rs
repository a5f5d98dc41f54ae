//! Files that torch wrote (tests/golden/pickles, by make_pickles.py), against torch and against another reader.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use pytorch_reader::PytorchReader;
use wordbrush::files::read_embeddings;

use crate::corpus::their_values;
use crate::names::golden;

fn bytes_of(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(golden()).join("pickles").join(file)).unwrap()
}

fn expected() -> HashMap<String, Vec<Vec<f32>>> {
    let text = String::from_utf8(bytes_of("expected.json")).unwrap();
    let mut all: HashMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let rows = |value: serde_json::Value| match value {
        serde_json::Value::Array(rows) if rows.first().is_some_and(serde_json::Value::is_array) => rows,
        row => vec![row],
    };
    all.drain()
        .map(|(name, value)| (name, rows(value).into_iter().map(|row| serde_json::from_value(row).unwrap()).collect()))
        .collect()
}

#[test]
fn the_values_are_torchs() {
    let expected = expected();
    assert_eq!(expected.len(), 11);
    for (name, rows) in expected {
        for file in [format!("{name}.pt"), format!("{name}_legacy.pt")] {
            let found = read_embeddings(&file, &bytes_of(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!(found.len(), 1, "{file}");
            let embedding = &found[0];
            assert_eq!((embedding.vectors, embedding.width), (rows.len(), 8), "{file}");
            assert_eq!(embedding.values, rows.concat(), "{file}");
            assert_eq!(embedding.name, file.trim_end_matches(".pt"));
        }
    }
}

#[test]
fn another_reader_agrees() {
    let mut compared = 0;
    for name in expected().keys() {
        for file in [format!("{name}.pt"), format!("{name}_legacy.pt")] {
            let Ok(reader) = PytorchReader::new(Path::new(golden()).join("pickles").join(&file)) else { continue };
            let ours = &read_embeddings(&file, &bytes_of(&file)).unwrap()[0];
            for tensor in reader.tensors().values() {
                let key = tensor.name.trim_start_matches("string_to_param.");
                if key != ours.key || tensor.shape().last() != Some(&8) {
                    continue;
                }
                let theirs = their_values(tensor).unwrap_or_else(|| panic!("{file}: {:?}", tensor.dtype()));
                assert_eq!(ours.values, theirs, "{file}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 16, "only {compared} tensors were compared");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn mutations_never_panic(
        file in prop::sample::select(vec!["a1111.pt", "a1111_legacy.pt", "paper.pt", "shared_legacy.pt", "list.pt", "strided_legacy.pt"]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        shorten in prop::bool::weighted(0.2),
    ) {
        let mut bytes = bytes_of(file);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(embeddings) = read_embeddings(file, &bytes) {
            prop_assert!(embeddings.iter().all(|e| e.values.len() == e.vectors * e.width));
        }
    }
}
