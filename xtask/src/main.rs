//! `cargo xtask serve | build | test | bench | demo-model`: finds or installs what it needs, and says so.

mod bench;
mod demo_model;
mod package;
mod serve;
mod test;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <command>

  serve [--port 8080] [--dev]   build the wasm package, then serve the page on http://127.0.0.1:8080/
  build [--dev]                 build the wasm package into pkg/
  test                          everything: format, clippy, native tests, browser tests, no-adapter tests
  bench --count [ARGS]          count the work of full-size SD 1.5, beside the work model (benches/count.rs)
  bench --growth [ARGS]         how that grows with pixels, prompts and pictures (benches/growth.rs)
  bench --profile [ARGS]        time every kernel of a picture, as a table and a flame graph (benches/profile.rs)
  bench --tiles [ARGS]          time every tile shape beside the adapter's peak (benches/tiles.rs)
  bench --peers [ARGS]          measure our UNet step beside onnxruntime-web and tinygrad (benches/peers); --adapter gpu on a GPU
  bench [ARGS]                  measure the steps of a model on a Vulkan adapter (benches/step.rs)
  demo-model [ARGS]             train the model that comes with the page (examples/demo_model), or go on with it

--release is the default; --dev builds faster and runs slower.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("\nxtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: &[String]) -> tools::Outcome {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(format!("no command was given\n\n{USAGE}"));
    };
    match name.as_str() {
        "serve" => {
            let options = Options::parse(rest, true)?;
            package::build(options.profile)?;
            serve::serve(options.port)
        }
        "build" => package::build(Options::parse(rest, false)?.profile),
        "test" if rest.is_empty() => test::everything(),
        "test" => Err(format!("test takes no arguments, got {rest:?}; for single tests use cargo test")),
        "bench" => bench::bench(rest),
        "demo-model" => demo_model::train(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("there is no command {other:?}\n\n{USAGE}")),
    }
}

struct Options {
    port: u16,
    profile: package::Profile,
}

impl Options {
    fn parse(arguments: &[String], has_port: bool) -> tools::Outcome<Self> {
        let mut options = Self { port: 8080, profile: package::Profile::Release };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--release" => options.profile = package::Profile::Release,
                "--dev" => options.profile = package::Profile::Dev,
                "--port" if has_port => {
                    let value = arguments.next().map_or("nothing", String::as_str);
                    options.port =
                        value.parse().map_err(|_| format!("--port needs a number up to 65535, got {value}"))?;
                }
                other => return Err(format!("unknown option {other:?}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}
