#![no_main]

#[path = "../text_targets.rs"]
#[allow(dead_code)]
mod text_targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| text_targets::dynamic(bytes));
