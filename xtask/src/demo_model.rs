//! `cargo xtask demo-model`: trains the model that comes with the page, in a Python environment of its own.

use crate::tools::{self, Outcome};

/// The scripts, with the versions they were run with.
const SCRIPTS: &str = "examples/demo_model";

/// Makes `target/demo-model/venv` where it is missing, then runs `make.py` with `arguments`; both go on where they were.
pub fn train(arguments: &[String]) -> Outcome {
    let python = tools::ensure_python_packages("target/demo-model/venv", &format!("{SCRIPTS}/requirements.txt"))?;
    println!("Training takes about two hours and a half on two idle CPU cores, or minutes on an NVIDIA GPU.");
    println!("Ctrl+C stops it, the same command goes on.");
    let script = format!("{SCRIPTS}/make.py");
    let mut make = tools::command(&python, &[&script]);
    make.args(arguments);
    tools::run(make)
}
