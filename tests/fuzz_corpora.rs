//! What the fuzzers found worth keeping (tests/fuzz/corpora), replayed: each target returns, and takes little memory.

use std::io::{Cursor, Read};
use std::path::Path;

use peak_alloc::PeakAlloc;

#[path = "fuzz/model_targets.rs"]
mod model_targets;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "fuzz/text_targets.rs"]
mod text_targets;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What one input of at most 16 KiB may take on the way: a zip that unfolds takes most, then the tokenizer, which is made once.
const MOST_MEMORY: usize = 48 << 20;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 10] = [
    ("checkpoint", model_targets::checkpoint),
    ("dynamic", text_targets::dynamic),
    ("infotext", text_targets::infotext),
    ("pickle", targets::pickle),
    ("png_embedding", targets::picture),
    ("prompt", text_targets::prompt),
    ("recipe_picture", targets::recipe_picture),
    ("safetensors_header", targets::safetensors_header),
    ("workflow", text_targets::workflow),
    ("zip", targets::torch_file),
];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz"))
}

/// The files of a corpus.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let file = std::fs::read(folder().join("corpora").join(format!("{target}.zip"))).expect("a corpus");
    let mut entries = zip::ZipArchive::new(Cursor::new(file)).expect("a zip");
    let count = entries.len();
    let read = |i| {
        let mut entry = entries.by_index(i).expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        (entry.name().expect("a name").into_owned(), bytes)
    };
    (0..count).map(read).collect()
}

/// One test: the allocator counts for all threads.
#[test]
fn every_input_returns_and_takes_little_memory() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name}");
        let mut most = 0;
        for (input, bytes) in &inputs {
            MEMORY.reset_peak_usage();
            let before = MEMORY.current_usage();
            target(bytes);
            let taken = MEMORY.peak_usage().saturating_sub(before);
            assert!(taken < MOST_MEMORY, "{name}/{input}: {taken} bytes for {}", bytes.len());
            most = most.max(taken);
        }
        println!("{name}: {} inputs, at most {most} bytes", inputs.len());
    }
}

/// A target without a corpus, or one that is not replayed, would go unnoticed.
#[test]
fn every_target_is_replayed() {
    let mut targets: Vec<String> = std::fs::read_dir(folder().join("fuzz_targets"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    targets.sort();
    assert_eq!(targets, TARGETS.map(|(name, _)| name));
}
