//! The model that comes with the page.

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use wordbrush::Result;
use wordbrush::files::MemorySource;
use wordbrush::gpu::Options;
use wordbrush::pipeline::StableDiffusion;

/// The published demo model, as the page unpacks it, on the adapter that is there.
#[allow(dead_code, reason = "each binary uses its part")]
pub fn demo() -> StableDiffusion {
    pollster::block_on(async {
        let mut sd = open(Options::default()).await.unwrap_or_else(|e| panic!("{e}"));
        while sd.load().await.unwrap_or_else(|e| panic!("{e}")) {}
        sd
    })
}

/// The same, before anything of it is brought in.
///
/// # Errors
/// When it is refused.
pub async fn open(options: Options) -> Result<StableDiffusion> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/demo/shapes.safetensors.gz");
    let packed = std::fs::read(path).expect("the model");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
    StableDiffusion::open(vec![Rc::new(MemorySource::new("shapes.safetensors", bytes))], options).await
}
