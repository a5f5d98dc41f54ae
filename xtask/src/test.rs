//! `cargo xtask test`.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::package::{self, Profile};
use crate::tools::{self, Outcome};

/// Every check of the project, the quick ones first. One after the other: side by side they were no faster (two cores), and tests of the
/// page waited too long.
pub fn everything() -> Outcome {
    let started = Instant::now();
    let vulkan = tools::ensure_vulkan()?;
    tools::ensure_wasm_target()?;
    for folder in [BROWSER, PACKAGE] {
        tools::ensure_node_packages(folder)?;
    }
    let chromium = tools::ensure_chromium()?.to_string_lossy().into_owned();

    title("Format");
    tools::run(tools::cargo(&["fmt", "--all", "--check"]))?;

    title("Licences and sources of the dependencies");
    dependencies()?;

    title("Clippy and the tests of xtask");
    // Package by package: with --workspace cargo unites the features of both and builds many dependencies twice.
    tools::run(linted(&["test", "--package", "xtask"]))?;

    title("Clippy, and native tests on a Vulkan adapter");
    tools::run(linted(&["test", "--package", "wordbrush", "--benches", "--no-run"]))?;
    let mut native = linted(&["test", "--package", "wordbrush"]);
    // Two tests run at a time: candle's threads would wait for each other.
    native.envs(vulkan).env("RAYON_NUM_THREADS", "1");
    tools::run(native)?;

    title("Clippy, and the wasm package");
    package::build_with(linted, Profile::Release)?;

    title("The page in headless Chromium on WebGPU");
    println!("Browser: {chromium}");
    node_tests(BROWSER, &test_files(BROWSER)?, &chromium)?;

    title("The packed package in Chromium, with bundlers and in Node.js, and the examples");
    node_tests(PACKAGE, &test_files(PACKAGE)?, &chromium)?;

    title("Without an adapter everything says so, and small models run on the CPU");
    native_tests_fail_without_adapter()?;
    node_tests(BROWSER, &[NO_GPU.into()], &chromium)?;

    println!("\nAll tests passed in {} minutes.", started.elapsed().as_secs().div_ceil(60));
    Ok(())
}

/// Holds the dependencies to deny.toml where cargo-deny is installed; it takes long to build, so nothing installs it here.
fn dependencies() -> Outcome {
    if tools::find_program(&["cargo-deny"]).is_none() {
        println!("cargo-deny is not installed: left out (`cargo install --locked cargo-deny`).");
        return Ok(());
    }
    tools::run(tools::cargo(&["deny", "check", "licenses", "bans", "sources"]))
}

fn title(text: &str) {
    println!("\n== {text} ==");
}

/// With these cargo compiles our own packages with Clippy's driver, whose every warning is an error: one compilation finds what Clippy
/// finds and makes the tests, where `cargo clippy` would have all dependencies checked (minutes on two cores) for nothing else.
const LINTED: [(&str, &str); 2] = [
    ("RUSTC_WORKSPACE_WRAPPER", "clippy-driver"),
    // As cargo-clippy passes on what stands behind its `--`.
    ("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"),
];

fn linted(arguments: &[&str]) -> Command {
    let mut cargo = tools::cargo(arguments);
    cargo.envs(LINTED);
    cargo
}

/// The tests that run in Node.js, each folder with packages of its own.
const BROWSER: &str = "tests/browser";
const PACKAGE: &str = "tests/package";

/// A shorter day in memory.test.js than where it is run alone: half of three minutes.
const SHORT_DAY: [(&str, &str); 3] = [("PICTURES", "20"), ("STOPS", "80"), ("LOADS", "8")];

/// The one file that wants a browser without WebGPU (and one with it, to compare): there everything says so, and small models run on
/// the CPU.
const NO_GPU: &str = "no_gpu.test.js";

/// All other files: a new one is run without being listed anywhere.
fn test_files(folder: &str) -> Outcome<Vec<String>> {
    let folder = tools::root().join(folder);
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut files: Vec<String> = names.filter(|name| name.ends_with(".test.js") && name != NO_GPU).collect();
    files.sort();
    Ok(files)
}

fn node_tests(folder: &str, files: &[String], chromium: &str) -> Outcome {
    let mut node = tools::command("node", &["--test", "--test-concurrency=1", "--test-reporter=spec"]);
    // Linted, because a test runs an example: what is compiled already serves it.
    node.args(files).current_dir(tools::root().join(folder)).env("CHROMIUM", chromium).envs(LINTED).envs(SHORT_DAY);
    tools::run(node)
}

/// GPU tests that pass on a machine without a GPU have tested nothing, so they must fail there and say why.
fn native_tests_fail_without_adapter() -> Outcome {
    if !cfg!(target_os = "linux") {
        println!("The native half of this test needs Linux (it hides the Vulkan drivers); it is left out here.");
        return Ok(());
    }
    let mut test = linted(&["test", "--package", "wordbrush", "--test", "kernels"]);
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        test.env(name, "/nonexistent");
    }
    println!("$ {}   (with no Vulkan driver; this must fail)", tools::show(&test));
    let said = said(test)?;
    if said.contains("NO_GPU") {
        println!("It failed and named NO_GPU, as it must.");
        return Ok(());
    }
    Err(format!("without a Vulkan driver the kernels' tests must fail with NO_GPU, but they printed:\n{said}"))
}

/// All that a command prints; an error when it succeeds.
fn said(mut command: Command) -> Outcome<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if output.status.success() {
        return Err("the kernels' tests passed without a Vulkan driver: they must fail, or they test nothing".into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}
