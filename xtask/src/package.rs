//! The npm package: the crate for wasm32, its JavaScript glue, and wasm-opt where it is installed.

use std::path::{Path, PathBuf};

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
    const TARGET: &str = "wasm32-unknown-unknown";
    tools::ensure_wasm_target()?;
    println!("Building the wasm package (the first time takes a few minutes).");
    let mut arguments = vec!["build", "--package", "wordbrush", "--lib", "--target", TARGET];
    if profile == Profile::Release {
        arguments.push("--release");
    }
    tools::run(tools::cargo(&arguments))?;
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    let built = target_directory().join(TARGET).join(folder).join("wordbrush.wasm");
    let package = tools::root().join("pkg");
    bind(&built, &package, profile).map_err(|error| format!("wasm-bindgen failed on {}: {error}", built.display()))?;
    let wasm = package.join("wordbrush_bg.wasm");
    if profile == Profile::Release {
        optimise(&wasm);
    }
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
    Ok(())
}

/// wasm-opt makes the download smaller and changes nothing else, so the build goes on without it.
fn optimise(wasm: &Path) {
    let local = tools::root().join("tests/browser/node_modules/.bin/wasm-opt");
    let Some(program) = tools::find_program(&[&local.to_string_lossy(), "wasm-opt"]) else {
        return println!("wasm-opt is not installed (npm install --global binaryen): the wasm stays somewhat larger.");
    };
    let smaller = wasm.with_extension("opt.wasm");
    let (from, to) = (wasm.to_string_lossy(), smaller.to_string_lossy());
    let done = tools::run(tools::command(&program.to_string_lossy(), &["-O3", "--all-features", &from, "-o", &to]))
        .and_then(|()| std::fs::rename(&smaller, wasm).map_err(|error| error.to_string()));
    if let Err(error) = done {
        let _ = std::fs::remove_file(&smaller);
        println!("wasm-opt was left out: {error}");
    }
}
