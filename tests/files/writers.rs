//! Writers of the formats the crate only reads.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A safetensors file around a header given as text; `data` zeros follow.
pub fn safetensors_raw(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// An array for [`safetensors`]: name, dtype, shape, bytes.
pub type Array<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

/// A safetensors file, its header not padded: the data start wherever the JSON ends.
pub fn safetensors(arrays: &[Array]) -> Vec<u8> {
    let (mut at, mut entries, mut data) = (0, Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in arrays {
        let end = at + bytes.len();
        let name = serde_json::to_string(name).unwrap();
        entries.push(format!(r#"{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{at},{end}]}}"#));
        data.extend_from_slice(bytes);
        at = end;
    }
    let mut file = safetensors_raw(&format!("{{{}}}", entries.join(",")), 0);
    file.extend(data);
    file
}

/// Little-endian bytes of f32s.
pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// `n` different, harmless values.
pub fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 97) as f32 / 64.0 - 0.5).collect()
}

/// A pickle under construction (protocol 2), opcode by opcode.
#[derive(Clone)]
pub struct Pickler(pub Vec<u8>);

impl Pickler {
    pub fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub fn op(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.op(b"X").op((text.len() as u32).to_le_bytes()).op(text)
    }

    pub fn int(self, n: i64) -> Self {
        self.op(b"\x8a\x08").op(n.to_le_bytes())
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n"))
    }

    pub fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |pickler, n| pickler.int(*n)).op(b"t")
    }

    pub fn storage(self, kind: &str, key: &str, numel: i64) -> Self {
        self.op(b"(").text("storage").global("torch", kind).text(key).text("cpu").int(numel).op(b"tQ")
    }

    /// `_rebuild_tensor_v2` of storage (kind, key, numel) from element `offset`.
    pub fn tensor(self, storage: (&str, &str, i64), offset: i64, size: &[i64], stride: &[i64]) -> Self {
        let begun = self.global("torch._utils", "_rebuild_tensor_v2").op(b"(").storage(storage.0, storage.1, storage.2);
        let sized = begun.int(offset).ints(size).ints(stride);
        sized.op(b"\x89").global("collections", "OrderedDict").op(b")R").op(b"tR")
    }

    /// Starts a dict whose first key is `key`; [`Self::end_dict`] ends it.
    pub fn dict(self, key: &str) -> Self {
        self.op(b"}(").text(key)
    }

    pub fn end_dict(self) -> Self {
        self.op(b"u")
    }

    pub fn stop(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// A row-major f32 tensor in storage "0".
pub fn plain_tensor(n: i64, width: i64) -> Pickler {
    Pickler::new().dict("emb_params").tensor(("FloatStorage", "0", n * width), 0, &[n, width], &[width, 1]).end_dict()
}

/// A zip with these entries, stored.
pub fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zipped_as(CompressionMethod::Stored, entries)
}

pub fn zipped_as(method: CompressionMethod, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A torch file: this pickle, and storage "0".
pub fn torch_zip(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zipped(&[("archive/data.pkl", pickle), ("archive/data/0", storage), ("archive/version", b"3\n")])
}

/// A torch file of the old format: this pickle, and storage "0" of `numel` elements.
pub fn torch_legacy(pickle: &[u8], numel: u64, storage: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    bytes.extend(Pickler::new().op(b"M\xe9\x03").stop());
    bytes.extend(Pickler::new().dict("little_endian").op(b"\x88").end_dict().stop());
    bytes.extend_from_slice(pickle);
    bytes.extend(Pickler::new().op(b"](").text("0").op(b"e").stop());
    bytes.extend(numel.to_le_bytes());
    bytes.extend_from_slice(storage);
    bytes
}
