//! The npm package: the crate for wasm32 and its JavaScript glue. Without wasm-opt: it took 0.27 MB off the file and added 0.035 MB to
//! what is downloaded, compressed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{self, Outcome};

/// How the wasm is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Optimised, without names: what is served and published.
    Release,
    /// Quickly compiled, with names in stack traces.
    Dev,
}

/// Builds `pkg/wordbrush.js` and `pkg/wordbrush_bg.wasm`.
pub fn build(profile: Profile) -> Outcome {
    build_with(tools::cargo, profile)
}

/// The same with a cargo that does something besides.
pub fn build_with(cargo: impl FnOnce(&[&str]) -> Command, profile: Profile) -> Outcome {
    const TARGET: &str = "wasm32-unknown-unknown";
    tools::ensure_wasm_target()?;
    println!("Building the wasm package (the first time takes a few minutes).");
    // For the library alone, without what another crate would link, dependencies are compiled once, when all is linked.
    let mut arguments = vec!["rustc", "--package", "wordbrush", "--lib", "--crate-type", "cdylib", "--target", TARGET];
    if profile == Profile::Release {
        arguments.extend(["--profile", "wasm"]);
    }
    tools::run(cargo(&arguments))?;
    let folder = if profile == Profile::Release { "wasm" } else { "debug" };
    let built = target_directory().join(TARGET).join(folder).join("wordbrush.wasm");
    let package = tools::root().join("pkg");
    bind(&built, &package, profile).map_err(|error| format!("wasm-bindgen failed on {}: {error}", built.display()))?;
    let wasm = package.join("wordbrush_bg.wasm");
    let size = wasm.metadata().map_err(|error| format!("{}: {error}", wasm.display()))?.len();
    println!("pkg/wordbrush_bg.wasm: {:.2} MB", size as f64 / 1e6);
    Ok(())
}

/// Where cargo puts its output.
fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tools::root().join("target"), |path| tools::root().join(path))
}

fn bind(built: &Path, package: &Path, profile: Profile) -> Result<(), Box<dyn std::error::Error>> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(built).typescript(true).omit_default_module_path(false);
    bindgen.remove_name_section(profile == Profile::Release);
    bindgen.web(true)?.generate(package)?;
    let glue = package.join("wordbrush.js");
    std::fs::write(&glue, without_docs(&std::fs::read_to_string(&glue)?))?;
    Ok(())
}

/// What the generated script says of its functions stands in the types beside it too; a page need not fetch it.
fn without_docs(script: &str) -> String {
    let mut within = false;
    let kept = script.lines().filter(|line| {
        let line = line.trim();
        within |= line.starts_with("/**");
        let kept = !within;
        within &= !line.ends_with("*/");
        kept
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}
