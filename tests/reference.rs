//! The second opinion against the first: candle on our checkpoints must agree with PyTorch's diffusers (`golden/models`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use wordbrush::files::source::DiskSource;
use wordbrush::files::{Checkpoint, Source};
use wordbrush::reference::Reference;

const MODELS: [&str; 3] = ["four_levels", "three_levels", "two_levels"];

/// Only the order of sums differs.
const SAME_FORMULA: f64 = 1e-5;
/// candle's UNet takes the tanh form of GELU, diffusers' the erf form.
const OTHER_GELU: f64 = 1e-3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models")
}

fn open(model: &str) -> Reference {
    open_file(&folder().join(format!("{model}.safetensors")))
}

fn open_file(path: &Path) -> Reference {
    let source: Rc<dyn Source> = Rc::new(DiskSource::open(path, "model.safetensors").unwrap());
    let checkpoint = pollster::block_on(Checkpoint::open(vec![source])).unwrap();
    pollster::block_on(Reference::open(&checkpoint)).unwrap()
}

struct Fixture(HashMap<String, Tensor>);

impl Fixture {
    fn read(model: &str, kind: &str) -> Self {
        Self(
            candle_core::safetensors::load(folder().join(format!("{model}.{kind}.safetensors")), &Device::Cpu).unwrap(),
        )
    }

    fn numbers(&self, name: &str) -> Vec<f32> {
        self.0[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        self.0[name].dims().to_vec()
    }
}

/// ‖ours − theirs‖ / ‖theirs‖.
fn error(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let square = |x: f64| x * x;
    let difference: f64 = ours.iter().zip(theirs).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (difference / theirs.iter().map(|b| square(f64::from(*b))).sum::<f64>()).sqrt()
}

#[test]
fn text() {
    for model in MODELS {
        let (reference, fixture) = (open(model), Fixture::read(model, "clip"));
        let rows = fixture.numbers("rows");
        let mut worst: f64 = 0.0;
        for (windows, skip) in [(1, 1), (2, 1), (2, 2)] {
            let hidden = reference.text(&rows[..rows.len() / 2 * windows], windows, skip).unwrap();
            worst = worst.max(error(&hidden, &fixture.numbers(&format!("hidden.windows{windows}.skip{skip}"))));
        }
        println!("{model}: text {worst:.1e}");
        assert!(worst < SAME_FORMULA, "{model}: {worst:e}");
        let too_far = reference.text(&rows, 2, 99).unwrap();
        assert_eq!(
            too_far,
            reference.text(&rows, 2, 1).unwrap(),
            "{model}: a skip beyond the first layer is the last layer"
        );
    }
}

#[test]
fn unet() {
    for model in MODELS {
        let (reference, fixture) = (open(model), Fixture::read(model, "unet"));
        let mut worst: f64 = 0.0;
        let names = fixture.0.keys().filter(|name| name.starts_with("eps."));
        for name in names {
            // eps.HxW.batchB.tT.tokensC
            let words: Vec<&str> = name.split('.').collect();
            let number = |i: usize, prefix: &str| words[i].strip_prefix(prefix).unwrap().parse::<usize>().unwrap();
            let (batch, timestep, tokens) = (number(2, "batch"), number(3, "t"), number(4, "tokens"));
            let shape: [usize; 4] = fixture.shape(name).try_into().unwrap();
            let latents = fixture.numbers(&format!("latents.{}", words[1]));
            let context = fixture.0["context"].narrow(0, 0, batch).unwrap().narrow(1, 0, tokens).unwrap();
            let context: Vec<f32> = context.flatten_all().unwrap().to_vec1().unwrap();
            let eps =
                reference.unet(&latents[..shape.iter().product()], shape, timestep as f64, &context, tokens).unwrap();
            let error = error(&eps, &fixture.numbers(name));
            assert!(error < OTHER_GELU, "{model} {name}: {error:e}");
            worst = worst.max(error);
        }
        println!("{model}: unet {worst:.1e}");
        assert!(worst > 0.0, "{model}: nothing was compared");
    }
}

#[test]
fn decode() {
    for model in MODELS {
        let (reference, fixture) = (open(model), Fixture::read(model, "vae"));
        for size in ["8x8", "4x6"] {
            let latents = format!("latents.{size}");
            let shape = fixture.shape(&latents).try_into().unwrap();
            let image = reference.decode(&fixture.numbers(&latents), shape).unwrap();
            let error = error(&image, &fixture.numbers(&format!("image.{size}")));
            println!("{model} {size}: decode {error:.1e}");
            assert!(error < SAME_FORMULA, "{model} {size}: {error:e}");
        }
    }
}

/// From rows to the last latents: euler on the fixture's sigmas, guidance on the denoised as ComfyUI does it.
#[test]
fn euler() {
    let (reference, fixture) = (open("four_levels"), Fixture::read("four_levels", "euler"));
    let cond = reference.text(&fixture.numbers("rows.positive"), 1, 1).unwrap();
    let uncond = reference.text(&fixture.numbers("rows.negative"), 1, 1).unwrap();
    let shape = fixture.shape("noise").try_into().unwrap();
    let (sigmas, timesteps) = (fixture.numbers("sigmas.steps4"), [999.0, 666.0, 333.0, 0.0]);
    let mut x: Vec<f32> = fixture.numbers("noise").iter().map(|n| n * (1.0 + sigmas[0] * sigmas[0]).sqrt()).collect();
    for (pair, timestep) in sigmas.windows(2).zip(timesteps) {
        let (sigma, after) = (pair[0], pair[1]);
        let scaled: Vec<f32> = x.iter().map(|x| x / (sigma * sigma + 1.0).sqrt()).collect();
        let eps = |context: &[f32]| reference.unet(&scaled, shape, timestep, context, 77).unwrap();
        for ((x, c), u) in x.iter_mut().zip(eps(&cond)).zip(eps(&uncond)) {
            *x += (u + (c - u) * 8.0) * (after - sigma);
        }
    }
    let error = error(&x, &fixture.numbers("latents.steps4.cfg8"));
    println!("euler {error:.1e}");
    assert!(error < OTHER_GELU, "{error:e}");
}

/// The fixtures' weights are numbers that all three types hold, so nothing may change.
#[test]
fn bf16_and_f32_files_give_the_same() {
    let (f16, fixture) = (open("three_levels"), Fixture::read("three_levels", "vae"));
    let latents = fixture.numbers("latents.4x6");
    let tensors = candle_core::safetensors::load(folder().join("three_levels.safetensors"), &Device::Cpu).unwrap();
    for dtype in [DType::BF16, DType::F32] {
        let path = std::env::temp_dir().join(format!("wordbrush-{}-{dtype:?}.safetensors", std::process::id()));
        let widened = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.to_dtype(dtype).unwrap()));
        candle_core::safetensors::save(&widened.collect(), &path).unwrap();
        let other = open_file(&path);
        std::fs::remove_file(&path).unwrap();
        let [ours, theirs] = [&f16, &other].map(|reference| reference.decode(&latents, [1, 4, 4, 6]).unwrap());
        assert!(ours == theirs, "{dtype:?}");
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let reference = open("two_levels");
    assert!(reference.text(&[0.0; 10], 1, 1).is_err());
    assert!(reference.unet(&[0.0; 256], [1, 4, 8, 8], 500.0, &[0.0; 77], 77).is_err());
    assert!(reference.decode(&[0.0; 255], [1, 4, 8, 8]).is_err());
}
