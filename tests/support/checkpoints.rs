//! Whole checkpoints in memory, made from the fixtures of `golden/models`, and embedding files.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::rc::Rc;

use wordbrush::files::key_names::KeyNames;
use wordbrush::files::{DType, MemorySource, Source, safetensors::header_of};
use wordbrush::gpu::Options;
use wordbrush::pipeline::StableDiffusion;

use crate::support::{Fixture, Numbers, golden};

/// An array of a file: name, shape, bytes.
pub type Array = (String, DType, Vec<usize>, Vec<u8>);

const TOKEN_TABLE: &str = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight";
const VOCABULARY: usize = 49408;

/// The arrays of `golden/models/{name}.safetensors`, with a token table of the full vocabulary. Begin and end are those
/// of the trajectory fixtures; every other word is random.
pub fn arrays(name: &str) -> Vec<Array> {
    let bytes = std::fs::read(golden(&format!("models/{name}.safetensors"))).expect("a fixture");
    let header = header_of(name, &bytes).expect("a header");
    let fixture = Fixture::read(&format!("{name}.euler"));
    let positive = fixture.numbers("rows.positive");
    let width = positive.len() / 77;
    let mut table = Numbers::new(77).take(VOCABULARY * width, wordbrush::gpu::Storage::F16);
    table[49406 * width..49407 * width].copy_from_slice(&positive[..width]);
    table[49407 * width..].copy_from_slice(&positive[76 * width..]);
    header
        .arrays
        .iter()
        .map(|array| {
            if array.name == TOKEN_TABLE {
                // f32, since the fixtures' rows are.
                return (array.name.clone(), DType::F32, vec![VOCABULARY, width], f32s(&table));
            }
            let part = &bytes[array.offset as usize..][..array.length as usize];
            (array.name.clone(), array.dtype, array.shape.clone(), part.to_vec())
        })
        .collect()
}

/// The same numbers in another element type (integers stay as they are).
pub fn converted(arrays: &[Array], dtype: DType) -> Vec<Array> {
    let convert = |(name, from, shape, bytes): &Array| {
        let values: Vec<f32> = match from {
            DType::F16 => bytes.chunks(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            DType::BF16 => bytes.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            DType::F32 => bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            _ => return (name.clone(), *from, shape.clone(), bytes.clone()),
        };
        let bytes = match dtype {
            DType::BF16 => values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
            _ => f32s(&values),
        };
        (name.clone(), dtype, shape.clone(), bytes)
    };
    arrays.iter().map(convert).collect()
}

/// A safetensors file. The header is as long as it happens to be: data may begin at any byte.
pub fn safetensors(arrays: &[Array]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in arrays {
        let start = data.len();
        data.extend_from_slice(bytes);
        let entry = serde_json::json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name.clone(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The checkpoint as the files of a diffusers folder.
pub fn folder(arrays: &[Array]) -> Vec<Rc<dyn Source>> {
    let names = KeyNames::from_ldm(arrays.iter().map(|array| array.0.as_str()));
    let mut parts: std::collections::BTreeMap<String, Vec<Array>> = Default::default();
    for (name, dtype, shape, bytes) in arrays {
        if let Some((component, name)) = names.to_diffusers(name).as_deref().and_then(|name| name.split_once('.')) {
            let array = (name.to_string(), *dtype, shape.clone(), bytes.clone());
            parts.entry(component.to_string()).or_default().push(array);
        }
    }
    let file = |(component, arrays): (String, Vec<Array>)| {
        let stem = if component == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
        let name = format!("some-model/{component}/{stem}.safetensors");
        Rc::new(MemorySource::new(name, safetensors(&arrays))) as Rc<dyn Source>
    };
    parts.into_iter().map(file).collect()
}

/// A single file as a source.
pub fn file(arrays: &[Array]) -> Vec<Rc<dyn Source>> {
    vec![Rc::new(MemorySource::new("model.safetensors", safetensors(arrays)))]
}

/// A loaded model.
pub fn load(sources: Vec<Rc<dyn Source>>, storage: wordbrush::gpu::Storage) -> StableDiffusion {
    load_with(sources, Options { storage: Some(storage), ..Options::default() })
}

/// A loaded model on a device opened so.
pub fn load_with(sources: Vec<Rc<dyn Source>>, options: Options) -> StableDiffusion {
    pollster::block_on(async {
        let mut sd = StableDiffusion::open(sources, options).await.unwrap_or_else(|e| panic!("{e}"));
        while sd.load().await.unwrap_or_else(|e| panic!("{e}")) {}
        sd
    })
}

/// An embedding file in kohya's layout.
pub fn embedding(vectors: &[f32], width: usize) -> Vec<u8> {
    safetensors(&[("emb_params".to_string(), DType::F32, vec![vectors.len() / width, width], f32s(vectors))])
}

/// Little-endian bytes.
pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}
