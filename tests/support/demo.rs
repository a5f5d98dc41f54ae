//! The model that comes with the page.

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use wordbrush::files::MemorySource;
use wordbrush::gpu::Options;
use wordbrush::pipeline::StableDiffusion;

/// The published demo model, as the page unpacks it.
pub fn demo() -> StableDiffusion {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/demo/shapes.safetensors.gz");
    let packed = std::fs::read(path).expect("the model");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
    pollster::block_on(async {
        let source = Rc::new(MemorySource::new("shapes.safetensors", bytes));
        let mut sd = StableDiffusion::open(vec![source], Options::default()).await.unwrap_or_else(|e| panic!("{e}"));
        while sd.load().await.unwrap_or_else(|e| panic!("{e}")) {}
        sd
    })
}
