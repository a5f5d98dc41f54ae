//! What the GPU tests share: devices, numbers, closeness.

#![allow(dead_code, reason = "each test binary uses its part")]

use wordbrush::gpu::{Gpu, Options, Storage, Tensor};

/// Every way of storing numbers.
pub const STORAGES: [Storage; 3] = [Storage::F32, Storage::F16, Storage::Packed];

/// The system's adapter; the test fails where there is none.
pub fn gpu(storage: Storage) -> Gpu {
    match pollster::block_on(Gpu::open(Options { storage: Some(storage), matrices: true, ..Options::default() })) {
        Ok(gpu) => gpu,
        Err(error) => panic!("{}: {error}", error.code.name()),
    }
}

/// The same with the kernels of adapters that are programs on a CPU, and with those of GPUs.
pub fn both(storage: Storage) -> [Gpu; 2] {
    [true, false].map(|software| {
        let options = Options { storage: Some(storage), software: Some(software), ..Options::default() };
        pollster::block_on(Gpu::open(options)).unwrap_or_else(|error| panic!("{}: {error}", error.code.name()))
    })
}

/// The same, where dispatches are cut into as many parts as they can be.
pub fn gpu_in_parts(storage: Storage) -> Gpu {
    let options = Options { storage: Some(storage), dispatch: Some(1), ..Options::default() };
    pollster::block_on(Gpu::open(options)).unwrap_or_else(|error| panic!("{}: {error}", error.code.name()))
}

/// Numbers that look random and are the same everywhere.
pub struct Numbers(u64);

impl Numbers {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in −1…1.
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `n` of them, rounded to `storage`, so that the reference starts from what the kernel sees.
    pub fn take(&mut self, n: usize, storage: Storage) -> Vec<f32> {
        (0..n).map(|_| self.next()).map(|x| round(x, storage)).collect()
    }
}

/// `x` as `storage` holds it.
pub fn round(x: f32, storage: Storage) -> f32 {
    if storage == Storage::F32 { x } else { half::f16::from_f32(x).to_f32() }
}

/// Uploads numbers.
pub fn tensor(gpu: &Gpu, shape: &[usize], storage: Storage, values: &[f32]) -> Tensor {
    gpu.upload("test", shape, storage, values)
}

/// Records `kernel`, fills all memory it may write with NaN, runs it, and reads its result.
pub fn run(gpu: &Gpu, kernel: impl FnOnce() -> Tensor) -> Vec<f32> {
    let (plan, result) = gpu.record("test", || kernel().keep());
    plan.poison();
    result.write(&vec![f32::NAN; result.len()]);
    plan.run();
    let values = pollster::block_on(result.read()).unwrap_or_else(|e| panic!("{e}"));
    assert!(plan.stats().dispatches > 0);
    values
}

/// Root of the mean squared difference, relative to the expected numbers' root mean square.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "lengths");
    let square = |x: f64| x * x;
    let difference: f64 = found.iter().zip(expected).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let size: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    (difference / size.max(1e-30)).sqrt()
}

/// Fails unless `found` is `expected` within what `storage` allows: 1e-5 for f32 (other orders of summation),
/// 1e-3 for halves (their last digit is 5e-4, once for the result; accumulation is f32).
pub fn close(what: &str, storage: Storage, found: &[f32], expected: &[f32]) {
    let most = if storage == Storage::F32 { 1e-5 } else { 1e-3 };
    let error = relative_error(found, expected);
    assert!(error <= most, "{what} {storage:?}: relative error {error:.2e}, at most {most:.0e}");
}

/// A model of `tests/golden/models`, as the files' source.
pub fn model(name: &str) -> std::rc::Rc<dyn wordbrush::files::Source> {
    let path = golden(&format!("models/{name}.safetensors"));
    std::rc::Rc::new(
        wordbrush::files::source::DiskSource::open(&path, format!("{name}.safetensors")).expect("a fixture"),
    )
}

/// A file below `tests/golden`.
pub fn golden(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

/// The arrays of a fixture, f32 and u8 alike, by name.
pub struct Fixture(std::collections::BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Fixture {
    /// Reads `tests/golden/models/{name}.safetensors`.
    pub fn read(name: &str) -> Self {
        Self::of(&format!("models/{name}.safetensors"))
    }

    /// Reads a safetensors file below `tests/golden`.
    pub fn of(name: &str) -> Self {
        let bytes = std::fs::read(golden(name)).expect("a fixture");
        let header = wordbrush::files::safetensors::header_of(name, &bytes).expect("a header");
        let numbers = |array: &wordbrush::files::ArrayInfo| {
            let bytes = &bytes[array.offset as usize..][..array.length as usize];
            match array.dtype {
                wordbrush::files::DType::U8 => bytes.iter().map(|&byte| f32::from(byte)).collect(),
                wordbrush::files::DType::I32 => {
                    bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32).collect()
                }
                _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>(),
            }
        };
        Self(header.arrays.iter().map(|array| (array.name.clone(), (array.shape.clone(), numbers(array)))).collect())
    }

    /// The numbers of an array.
    pub fn numbers(&self, name: &str) -> &[f32] {
        &self.0[name].1
    }

    /// The shape of an array.
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.0[name].0
    }

    /// Names that begin so.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

/// (B, C, pixels) → (B, pixels, C padded to four with zeros).
pub fn to_nhwc(values: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let padded = channels.next_multiple_of(4);
    let mut result = vec![0.0; values.len() / channels * padded];
    for (i, &value) in values.iter().enumerate() {
        let (item, c, pixel) = (i / (channels * pixels), i / pixels % channels, i % pixels);
        result[(item * pixels + pixel) * padded + c] = value;
    }
    result
}
