//! Pickles and zips made to do harm: each has its sentence, none is run, none makes the reader panic or grow.

use proptest::prelude::*;
use wordbrush::error::Code;
use wordbrush::files::pickle::Pickle;
use wordbrush::files::read_embeddings;
use zip::CompressionMethod;

use crate::writers::{Pickler, f32s, plain_tensor, ramp, torch_legacy, torch_zip, zipped, zipped_as};

/// A hostile file, the code it must get, and words of the sentence.
type Case = (&'static str, Vec<u8>, Code, &'static str);

const EIGHT: (&str, &str, i64) = ("FloatStorage", "0", 8);

fn of_pickle(name: &'static str, pickle: Pickler, code: Code, words: &'static str) -> Case {
    (name, torch_zip(&pickle.stop(), &f32s(&ramp(8))), code, words)
}

fn of_tensor(name: &'static str, storage: (&str, &str, i64), offset: i64, size: &[i64], stride: &[i64]) -> Case {
    let pickle = Pickler::new().dict("emb_params").tensor(storage, offset, size, stride).end_dict();
    of_pickle(name, pickle, Code::BadPickle, "damaged")
}

fn code_cases() -> Vec<Case> {
    let call = |module: &str, name: &str| Pickler::new().global(module, name).text("echo hi").op(b"\x85R");
    let unsafe_ = Code::UnsafePickle;
    vec![
        of_pickle("reduce_os_system", call("os", "system"), unsafe_, "contains code: os.system – refused"),
        of_pickle("reduce_posix_system", call("posix", "system"), unsafe_, "posix.system"),
        of_pickle("reduce_builtins_eval", call("builtins", "eval"), unsafe_, "builtins.eval"),
        of_pickle(
            "stack_global_eval",
            Pickler::new().text("builtins").text("eval").op(b"\x93"),
            unsafe_,
            "builtins.eval",
        ),
        of_pickle("inst", Pickler::new().op(b"(").text("hi").op(b"ios\nsystem\n"), unsafe_, "os.system"),
        of_pickle(
            "load_from_bytes",
            call("torch.storage", "_load_from_bytes"),
            unsafe_,
            "torch.storage._load_from_bytes",
        ),
        of_pickle("torch_load", call("torch", "load"), unsafe_, "torch.load"),
        of_pickle("attribute", call("torch._utils", "os.system"), unsafe_, "torch._utils.os.system"),
        ("bare", call("os", "system").stop(), unsafe_, "os.system"),
    ]
}

fn tensor_cases() -> Vec<Case> {
    vec![
        of_tensor("size_overflow", EIGHT, 0, &[i64::MAX, i64::MAX], &[1, 1]),
        of_tensor("size_negative", EIGHT, 0, &[-1, 8], &[8, 1]),
        of_tensor("stride_negative", EIGHT, 7, &[8], &[-1]),
        of_tensor("offset_negative", EIGHT, -1, &[8], &[1]),
        of_tensor("stride_zero_expand", EIGHT, 0, &[1_000_000_000, 8], &[0, 1]),
        of_tensor("stride_zero_small", EIGHT, 0, &[2, 4], &[0, 1]),
        of_tensor("repeated_by_overlap", EIGHT, 0, &[4, 4], &[1, 1]),
        of_tensor("stride_overflow", EIGHT, 0, &[2, 2], &[i64::MAX, i64::MAX]),
        of_tensor("offset_oob", EIGHT, 1, &[8], &[1]),
        of_tensor("offset_overflow", EIGHT, i64::MAX, &[2], &[i64::MAX]),
        of_tensor("zero_hides_overflow", EIGHT, 0, &[0, i64::MAX, i64::MAX], &[1, 1, 1]),
        of_tensor("too_many_axes", EIGHT, 0, &[1; 9], &[1; 9]),
        of_tensor("ranks_differ", EIGHT, 0, &[8], &[1, 1]),
    ]
    .into_iter()
    .chain([
        of_pickle(
            "numel_gt_file",
            Pickler::new().dict("x").tensor(("FloatStorage", "0", 1 << 40), 0, &[1, 8], &[8, 1]).end_dict(),
            Code::Truncated,
            "promised",
        ),
        of_pickle(
            "missing_storage",
            Pickler::new().dict("x").tensor(("FloatStorage", "7", 8), 0, &[1, 8], &[8, 1]).end_dict(),
            Code::Truncated,
            "\"7\" has 0 bytes",
        ),
        of_pickle(
            "path_traversal_key",
            Pickler::new().dict("x").tensor(("FloatStorage", "../../etc/passwd", 8), 0, &[1, 8], &[8, 1]).end_dict(),
            Code::Truncated,
            "0 bytes",
        ),
    ])
    .collect()
}

fn stream_cases() -> Vec<Case> {
    let new = Pickler::new;
    let nest = |n: usize| (0..n).fold(new(), |p, _| p.op(b"]")).op("a".repeat(n - 1));
    let bomb = (0..28u8).fold(new().text("lol").op(b"q\0"), |p, i| p.op([b'h', i, b'h', i, 0x86, b'q', i + 1]));
    let same_pairs = new().op(b"](").op(b"NN\x86".repeat(1000)).op(b"eq\0");
    let dicts = (0..200).fold(same_pairs, |p, _| p.global("collections", "OrderedDict").op(b"h\0\x85R"));
    let bad = Code::BadPickle;
    vec![
        of_pickle("deep_nest_1e5", nest(100_000), bad, "nested more than 64"),
        of_pickle("deep_tuples", new().op(b")").op([0x85u8; 1000]), bad, "nested more than 64"),
        of_pickle("memo_bomb_28", bomb, Code::NotAnEmbedding, "No vectors"),
        of_pickle("one_list_many_dicts", dicts, bad, "more than 100000 pairs"),
        of_pickle("many_values", new().op("N".repeat(100_001)), bad, "more than 100000 values"),
        of_pickle("many_ops", new().op("N").op("20".repeat(500_001)), bad, "more than 1000000 instructions"),
        of_pickle("binunicode_4g", new().op(b"X\xff\xff\xff\xff"), bad, "longer than"),
        of_pickle("binunicode8_max", new().op(b"\x8d").op([0xff; 8]), bad, "longer than"),
        of_pickle("string_past_end", new().op(b"X\xff\xff\0\0abc"), Code::Truncated, "cut short"),
        of_pickle("stack_underflow", new().op(b"0"), bad, "not there"),
        of_pickle("mark_missing", new().op(b"}u"), bad, "mark is missing"),
        of_pickle("below_the_mark", new().op(b"NN(R"), bad, "not there"),
        of_pickle("setitems_odd", new().op(b"}(Nu"), bad, "no value"),
        of_pickle("append_to_none", new().op(b"NNa"), bad, "no list"),
        of_pickle("memo_miss", new().op(b"h\x05"), bad, "never stored"),
        of_pickle("call_a_number", new().op(b"K\x01)R"), bad, "no function"),
        of_pickle(
            "short_args",
            new().global("torch._utils", "_rebuild_tensor_v2").op(b")R"),
            bad,
            "lacks its arguments",
        ),
        of_pickle("extension", new().op(b"\x82\x01"), bad, "opcode 0x82"),
        of_pickle("protocol_9", new().op(b"\x80\x09N"), bad, "protocol 9"),
        of_pickle("proto5_frame", new().op(b"\x80\x05\x95\x01\0\0\0\0\0\0\0}"), Code::NotAnEmbedding, "No vectors"),
        of_pickle("persistent_junk", new().op(b"NQ"), bad, "tuple is expected"),
        ("empty_pickle", torch_zip(b"", &[]), Code::Truncated, "cut short"),
        ("truncated", torch_zip(&plain_tensor(1, 8).0, &[]), Code::Truncated, "cut short"),
    ]
}

fn zip_cases() -> Vec<Case> {
    let pickle = plain_tensor(1, 8).stop();
    let data = f32s(&ramp(8));
    let bomb = vec![0u8; 40 << 20];
    let bad = Code::BadZip;
    let mut damaged = torch_zip(&pickle, &data);
    let storage = damaged.windows(8).position(|window| window == &data[..8]).unwrap();
    damaged[storage] ^= 1;
    let mut cut = torch_zip(&pickle, &data);
    cut.truncate(cut.len() - 30);
    vec![
        (
            "zip_bomb_deflate",
            zipped_as(CompressionMethod::Deflated, &[("a/data.pkl", &pickle), ("a/data/0", &bomb)]),
            Code::TooLarge,
            "unpacks to",
        ),
        (
            "two_data_pkl",
            zipped(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle), ("a/data/0", &data)]),
            bad,
            "2 files named",
        ),
        ("no_data_pkl", zipped(&[("a/readme.txt", b"hi")]), bad, "without a data.pkl"),
        ("data_pkl_at_the_root", zipped(&[("data.pkl", &pickle)]), bad, "FOLDER/data.pkl"),
        ("data_pkl_too_deep", zipped(&[("a/../data.pkl", &pickle)]), bad, "FOLDER/data.pkl"),
        ("wrong_checksum", damaged, bad, "hecksum"),
        ("cut_short", cut, bad, "sound PyTorch file"),
        ("legacy_cut", torch_legacy(&pickle, 8, &data[..20]), Code::Truncated, "cut short"),
        ("legacy_numel_lie", torch_legacy(&pickle, u64::MAX, &data), Code::Truncated, "cut short"),
    ]
}

#[test]
fn every_hostile_file_has_its_sentence() {
    let cases = [code_cases(), tensor_cases(), stream_cases(), zip_cases()].concat();
    assert!(cases.len() > 50);
    for (name, bytes, code, words) in cases {
        let error = read_embeddings("evil.pt", &bytes).expect_err(name);
        assert_eq!(error.code, code, "{name}: {error}");
        assert!(error.message.contains(words) && error.message.contains("evil.pt"), "{name}: {error}");
        assert!(error.message.len() < 500, "{name}: {error}");
    }
}

#[test]
fn duplicate_names_in_a_zip_are_refused() {
    let pickle = plain_tensor(1, 8).stop();
    let mut bytes = zipped(&[("a/data.pkl", &pickle), ("a/data.pkx", &pickle), ("a/data/0", &f32s(&ramp(8)))]);
    while let Some(at) = bytes.windows(10).position(|window| window == b"a/data.pkx") {
        bytes[at + 9] = b'l';
    }
    let error = read_embeddings("evil.pt", &bytes).unwrap_err();
    assert_eq!(error.code, Code::BadZip, "{error}");
}

#[test]
fn shared_lists_are_looked_at_within_a_budget() {
    // Five levels of lists, each ten times the one below: a hundred thousand places from sixty values.
    let mut pickle = plain_tensor(1, 8).op(b"q\0");
    for level in 0..5u8 {
        pickle = pickle.op(b"](").op([b'h', level].repeat(30)).op(b"e").op([b'q', level + 1]);
    }
    let error = read_embeddings("evil.pt", &torch_zip(&pickle.stop(), &f32s(&ramp(8)))).unwrap_err();
    assert_eq!(error.code, Code::TooLarge, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn random_opcodes_never_panic(bytes in prop::collection::vec(prop::sample::select(b".()NKMJG]}a\x80\x85\x86\x87\x88\x8a\x8c\x93\x94qhR\x81bQcstued012\n\x00\x01\x02".to_vec()), 0..200)) {
        drop(Pickle::read("x", &bytes));
    }

    #[test]
    fn any_tensor_is_within_its_storage(numel in 0i64..40, offset in -2i64..40, size in prop::collection::vec(-1i64..6, 0..4), strides in prop::collection::vec(-1i64..9, 0..4)) {
        let pickle = Pickler::new().dict("x").tensor(("FloatStorage", "0", numel), offset, &size, &strides).end_dict();
        let file = torch_zip(&pickle.stop(), &f32s(&ramp(numel as usize)));
        if let Ok(found) = read_embeddings("x.pt", &file) {
            prop_assert_eq!(found[0].values.len() as i64, size.iter().product::<i64>());
            prop_assert_eq!(found[0].values[0], ramp(40)[offset as usize]);
        }
    }
}

/// What is hidden in pixels is packed, so nothing is in a file of few bytes that says many pixels; no room is made for them.
#[test]
fn a_small_file_of_many_pixels_hides_nothing() {
    // A lossless WebP's size: 14 bits of width less one, 14 bits of height less one.
    let size = |width: u32, height: u32| ((width - 1) | (height - 1) << 14).to_le_bytes();
    let webp = |width, height| {
        let file = [b"RIFF\x40\0\0\0WEBPVP8L\x34\0\0\0\x2f".as_slice(), &size(width, height), &[0; 47]].concat();
        read_embeddings("plain.webp", &file).unwrap_err()
    };
    let vast = webp(8192, 8192);
    assert_eq!(vast.code, Code::NotAnEmbedding, "{vast}");
    // One that is not too plain is decoded, and found to be damaged.
    assert_eq!(webp(16, 16).code, Code::BadPicture);
}
