//! `cargo xtask bench`: what is measured, on the same adapter as the tests.

use std::path::Path;

use crate::package::{self, Profile};
use crate::tools::{self, Outcome};

const PEERS: &str = "benches/peers";
/// Models, Python packages and results of the bench beside other engines: about 9 GB, and as much again while they are made.
const FOLDER: &str = "target/peers";

/// The benches that are named by an option: `benches/NAME.rs`.
const NAMED: [&str; 4] = ["count", "growth", "profile", "tiles"];

/// With `--peers` other engines beside ours, with the name of a bench that one, else the steps of a model.
pub fn bench(arguments: &[String]) -> Outcome {
    let named = |option: &str| NAMED.into_iter().find(|name| option.strip_prefix("--") == Some(name));
    let (what, rest) = match arguments.split_first() {
        Some((first, rest)) if first == "--peers" => return peers(rest),
        Some((first, rest)) => named(first).map_or(("step", arguments), |name| (name, rest)),
        None => ("step", arguments),
    };
    let rest = rest.iter().filter(|argument| *argument != "--");
    let mut bench = tools::cargo(&["bench", "--package", "wordbrush", "--bench", what]);
    bench.arg("--").args(rest).envs(tools::ensure_vulkan()?);
    tools::run(bench)
}

/// Installs the peers, makes the models where they are missing, and runs all in turn.
fn peers(arguments: &[String]) -> Outcome {
    for folder in [PEERS, "tests/browser"] {
        tools::ensure_node_packages(folder)?;
    }
    let chromium = tools::ensure_chromium()?;
    let vulkan = tools::ensure_vulkan()?;
    let python = tools::ensure_python_packages(&format!("{FOLDER}/venv"), &format!("{PEERS}/requirements.txt"))?;
    if !tools::root().join("pkg/wordbrush_bg.wasm").exists() {
        package::build(Profile::Release)?;
    }
    let on_gpu = arguments.windows(2).any(|pair| pair == ["--adapter", "gpu"]);
    let what: &[&str] = if on_gpu { &["--sizes", "64", "--dtypes", "f16"] } else { &[] };
    let script = Path::new(PEERS).join("make.py").to_string_lossy().into_owned();
    tools::run(tools::command(&python, &[&[script.as_str(), "--out", FOLDER], what].concat()))?;
    let mut run = tools::command("node", &["benches/peers/run.js", "--folder", FOLDER]);
    run.args(arguments).envs(vulkan).env("CHROMIUM", chromium).env("PYTHON", python);
    tools::run(run)
}
