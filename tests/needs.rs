//! What a header says of the memory a model takes, against what it takes.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use checkpoints::{arrays, file, load};
use support::gpu;
use wordbrush::files::Checkpoint;
use wordbrush::gpu::Storage;
use wordbrush::models::Vae;
use wordbrush::pipeline::{Needs, Params, needs};
use wordbrush::weights::{SLICE_BYTES, Weights};

fn needs_of(name: &str, size: [usize; 3]) -> Needs {
    let checkpoint = pollster::block_on(Checkpoint::open(file(&arrays(name)))).expect("a checkpoint");
    needs(&checkpoint, size, 2)
}

fn near(what: &str, told: u64, taken: u64, [least, most]: [f64; 2]) {
    let ratio = told as f64 / taken as f64;
    println!("{what}: told {told}, taken {taken}, ratio {ratio:.3}");
    assert!((least..=most).contains(&ratio), "{what}: told {told}, taken {taken}, ratio {ratio:.3}");
}

#[test]
fn the_weights_take_what_the_header_says() {
    for name in ["two_levels", "three_levels", "four_levels"] {
        let sd = load(file(&arrays(name)), Storage::Packed);
        let told = needs_of(name, [64, 64, 1]);
        // The slice that they came in through is given back.
        let taken = sd.gpu().expect("a GPU").allocated() + SLICE_BYTES as u64;
        near(name, told.weights, taken, [0.98, 1.02]);
        assert_eq!(told.file, sd.loaded().1, "{name}");
        assert_eq!(told.text_width, sd.text_width(), "{name}");
    }
}

#[test]
fn a_step_takes_about_what_the_header_says() {
    for name in ["two_levels", "three_levels", "four_levels"] {
        let sd = load(file(&arrays(name)), Storage::Packed);
        for size in [[64, 64, 1], [128, 64, 1], [128, 128, 2]] {
            let [width, height, batch] = size;
            let params = Params { prompt: "a cat".into(), width, height, batch, ..Params::default() };
            let picture = pollster::block_on(sd.start(&params)).expect("a picture");
            let taken = picture.step_stats().expect("stats").arena;
            near(&format!("{name} {size:?}"), needs_of(name, size).step, taken, [0.7, 1.4]);
        }
    }
}

#[test]
fn decoding_takes_about_what_the_header_says() {
    for name in ["two_levels", "three_levels", "four_levels"] {
        let gpu = gpu(Storage::Packed);
        let checkpoint = pollster::block_on(Checkpoint::open(file(&arrays(name)))).expect("a checkpoint");
        let vae = Vae::load(&Weights::new(&gpu, checkpoint).at("vae")).expect("a VAE");
        for size in [[64, 64, 1], [256, 128, 1]] {
            let latents = gpu.empty("latents", &[1, size[1] / 8, size[0] / 8, 4], Storage::Packed);
            let taken = gpu.record("decode", || vae.decode(&latents).keep()).0.stats().arena;
            near(&format!("{name} {size:?}"), needs_of(name, size).decode, taken, [0.7, 1.4]);
        }
    }
}
