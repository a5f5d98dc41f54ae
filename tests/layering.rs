//! The direction of dependencies, enforced: which module may use which (see `src/lib.rs` and the README).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each module and what it may use, in the order a picture is made.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("error", &[]),
    ("files", &["error"]),
    ("gpu", &["error"]),
    // `error` for one of them: measuring waits for the device, which may be lost meanwhile.
    ("kernels", &["gpu", "error"]),
    // `kernels` for one of them: the GPU itself brings weights into the kernels' order.
    ("weights", &["files", "gpu", "kernels", "error"]),
    ("layers", &["kernels", "gpu", "weights", "error"]),
    ("models", &["layers", "kernels", "gpu", "weights", "error"]),
    ("prompt", &["files", "error"]),
    ("samplers", &["error"]),
    ("recipe", &["files", "error"]),
    // What models, weights, kernels and gpu are on the GPU, candle is on the CPU; it sees nothing of them.
    ("reference", &["files", "prompt", "error"]),
    (
        "pipeline",
        &["models", "weights", "kernels", "gpu", "reference", "prompt", "samplers", "recipe", "files", "error"],
    ),
    // `gpu` for the options a model is opened with.
    ("web", &["pipeline", "files", "prompt", "samplers", "recipe", "gpu", "error"]),
];

/// Crates that only one module may name.
const OWNED: [(&str, &str); 4] =
    [("wgpu::", "gpu"), ("wasm_bindgen", "web"), ("js_sys", "web"), ("candle_", "reference")];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The module a file belongs to: the first part of its path under `src`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(source()).expect("below src");
    let first = below.components().next().expect("a part").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

/// Modules that a line of code names: `crate::{name}`, also inside `use crate::{a, b}`.
fn used(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    line.match_indices("crate::").map(|(at, found)| word(&line[at + found.len()..])).collect()
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files {
        let module = module(&path);
        if module == "lib" {
            continue;
        }
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: give the module {module} its place in MAY_USE", path.display()));
            continue;
        };
        seen.insert(module.clone());
        let text = std::fs::read_to_string(&path).expect("a source file");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for name in used(line) {
                let known = MAY_USE.iter().any(|(known, _)| *known == name);
                if known && name != module && !may_use.contains(&name.as_str()) {
                    wrong.push(format!("{}: {module} may not use {name}", path.display()));
                }
            }
            for (name, owner) in OWNED {
                if line.contains(name) && module != owner {
                    wrong.push(format!("{}: only {owner} may name {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), MAY_USE.len(), "every module of the table exists");
}

#[test]
fn the_test_sees_upward_uses() {
    assert_eq!(used("use crate::models::Clip;"), ["models"]);
    assert_eq!(used("    let x: crate::gpu::Gpu = crate::web::start();"), ["gpu", "web"]);
}
