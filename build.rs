//! Writes CLIP's merges as ids: what a page downloads is smaller than with the text.
//!
//! `src/prompt/clip_merges.txt` (from OpenAI's CLIP, MIT, by way of `open_clip_torch`) has a merge a line, strongest first: two tokens.
//! The ids are those of the vocabulary that follows from them. All low bytes of the left ids, then all high bytes, then those of the
//! right ids: so they compress best.

use std::collections::HashMap;
use std::path::Path;

#[path = "src/prompt/byte_level.rs"]
#[allow(dead_code, reason = "the tokenizer uses the rest")]
mod byte_level;

const MERGES: &str = "src/prompt/clip_merges.txt";

fn main() {
    for read in [MERGES, "src/prompt/byte_level.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={read}");
    }
    let text = std::fs::read_to_string(MERGES).unwrap_or_else(|error| panic!("{MERGES}: {error}"));
    let mut ids: HashMap<String, u16> = (0..).zip(byte_level::byte_tokens()).map(|(id, token)| (token, id)).collect();
    let mut planes: [Vec<u8>; 4] = Default::default();
    for (id, line) in (512u16..).zip(text.lines()) {
        let (left, right) = line.split_once(' ').unwrap_or_else(|| panic!("{MERGES}: no pair in the line {line:?}"));
        for (side, token) in [left, right].into_iter().enumerate() {
            let id = ids.get(token).unwrap_or_else(|| panic!("{MERGES}: {token:?} is merged before it is there"));
            let [low, high] = id.to_le_bytes();
            planes[2 * side].push(low);
            planes[2 * side + 1].push(high);
        }
        ids.insert(format!("{left}{right}"), id);
    }
    let folder = std::env::var_os("OUT_DIR").expect("cargo names the folder");
    let file = Path::new(&folder).join("clip_merges.bin");
    std::fs::write(&file, planes.concat()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
