//! The layouts of Textual Inversion files, and what is said about files that hold none.

use half::{bf16, f16};
use sha2::{Digest, Sha256};
use wordbrush::error::Code;
use wordbrush::files::{DType, Embedding, read_embeddings};
use zip::CompressionMethod;

use crate::writers::{Pickler, f32s, plain_tensor, ramp, safetensors, torch_legacy, torch_zip, zipped, zipped_as};

fn one(file: &str, bytes: &[u8]) -> Embedding {
    let mut all = read_embeddings(file, bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert_eq!(all.len(), 1, "{file}");
    all.remove(0)
}

fn refused(bytes: &[u8]) -> (Code, String) {
    let error = read_embeddings("x.bin", bytes).unwrap_err();
    (error.code, error.message)
}

#[test]
fn kohya_and_unaligned_data() {
    // 71 bytes of header, as EasyNegative.safetensors has: the data start at byte 79.
    let mut bytes = safetensors(&[("emb_params", "F32", &[2, 768], f32s(&ramp(1536)))]);
    while u64::from_le_bytes(bytes[..8].try_into().unwrap()) < 71 {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes.insert(8 + length, b' ');
        bytes[..8].copy_from_slice(&(length as u64 + 1).to_le_bytes());
    }
    let embedding = one("some/dir\\EasyNegative.safetensors", &bytes);
    assert_eq!(
        (embedding.name.as_str(), embedding.key.as_str(), embedding.layout),
        ("EasyNegative", "emb_params", "kohya")
    );
    assert_eq!((embedding.vectors, embedding.width, embedding.dtype), (2, 768, DType::F32));
    assert_eq!(embedding.values, ramp(1536));
    assert_eq!(embedding.sha256, Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>());
    assert!(embedding.warnings.is_empty());
}

#[test]
fn the_extension_does_not_matter() {
    let bytes = safetensors(&[("<cat>", "F32", &[768], f32s(&ramp(768)))]);
    assert_eq!(one("cat.pt", &bytes).key, "<cat>");
    let bytes = torch_zip(&plain_tensor(1, 8).stop(), &f32s(&ramp(8)));
    assert_eq!(one("v1.5 cat.safetensors", &bytes).name, "v1.5 cat");
    assert_eq!(one("bad.v2", &bytes).name, "bad.v2");
    assert_eq!(one(".pt", &bytes).name, ".pt");
}

#[test]
fn element_types() {
    let halves: Vec<u8> = ramp(8).iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let brains: Vec<u8> = ramp(8).iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    let doubles: Vec<u8> = ramp(8).iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    for (kind, dtype, name, data) in [
        ("HalfStorage", DType::F16, "F16", &halves),
        ("BFloat16Storage", DType::BF16, "BF16", &brains),
        ("DoubleStorage", DType::F64, "F64", &doubles),
    ] {
        let pickle = Pickler::new().dict("t").tensor((kind, "0", 8), 0, &[1, 8], &[8, 1]).end_dict().stop();
        for bytes in [
            torch_zip(&pickle, data),
            torch_legacy(&pickle, 8, data),
            safetensors(&[("t", name, &[1, 8], data.clone())]),
        ] {
            let embedding = one("t.pt", &bytes);
            assert_eq!((embedding.dtype, embedding.values), (dtype, ramp(8)));
        }
    }
    let integers = Pickler::new().dict("t").tensor(("LongStorage", "0", 8), 0, &[1, 8], &[8, 1]).end_dict().stop();
    assert_eq!(refused(&torch_zip(&integers, &[0; 64])).0, Code::WrongDtype);
    assert_eq!(refused(&safetensors(&[("t", "I32", &[1, 8], vec![0; 32])])).0, Code::WrongDtype);
}

#[test]
fn views_with_strides_and_offsets() {
    let data = f32s(&ramp(24));
    let read = |offset, size: &[i64], stride: &[i64]| {
        let pickle = Pickler::new().dict("t").tensor(("FloatStorage", "0", 24), offset, size, stride).end_dict().stop();
        let zip = one("t.pt", &torch_zip(&pickle, &data)).values;
        assert_eq!(zip, one("t.pt", &torch_legacy(&pickle, 24, &data)).values);
        zip
    };
    let r = ramp(24);
    assert_eq!(read(4, &[2, 3], &[8, 2]), [r[4], r[6], r[8], r[12], r[14], r[16]]);
    assert_eq!(read(0, &[2, 3], &[1, 2]), [r[0], r[2], r[4], r[1], r[3], r[5]]);
    assert_eq!(read(3, &[1, 2, 3], &[0, 3, 1]), r[3..9]);
    assert_eq!(read(23, &[1], &[7]), r[23..]);
}

#[test]
fn rezipped_and_big_endian() {
    let pickle = plain_tensor(2, 8).stop();
    let little = f32s(&ramp(16));
    let deflated = zipped_as(
        CompressionMethod::Deflated,
        &[("x/data.pkl", &pickle), ("x/data/0", &little), ("x/notes.txt", b"?")],
    );
    assert_eq!(one("t.pt", &deflated).values, ramp(16));
    let big: Vec<u8> = ramp(16).iter().flat_map(|v| v.to_be_bytes()).collect();
    let bytes = zipped(&[
        ("x/data.pkl", &pickle),
        ("x/byteorder", b"big"),
        ("x/data/0", &big),
        ("x/.data/serialization_id", b"1"),
    ]);
    assert_eq!(one("t.pt", &bytes).values, ramp(16));
}

#[test]
fn several_terms_are_told_apart() {
    let tensor = |p: Pickler, at| p.tensor(("FloatStorage", "0", 16), at, &[1, 8], &[8, 1]);
    let begun = Pickler::new().dict("string_to_param").op(b"}(").text("a");
    let pickle = tensor(tensor(begun, 0).text("b"), 8).op(b"uu").stop();
    let found = read_embeddings("two.pt", &torch_zip(&pickle, &f32s(&ramp(16)))).unwrap();
    assert_eq!(found.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["two#a", "two#b"]);
    assert_eq!(found[1].values, ramp(16)[8..]);
    assert!(found[0].warnings[0].contains("2 embeddings"));
}

#[test]
fn sdxl_numbered_and_bundled() {
    let row = |start: usize| f32s(&ramp(64)[start..start + 8]);
    let sdxl = safetensors(&[("clip_g", "F32", &[1, 16], f32s(&ramp(16))), ("clip_l", "F32", &[1, 8], row(3))]);
    let embedding = one("x.safetensors", &sdxl);
    assert_eq!((embedding.layout, &embedding.values[..]), ("SDXL", &ramp(64)[3..11]));
    assert!(embedding.warnings[0].contains("CLIP-G"));

    let mut numbered: Vec<_> = (1..12).rev().map(|i| (format!("<t>_{i}"), row(i))).collect();
    numbered.push(("<t>".to_string(), row(0)));
    let arrays: Vec<_> =
        numbered.iter().map(|(name, data)| (name.as_str(), "F32", &[8usize][..], data.clone())).collect();
    let embedding = one("x.safetensors", &safetensors(&arrays));
    assert_eq!((embedding.vectors, embedding.key.as_str()), (12, "<t>"));
    assert_eq!(embedding.values[80..88], ramp(64)[10..18]);

    let bundle = safetensors(&[
        ("lora_unet_x.lora_up.weight", "F32", &[8], row(1)),
        ("bundle_emb.foo.string_to_param.*", "F32", &[1, 8], row(2)),
        ("bundle_emb.bar.clip_l", "F32", &[1, 8], row(4)),
    ]);
    let found = read_embeddings("x.safetensors", &bundle).unwrap();
    assert_eq!(found.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["x#foo", "x#bar"]);
}

#[test]
fn shapes_and_limits() {
    let with = |shape: &[usize]| safetensors(&[("t", "F32", shape, f32s(&ramp(shape.iter().product())))]);
    assert_eq!(one("t", &with(&[1, 3, 8])).vectors, 3);
    assert_eq!(refused(&with(&[2, 3, 8])).0, Code::WrongShape);
    assert_eq!(refused(&with(&[])).0, Code::WrongShape);
    let (code, message) = refused(&with(&[768, 4]));
    assert!(code == Code::WrongShape && message.contains("transposed"), "{message}");
    assert_eq!(refused(&with(&[1025, 1])).0, Code::TooLarge);
    assert!(refused(&with(&[0, 768])).1.contains("No vectors"));
    assert!(refused(&with(&[0])).1.contains("No vectors"));
    assert!(one("t", &with(&[1, 1024])).warnings[0].contains("Stable Diffusion 2"));
    assert!(one("t", &with(&[1, 1280])).warnings[0].contains("SDXL"));
    assert!(one("t", &with(&[76, 8])).warnings[0].contains("75"));
    assert_eq!(refused(&vec![0; (32 << 20) + 1]).0, Code::TooLarge);
    let large = safetensors(&[("t", "F32", &[2], f32s(&[11.0, 0.0]))]);
    assert!(one("t", &large).warnings[0].contains("11.0"));
}

#[test]
fn nan_and_infinity() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = ramp(16);
        values[9] = value;
        let (code, message) = refused(&safetensors(&[("t", "F32", &[2, 8], f32s(&values))]));
        assert!(code == Code::NotFinite && message.contains("vector 2"), "{message}");
    }
    let doubles: Vec<u8> = [1e300f64, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(refused(&safetensors(&[("t", "F64", &[2], doubles)])).0, Code::NotFinite);
}

#[test]
fn files_without_vectors_are_explained() {
    let st = |name: &str| safetensors(&[(name, "F32", &[4, 8], f32s(&ramp(32))), ("zzz", "F32", &[3], f32s(&ramp(3)))]);
    let pickled = |key: &str| torch_zip(&Pickler::new().dict(key).op(b"}").end_dict().stop(), &[]);
    for (bytes, words) in [
        (st("lora_unet_down.lora_down.weight"), "LoRA"),
        (st("unet.x.lora_A.weight"), "LoRA"),
        (st("model.diffusion_model.x"), "checkpoint"),
        (st("decoder.conv_in.weight"), "VAE"),
        (st("control_model.x"), "ControlNet"),
        (st("something.else"), "something.else, zzz"),
        (pickled("state_dict"), "checkpoint"),
        (pickled("optimizer_state_dict"), "optimizer"),
        (torch_zip(&Pickler::new().op(b"}(M\x40\x01]u").stop(), &[]), "hypernetwork"),
        (torch_zip(&Pickler::new().op(b"}").stop(), &[]), "No vectors found"),
        (pickled("string_to_param"), "No vectors found"),
        (torch_zip(&Pickler::new().op(b"N").stop(), &[]), "No vectors found"),
        (torch_zip(&Pickler::new().op(b"]").stop(), &[]), "No vectors found"),
    ] {
        let (code, message) = refused(&bytes);
        assert_eq!(code, Code::NotAnEmbedding, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn names_from_files_stay_on_one_line() {
    let name = format!("<img src=x onerror=alert(1)>\n{}", "y".repeat(400));
    let (_, message) = refused(&safetensors(&[(&name, "I8", &[1], vec![0])]));
    assert!(!message.contains('\n') && message.len() < 300, "{message}");
    let message = read_embeddings("it's \u{202e}gnp.pt", b"").unwrap_err().message;
    assert!(message.starts_with("it's \\u{202e}gnp.pt is empty"), "{message}");
}
