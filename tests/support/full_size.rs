//! Stable Diffusion 1.5 in its full size without its numbers: a picture is made on a device that only counts.

use std::path::Path;
use std::rc::Rc;

use wordbrush::Result;
use wordbrush::gpu::{Counted, Options, Storage, Traffic};
use wordbrush::pipeline::{Params, StableDiffusion};

#[path = "sparse.rs"]
mod sparse;

use sparse::SparseSource;

/// What making a picture asks of the device.
pub struct Run {
    /// All plans, in the order they are recorded.
    pub plans: Vec<Counted>,
    /// A step that is neither the first nor the last.
    #[allow(dead_code, reason = "each binary uses its part")]
    pub step: Traffic,
    /// Bytes on the device once the model is loaded.
    #[allow(dead_code, reason = "each binary uses its part")]
    pub loaded: u64,
    /// The most bytes it ever held.
    pub peak: u64,
}

impl Run {
    /// The plan of this label.
    pub fn plan(&self, label: &str) -> &Counted {
        self.plans.iter().find(|plan| plan.label == label).unwrap_or_else(|| panic!("no plan is called {label}"))
    }
}

/// The checkpoint's names and shapes (`golden/names`), as one file.
fn checkpoint() -> SparseSource {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/names");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (names, shapes) = (read("ldm.txt"), read("shapes.txt"));
    let shapes: Vec<Vec<usize>> =
        shapes.lines().map(|line| line.split('x').map(|n| n.parse().expect("a number")).collect()).collect();
    let arrays = names.lines().zip(&shapes).map(|(name, shape)| (name, &shape[..]));
    SparseSource::safetensors("sd15.safetensors", "F16", arrays)
}

/// A picture of `size`×`size` with guidance in Euler steps on the GPU's kernels, counted.
#[allow(dead_code, reason = "each binary uses its part")]
pub fn picture(size: usize, storage: Storage) -> Run {
    let prompt = "a photo of a cat".to_string();
    let params = Params { prompt, width: size, height: size, ..Params::default() };
    counted(&params, storage).unwrap_or_else(|e| panic!("{e}"))
}

/// What is asked for, in three steps.
///
/// # Errors
/// When it is refused.
pub fn counted(params: &Params, storage: Storage) -> Result<Run> {
    pollster::block_on(async {
        let options = Options { storage: Some(storage), software: Some(false), count_only: true, ..Options::default() };
        let mut sd = StableDiffusion::open(vec![Rc::new(checkpoint())], options).await?;
        while sd.load().await? {}
        let gpu = sd.gpu().expect("a GPU").clone();
        let loaded = gpu.allocated();
        let mut generation = sd.start(&Params { steps: 3, ..params.clone() }).await?;
        generation.step().await?;
        let before = gpu.traffic();
        generation.step().await?;
        let after = gpu.traffic();
        generation.step().await?;
        generation.image(&sd).await?;
        Ok(Run { plans: gpu.counted(), step: difference(after, before), loaded, peak: gpu.peak() })
    })
}

fn difference(after: Traffic, before: Traffic) -> Traffic {
    Traffic {
        uploaded: after.uploaded - before.uploaded,
        read_back: after.read_back - before.read_back,
        dispatches: after.dispatches - before.dispatches,
        submits: after.submits - before.submits,
        passes: after.passes - before.passes,
        buffers: after.buffers - before.buffers,
        bind_groups: after.bind_groups - before.bind_groups,
    }
}
