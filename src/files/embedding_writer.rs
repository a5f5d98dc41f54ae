//! Embeddings as files that the other programs read: kohya's safetensors, and what A1111 saves with `torch.save`.

use std::io::{Cursor, Write};

use serde_json::json;
use zip::result::ZipResult;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::array::DType;
use super::textual_inversion::{Embedding, read_embeddings};
use crate::error::Result;

impl Embedding {
    /// An embedding made here, of `values` (vectors, width): what would be read from the file that
    /// [`to_kohya_safetensors`] saves it in, so its hash is that file's.
    ///
    /// # Errors
    /// As [`read_embeddings`]: no vectors, too many, or values that are not finite.
    pub fn of_rows(name: &str, width: usize, values: Vec<f32>) -> Result<Self> {
        let vectors = values.len().checked_div(width).unwrap_or(0);
        let (key, sha256, dtype) = (String::new(), String::new(), DType::F32);
        let name = name.to_string();
        let rows = Self { name, key, vectors, width, values, dtype, layout: "kohya", sha256, warnings: Vec::new() };
        let mut read = read_embeddings(&rows.name, &to_kohya_safetensors(&rows))?;
        let read = read.pop().map(|read| Self { name: rows.name.clone(), ..read });
        Ok(read.unwrap_or(rows))
    }
}

/// A `.safetensors` file with the vectors under `emb_params`, as kohya's scripts write them.
///
/// The same embedding always gives the same bytes.
pub fn to_kohya_safetensors(embedding: &Embedding) -> Vec<u8> {
    let Embedding { vectors, width, values, .. } = embedding;
    assert_eq!(values.len(), vectors * width, "an embedding of {vectors} vectors of width {width}");
    // diffusers wants to be told that the tensors are PyTorch's.
    let header = json!({
        "__metadata__": { "format": "pt" },
        "emb_params": { "dtype": "F32", "shape": [vectors, width], "data_offsets": [0, values.len() * 4] },
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

/// A `.pt` file as A1111 saves it, for every program that came after it; `values` are (vectors, width).
///
/// The same embedding always gives the same bytes.
pub fn to_a1111_pt(name: &str, values: &[f32], vectors: usize, width: usize) -> Vec<u8> {
    assert_eq!(values.len(), vectors * width, "an embedding of {vectors} vectors of width {width}");
    let storage: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    // No more entries than these: A1111 takes the others, which newer versions of torch write, for an attack.
    let entries: [(&str, &[u8]); 3] = [
        ("archive/data.pkl", &a1111_pickle(name, vectors, width)),
        ("archive/data/0", &storage),
        ("archive/version", b"3\n"),
    ];
    zipped(&entries).expect("nothing fails when a zip is written to memory")
}

/// Stored, never compressed, and the content at multiples of 64 bytes, so that torch can map the file.
fn zipped(entries: &[(&str, &[u8])]) -> ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(64);
    for (name, content) in entries {
        zip.start_file(*name, options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// `{"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": …, "step": 0, …}`. 265 is CLIP's `*`.
fn a1111_pickle(name: &str, vectors: usize, width: usize) -> Vec<u8> {
    let tensor = Pickler::default()
        .global("torch._utils", "_rebuild_tensor_v2")
        .op(b"((")
        .text("storage")
        .global("torch", "FloatStorage")
        .text("0")
        .text("cpu")
        .int(vectors * width)
        .op(b"tQ")
        .int(0)
        .int(vectors)
        .int(width)
        .op(b"\x86")
        .int(width)
        .int(1)
        .op(b"\x86\x89")
        .global("collections", "OrderedDict")
        .op(b")RtR");
    let term = |value: &[u8]| Pickler::default().op(b"}").text("*").op(value).op(b"s").0;
    let token = term(&Pickler::default().int(265).0);
    Pickler::default()
        .op(b"\x80\x02}(")
        .text("string_to_token")
        .op(&token)
        .text("string_to_param")
        .op(&term(&tensor.0))
        .text("name")
        .text(name)
        .text("step")
        .int(0)
        .text("sd_checkpoint")
        .op(b"N")
        .text("sd_checkpoint_name")
        .op(b"Nu.")
        .0
}

/// Instructions of a pickle of protocol 2.
#[derive(Default)]
struct Pickler(Vec<u8>);

impl Pickler {
    fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        let length = text.len() as u32;
        self.op(b"X").op(&length.to_le_bytes()).op(text.as_bytes())
    }

    fn int(self, n: usize) -> Self {
        match (u8::try_from(n), u16::try_from(n)) {
            (Ok(n), _) => self.op(&[b'K', n]),
            (_, Ok(n)) => self.op(b"M").op(&n.to_le_bytes()),
            _ => self.op(b"J").op(&(n as i32).to_le_bytes()),
        }
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }
}
