//! The header's rules, and that no header makes the reader panic.

use ::safetensors as safetensors_crate;
use proptest::prelude::*;
use wordbrush::error::{Code, Error};
use wordbrush::files::safetensors::{Header, header_of, read_header};
use wordbrush::files::{DType, MemorySource};

use crate::sparse::SparseSource;
use crate::writers::{f32s, safetensors, safetensors_raw};

fn read(bytes: &[u8]) -> Result<Header, Error> {
    let source = MemorySource::new("x.safetensors", bytes.to_vec());
    let read = pollster::block_on(read_header(&source, 0));
    let at_once = header_of("x.safetensors", bytes);
    assert_eq!(read.is_ok(), at_once.is_ok());
    read
}

fn entry(dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

#[test]
fn a_sound_file() {
    let bytes = safetensors(&[
        ("z", "F32", &[2, 2], f32s(&[1.0, 2.0, 3.0, 4.0])),
        ("scalar", "F16", &[], vec![0, 60]),
        ("empty", "F32", &[0, 7], vec![]),
        ("a", "BF16", &[1], vec![1, 2]),
    ]);
    let header = read(&bytes).unwrap();
    let names: Vec<_> = header.arrays.iter().map(|array| array.name.as_str()).collect();
    assert_eq!(names, ["z", "scalar", "empty", "a"]);
    let z = &header.arrays[0];
    assert_eq!((z.dtype, z.shape.as_slice(), z.length), (DType::F32, &[2, 2][..], 16));
    assert_eq!(bytes[z.offset as usize..][..4], 1.0f32.to_le_bytes());
    assert_eq!(header.by_offset().last().unwrap().name, "a");
}

#[test]
fn metadata_and_padding() {
    let json = format!(
        r#"{{"__metadata__":{{"format":"pt"}},"b":{},"a":{}}}   "#,
        entry("F32", "[1]", 4, 8),
        entry("F32", "[1]", 0, 4)
    );
    let header = read(&safetensors_raw(&json, 8)).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(header.arrays[0].name, "b");
    assert_eq!(header.by_offset()[0].name, "a");
    assert!(read(&safetensors_raw("{}", 0)).unwrap().arrays.is_empty());
}

/// Headers that break a rule: JSON, bytes of data, code, a word of the sentence.
fn broken() -> Vec<(String, usize, Code, &'static str)> {
    let one = |name: &str, entry: String| format!(r#"{{"{name}":{entry}}}"#);
    let two = |a: String, b: String| format!(r#"{{"a":{a},"b":{b}}}"#);
    let f = |start, end| entry("F32", "[1]", start, end);
    let many: Vec<_> = (0..10_001).map(|i| format!(r#""{i}":{}"#, entry("F32", "[0]", 0, 0))).collect();
    vec![
        (two(f(0, 4), f(2, 6)), 6, Code::BadSafetensors, "overlaps"),
        (two(f(0, 4), f(8, 12)), 12, Code::BadSafetensors, "hole"),
        (one("a", f(4, 8)), 8, Code::BadSafetensors, "hole"),
        (one("a", f(4, 0)), 4, Code::BadSafetensors, "before it starts"),
        (one("a", f(0, 4)), 5, Code::BadSafetensors, "belong to none"),
        (one("a", f(0, 4)), 3, Code::Truncated, "cut short"),
        (one("a", f(0, u64::MAX)), 4, Code::Truncated, "cut short"),
        (one("a", entry("F32", "[2]", 0, 4)), 4, Code::BadSafetensors, "needs 8 bytes"),
        (one("a", entry("F32", "[4294967296]", 0, 4)), 4, Code::TooLarge, "too large"),
        (one("a", entry("F32", "[2147483648,2147483648,2147483648,0]", 0, 4)), 4, Code::TooLarge, "too large"),
        (one("a", entry("C64", "[1]", 0, 8)), 8, Code::WrongDtype, "C64"),
        (one("a", entry("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4)), 4, Code::BadSafetensors, "axes"),
        (one("a", entry("F32", "[-1]", 0, 4)), 4, Code::BadSafetensors, "cannot be read"),
        (one(&"n".repeat(513), f(0, 4)), 4, Code::BadSafetensors, "513 bytes"),
        (format!(r#"{{"a":{},"a":{}}}"#, f(0, 4), f(4, 8)), 8, Code::BadSafetensors, "twice"),
        (format!("{{{}}}", many.join(",")), 0, Code::BadSafetensors, "more than 10000"),
        (r#"{"__metadata__":{"a":1}}"#.to_string(), 0, Code::BadSafetensors, "cannot be read"),
        (r#"{"a":{"dtype":"F32"}}"#.to_string(), 0, Code::BadSafetensors, "cannot be read"),
        ("{not json".to_string(), 0, Code::BadSafetensors, "cannot be read"),
        (format!(r#"{{"a":{}"#, "[".repeat(100_000)), 0, Code::BadSafetensors, "cannot be read"),
    ]
}

#[test]
fn every_broken_rule_has_its_sentence() {
    for (json, data, code, words) in broken() {
        let error = read(&safetensors_raw(&json, data)).expect_err(&json[..json.len().min(200)]);
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(words) && error.message.contains("x.safetensors"), "{error}");
        assert!(error.message.len() < 500, "{error}");
    }
}

#[test]
fn not_utf8_too_long_and_cut_short() {
    let mut bytes = safetensors(&[("abc", "F32", &[1], f32s(&[1.0]))]);
    assert_eq!(read(&bytes[..bytes.len() - 1]).unwrap_err().code, Code::Truncated);
    assert_eq!(read(&bytes[..30]).unwrap_err().code, Code::Truncated);
    assert_eq!(read(&bytes[..5]).unwrap_err().code, Code::UnknownFormat);
    bytes[10] = 0xff;
    assert!(read(&bytes).unwrap_err().message.contains("UTF-8"));
    bytes[..8].copy_from_slice(&(17u64 << 20).to_le_bytes());
    assert_eq!(read(&bytes).unwrap_err().code, Code::TooLarge);
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(read(&bytes).unwrap_err().code, Code::BadSafetensors);
}

#[test]
fn five_gigabytes_need_only_the_header() {
    let shapes = [("a", [40_000usize, 16_000]), ("b", [50_000, 16_000])];
    let source =
        SparseSource::safetensors("big.safetensors", "F32", shapes.iter().map(|(name, shape)| (*name, &shape[..])));
    let header = pollster::block_on(read_header(&source, 3)).unwrap();
    assert!(header.arrays[1].offset > 2_560_000_000 && header.arrays[1].length == 3_200_000_000);
    assert_eq!(header.arrays[1].source, 3);
    assert!(source.read.get() < 2048);
}

proptest! {
    #[test]
    fn mutations_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), shorten in any::<bool>()) {
        let mut bytes = safetensors(&[("first", "F32", &[2, 3], f32s(&[0.5; 6])), ("x.y", "F16", &[4], vec![7; 8]), ("e", "BF16", &[0], vec![])]);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(header) = read(&bytes) {
            let mut end = None;
            for array in header.by_offset() {
                prop_assert!(end.is_none_or(|end| end == array.offset));
                prop_assert_eq!(array.length as usize, array.numel() * array.dtype.size());
                end = Some(array.offset + array.length);
            }
            prop_assert!(end.is_none_or(|end| end == bytes.len() as u64));
        }
    }

    #[test]
    fn arbitrary_offsets_and_shapes_never_panic(shape in prop::collection::vec(any::<u64>(), 0..9), start in any::<u64>(), end in any::<u64>(), data in 0usize..64) {
        let json = format!(r#"{{"a":{}}}"#, entry("F64", &format!("{shape:?}"), start, end));
        drop(read(&safetensors_raw(&json, data)));
    }
}

/// Where the format's own crate takes a file and we do not, it is one of these rules of ours.
const STRICTER: [&str; 4] = ["comes twice", "does not know", "too large for one array", "axes"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What we take, the format's own crate takes and reads as the same; what it takes and we do not breaks a rule of ours.
    #[test]
    fn the_formats_own_crate_agrees(
        arrays in prop::collection::vec(("[a-c_.\u{e9}]{0,3}", 0usize..5, prop::collection::vec(0usize..4, 0..4)), 0..6),
        metadata in prop::option::of("[a-z\"\\\\]{0,4}"),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        more in 0usize..2,
    ) {
        let dtypes = [("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("BOOL", 1)];
        let (mut entries, mut end) = (Vec::new(), 0);
        for (i, (name, dtype, shape)) in arrays.iter().enumerate() {
            let (dtype, size) = dtypes[*dtype];
            let start = end;
            end += (shape.iter().product::<usize>() * size) as u64;
            // Mostly names of their own; the shortest ones come twice.
            let name = if name.len() > 1 { format!("{name}{i}") } else { name.clone() };
            entries.push(format!("\"{name}\":{}", entry(dtype, &format!("{shape:?}"), start, end)));
        }
        entries.extend(metadata.map(|text| format!("\"__metadata__\":{}", serde_json::json!({ "format": text }))));
        let json = format!("{{{}}}", entries.join(","));
        let mut bytes = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        let head = bytes.len();
        bytes.extend((0..end as usize + (more * flips.len())).map(|i| i as u8));
        for (at, value) in flips {
            bytes[at.index(head)] = value;
        }
        match (read(&bytes), safetensors_crate::SafeTensors::deserialize(&bytes)) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.arrays.len(), theirs.len());
                for array in &ours.arrays {
                    let view = theirs.tensor(&array.name).expect("the same names");
                    prop_assert_eq!(format!("{:?}", view.dtype()), array.dtype.name());
                    prop_assert_eq!(view.shape(), &array.shape[..]);
                    prop_assert_eq!(view.data(), &bytes[array.offset as usize..][..array.length as usize]);
                }
            }
            (Ok(_), Err(theirs)) => prop_assert!(false, "only the crate refuses {json}: {theirs}"),
            (Err(ours), Ok(_)) => prop_assert!(STRICTER.iter().any(|rule| ours.message.contains(rule)), "{ours}: {json}"),
            (Err(_), Err(_)) => {}
        }
    }
}
