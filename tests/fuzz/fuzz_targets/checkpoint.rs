#![no_main]

#[path = "../model_targets.rs"]
#[allow(dead_code)]
mod model_targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| model_targets::checkpoint(bytes));
