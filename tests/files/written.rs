//! Embeddings as files: what is written is read back here, by another reader, and (check_written.py) by torch.

use pytorch_reader::PytorchReader;
use wordbrush::error::Code;
use wordbrush::files::{DType, Embedding, read_embeddings, to_a1111_pt, to_kohya_safetensors};

use crate::corpus::their_values;
use crate::writers::ramp;

const NAME: &str = "näme <b>";

#[test]
fn what_is_written_is_read_back() {
    for (vectors, width) in [(1, 768), (3, 768), (75, 768), (300, 768), (2, 8)] {
        let made = Embedding::of_rows(NAME, width, ramp(vectors * width)).unwrap();
        let kohya = to_kohya_safetensors(&made);
        let pt = to_a1111_pt(&made.name, &made.values, vectors, width);
        for (file, bytes, key) in [("it.safetensors", &kohya, "emb_params"), ("it.pt", &pt, "*")] {
            let read = read_embeddings(file, bytes).unwrap().remove(0);
            assert_eq!((read.vectors, read.width, read.dtype, read.key.as_str()), (vectors, width, DType::F32, key));
            assert_eq!(read.values, ramp(vectors * width));
            assert_eq!(read.name, "it");
        }
        let read = read_embeddings("it.safetensors", &kohya).unwrap().remove(0);
        assert_eq!((&made.name[..], &made.sha256, &made.warnings), (NAME, &read.sha256, &read.warnings));
        assert_eq!(to_a1111_pt(NAME, &made.values, vectors, width), pt, "the same bytes every time");

        let folder = std::env::var_os("WRITTEN").map_or_else(std::env::temp_dir, Into::into);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("wordbrush_written_{vectors}x{width}.pt"));
        std::fs::write(&path, &pt).unwrap();
        let reader = PytorchReader::new(&path).unwrap();
        let theirs = reader.get("string_to_param.*").unwrap();
        assert_eq!((theirs.shape().to_vec(), their_values(theirs).unwrap()), (vec![vectors, width], made.values));
        if std::env::var_os("WRITTEN").is_some() {
            std::fs::write(path.with_extension("safetensors"), &kohya).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn the_header_is_aligned_and_the_storage_too() {
    let made = Embedding::of_rows("x", 8, ramp(24)).unwrap();
    let kohya = to_kohya_safetensors(&made);
    assert_eq!(u64::from_le_bytes(kohya[..8].try_into().unwrap()) % 8, 0);
    let pt = to_a1111_pt("x", &made.values, 3, 8);
    let start: Vec<u8> = ramp(24)[..4].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(pt.windows(16).position(|window| window == start).unwrap() % 64, 0);
}

#[test]
fn what_is_no_embedding_cannot_be_made() {
    assert_eq!(Embedding::of_rows("x", 8, vec![]).unwrap_err().code, Code::NotAnEmbedding);
    assert_eq!(Embedding::of_rows("x", 0, vec![]).unwrap_err().code, Code::NotAnEmbedding);
    assert_eq!(Embedding::of_rows("x", 2, vec![0.0, f32::NAN]).unwrap_err().code, Code::NotFinite);
    assert_eq!(Embedding::of_rows("x", 1, vec![0.5; 1025]).unwrap_err().code, Code::TooLarge);
}
