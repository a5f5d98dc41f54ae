//! The fuzz targets (tests/fuzz), fed with changed files of the corpus: a fixed number of them, always the same.

use crate::corpus::files;
use crate::{model_targets, targets};

/// xorshift64*: enough to choose places.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }
}

/// Values that break things more often than others.
const EDGES: [u8; 9] = [0, 1, 0x7f, 0x80, 0xff, b'(', b'.', b'R', b'"'];

/// One to four changes: a byte, a number, a piece cut out, doubled, or brought in from another file.
fn changed(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let length = random.below(16).min(bytes.len() - at);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let piece = bytes[at..at + length].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            3 => {
                let from = random.below(other.len());
                let piece = other[from..other.len().min(from + 64)].to_vec();
                drop(bytes.splice(at..at + length, piece));
            }
            4 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            5 => bytes.extend_from_slice(&other[..random.below(64).min(other.len())]),
            _ => {
                let value =
                    if random.below(2) == 0 { EDGES[random.below(EDGES.len())] } else { random.below(256) as u8 };
                bytes[at..].iter_mut().take(1).for_each(|byte| *byte = value);
            }
        }
    }
    bytes
}

/// Feeds `rounds` changes of each file that `wanted` chooses to a target. Large seeds get fewer.
fn feed(target: fn(&[u8]), rounds: usize, wanted: impl Fn(&str, &[u8]) -> bool) {
    let seeds: Vec<_> = files().into_iter().filter(|(name, bytes)| wanted(name, bytes)).collect();
    assert!(seeds.len() >= 20, "{} seeds", seeds.len());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (_, seed) in &seeds {
        target(seed);
        for _ in 0..(rounds * 4096 / seed.len().max(4096)).max(2) {
            let (_, other) = &seeds[random.below(seeds.len())];
            target(&changed(seed, other, &mut random));
        }
    }
}

fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK")
}

/// The pickle in a torch zip that is stored, from its first byte on.
fn pickle_in(zip: &[u8]) -> Option<&[u8]> {
    let name = zip.windows(8).position(|window| window == b"data.pkl")?;
    let start = name + zip[name..].iter().position(|byte| *byte == 0x80)?;
    zip.get(start..(start + 4096).min(zip.len()))
}

#[test]
fn pickles() {
    feed(|zip| targets::pickle(pickle_in(zip).unwrap_or(zip)), 1500, |_, bytes| is_zip(bytes));
}

#[test]
fn torch_files() {
    feed(targets::torch_file, 500, |name, bytes| {
        (is_zip(bytes) || bytes.starts_with(b"\x80")) && !name.contains("bomb")
    });
}

#[test]
fn safetensors_headers() {
    feed(targets::safetensors_header, 1500, |name, _| name.ends_with(".safetensors"));
}

#[test]
fn pictures() {
    feed(targets::picture, 200, |name, _| [".png", ".webp", ".jpg"].iter().any(|ending| name.ends_with(ending)));
}

#[test]
fn pictures_with_recipes() {
    feed(targets::recipe_picture, 200, |name, _| [".png", ".webp", ".jpg"].iter().any(|ending| name.ends_with(ending)));
}

/// The JSON of headers, as it stands behind the eight bytes of its length.
#[test]
fn checkpoints() {
    let json = |bytes: &[u8]| model_targets::checkpoint(bytes.get(8..).unwrap_or(bytes));
    feed(json, 500, |name, _| name.ends_with(".safetensors"));
}
