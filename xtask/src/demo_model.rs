//! `cargo xtask demo-model`: trains the model that comes with the page, in a Python environment of its own.

use crate::tools::{self, Outcome};

/// The scripts, with the versions they were run with.
const SCRIPTS: &str = "examples/demo_model";

/// Makes `target/demo-model/venv` where it is missing, then runs `make.py` with `arguments`; both go on where they were.
pub fn train(arguments: &[String]) -> Outcome {
    let environment = tools::root().join("target/demo-model/venv");
    let in_windows = cfg!(windows);
    let python = environment.join(if in_windows { "Scripts/python.exe" } else { "bin/python" });
    let installed = environment.join("installed");
    let wanted = std::fs::read_to_string(tools::root().join(SCRIPTS).join("requirements.txt"))
        .map_err(|error| format!("{SCRIPTS}/requirements.txt: {error}"))?;
    if std::fs::read_to_string(&installed).ok().as_deref() != Some(wanted.as_str()) {
        make_environment(&environment.to_string_lossy(), &python.to_string_lossy())?;
        std::fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))?;
    }
    println!("Training takes about two hours on two CPU cores, or minutes on an NVIDIA GPU.");
    println!("Ctrl+C stops it, the same command goes on.");
    let script = format!("{SCRIPTS}/make.py");
    let mut make = tools::command(&python.to_string_lossy(), &[&script]);
    make.args(arguments);
    tools::run(make)
}

fn make_environment(folder: &str, python: &str) -> Outcome {
    let Some(system) = tools::find_program(&["python3", "python"]) else {
        return Err("Python 3.10 or newer is needed: install it (Debian: apt install python3 python3-venv)".into());
    };
    println!("Making a Python environment in {folder} with PyTorch and diffusers (about 4 GB, some minutes).");
    tools::run(tools::command(&system.to_string_lossy(), &["-m", "venv", folder]))
        .map_err(|error| format!("{error}; on Debian and Ubuntu it needs `apt install python3-venv`"))?;
    let requirements = format!("{SCRIPTS}/requirements.txt");
    tools::run(tools::command(python, &["-m", "pip", "install", "--quiet", "--requirement", &requirements]))
        .map_err(|error| format!("{error}; the packages come from pypi.org, which must be reachable"))
}
