//! The tools the other commands run: found, or installed with one line that says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// A result whose error is a sentence for the terminal.
pub type Outcome<T = ()> = Result<T, String>;

/// The repository's root.
pub fn root() -> &'static Path {
    // `cargo run` tells where the package lies now; when two checkouts share a target folder, the built-in path is the other's.
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&package).parent().expect("xtask/ lies in the repository").to_path_buf()
    });
    &ROOT
}

/// `program` with `arguments`, to be run in the repository's root.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs us.
pub fn cargo(arguments: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}

/// Prints the command and runs it; anything but success is an error.
pub fn run(mut command: Command) -> Outcome {
    let shown = show(&command);
    println!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status})")),
        Err(error) => Err(format!("`{shown}` could not be started: {error}")),
    }
}

/// The command as one would type it.
pub fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(program, |line, argument| line + " " + &argument.to_string_lossy())
}

/// What the command prints, when it succeeds.
fn output(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// The first of `names` that is a path to a file or a program on the PATH.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let directories: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let candidates = |name: &str| -> Vec<PathBuf> {
        if Path::new(name).is_absolute() {
            return vec![name.into()];
        }
        directories.iter().flat_map(|d| [d.join(name), d.join(format!("{name}.exe"))]).collect()
    };
    names.iter().flat_map(|name| candidates(name)).find(|path| path.is_file())
}

/// Installs Debian packages; where that is impossible, the error says what is needed, why, and what to do.
pub fn install_debian(packages: &[&str], why: &str) -> Outcome {
    let by_hand = format!("{why} needs {}; please install it and run this again", packages.join(" and "));
    if find_program(&["apt-get"]).is_none() {
        return Err(format!("{by_hand} (it is installed by itself only on Debian and Ubuntu)"));
    }
    let is_root = output(command("id", &["-u"])).as_deref() == Some("0");
    if !is_root && output(command("sudo", &["-n", "true"])).is_none() {
        return Err(format!("{by_hand}: sudo apt-get install {}", packages.join(" ")));
    }
    println!("Installing {} with apt-get: {why} needs it.", packages.join(" and "));
    let apt = |arguments: &[&str]| {
        let mut apt = if is_root { command("apt-get", &[]) } else { command("sudo", &["-n", "apt-get"]) };
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(apt)
    };
    apt(&["update", "-q"]).map_err(|error| format!("{error}. {by_hand}"))?;
    let install = [&["install", "-q", "-y", "--no-install-recommends"], packages].concat();
    apt(&install).map_err(|error| format!("{error}. {by_hand}"))
}

/// Makes sure that the standard library for wasm32 is there.
pub fn ensure_wasm_target() -> Outcome {
    const TARGET: &str = "wasm32-unknown-unknown";
    let libraries = output(command("rustc", &["--print", "target-libdir", "--target", TARGET]));
    if libraries.is_some_and(|directory| Path::new(&directory).is_dir()) {
        return Ok(());
    }
    println!("Installing the Rust target {TARGET} with rustup.");
    run(command("rustup", &["target", "add", TARGET])).map_err(|error| {
        format!("{error}. Please install Rust with rustup (https://rustup.rs) and run `rustup target add {TARGET}`")
    })
}

/// Makes sure that Node.js, npm and the packages of the tests in `folder` are there.
pub fn ensure_node_packages(folder: &str) -> Outcome {
    if find_program(&["node"]).is_none() || find_program(&["npm", "npm.cmd"]).is_none() {
        install_debian(&["nodejs", "npm"], "the browser test")?;
    }
    let tests = root().join(folder);
    let changed = |path: &str| tests.join(path).metadata().and_then(|file| file.modified()).ok();
    // npm writes this file last, so it is as new as what is installed.
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        println!("Installing the packages of {folder} with npm.");
        let mut npm = command("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        npm.current_dir(&tests);
        run(npm).map_err(|error| format!("{error}. It needs the npm registry once; is there a network?"))?;
    }
    Ok(())
}

/// The Python of the environment in `folder`, made where it is missing, with the packages that the file `requirements` names.
pub fn ensure_python_packages(folder: &str, requirements: &str) -> Outcome<String> {
    let environment = root().join(folder);
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let python = python.to_string_lossy().into_owned();
    let installed = environment.join("installed");
    let wanted =
        std::fs::read_to_string(root().join(requirements)).map_err(|error| format!("{requirements}: {error}"))?;
    if std::fs::read_to_string(&installed).ok().as_deref() == Some(wanted.as_str()) {
        return Ok(python);
    }
    let Some(system) = find_program(&["python3", "python"]) else {
        return Err("Python 3.10 or newer is needed: install it (Debian: apt install python3 python3-venv)".into());
    };
    println!("Making a Python environment in {folder} with PyTorch and diffusers (about 4 GB, some minutes).");
    run(command(&system.to_string_lossy(), &["-m", "venv", folder]))
        .map_err(|error| format!("{error}; on Debian and Ubuntu it needs `apt install python3-venv`"))?;
    run(command(&python, &["-m", "pip", "install", "--quiet", "--requirement", requirements]))
        .map_err(|error| format!("{error}; the packages come from pypi.org, which must be reachable"))?;
    std::fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))?;
    Ok(python)
}

/// A Chromium or Chrome, installed on Debian when there is none.
pub fn ensure_chromium() -> Outcome<PathBuf> {
    const NAMES: [&str; 6] = [
        "/usr/bin/chromium",
        "chromium",
        "chromium-browser",
        "google-chrome-stable",
        "google-chrome",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ];
    if let Some(chosen) = std::env::var_os("CHROMIUM") {
        return Ok(chosen.into());
    }
    if let Some(found) = find_program(&NAMES) {
        return Ok(found);
    }
    install_debian(&["chromium"], "the browser test")?;
    find_program(&NAMES)
        .ok_or_else(|| "chromium was installed but is not on the PATH; name it in the variable CHROMIUM".into())
}

/// The environment in which native wgpu finds an adapter: the GPU's own driver, or Mesa's lavapipe where there is no GPU.
pub fn ensure_vulkan() -> Outcome<Vec<(&'static str, String)>> {
    let chosen = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|name| std::env::var_os(name).is_some());
    if !cfg!(target_os = "linux") || chosen {
        return Ok(Vec::new());
    }
    let drivers = vulkan_drivers();
    let has_gpu = Path::new("/dev/nvidia0").exists() || Path::new("/dev/dri/renderD128").exists();
    if has_gpu && drivers.iter().any(|driver| !is_lavapipe(driver)) {
        println!("Vulkan: the drivers of this machine's GPU.");
        return Ok(Vec::new());
    }
    if !drivers.iter().any(|driver| is_lavapipe(driver)) {
        install_debian(&["libvulkan1", "mesa-vulkan-drivers"], "the native test without a GPU")?;
    }
    let lavapipe = vulkan_drivers().into_iter().find(|driver| is_lavapipe(driver));
    let lavapipe = lavapipe.ok_or("no Vulkan driver was found; please install one (Mesa's lavapipe is enough)")?;
    println!("Vulkan: Mesa's lavapipe on the CPU ({}).", lavapipe.display());
    Ok(vec![("VK_DRIVER_FILES", lavapipe.to_string_lossy().into_owned())])
}

fn vulkan_drivers() -> Vec<PathBuf> {
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect()
}

fn is_lavapipe(driver: &Path) -> bool {
    driver.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
}
