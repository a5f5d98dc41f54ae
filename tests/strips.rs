//! Decoding in strips: the same picture as the whole, in less memory.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use checkpoints::{arrays, file, load};
use support::{Numbers, STORAGES, gpu, model, relative_error, tensor};
use wordbrush::files::Checkpoint;
use wordbrush::gpu::{Gpu, Stats, Storage, Tensor};
use wordbrush::models::{Room, Vae};
use wordbrush::pipeline::Params;
use wordbrush::weights::Weights;

fn vae(gpu: &Gpu, name: &str) -> Vae {
    pollster::block_on(async {
        let weights = Weights::new(gpu, Checkpoint::open(vec![model(name)]).await.expect("a checkpoint"));
        let vae = Vae::load(&weights.at("vae")).expect("vae");
        let mut filling = weights.fill();
        while filling.step().await.expect("filling") {}
        vae
    })
}

/// What `decode` makes in memory that was full of NaN, and what it took.
fn decoded(gpu: &Gpu, decode: impl Fn() -> Tensor) -> (Vec<f32>, Stats) {
    let (plan, picture) = gpu.record("decode", || decode().keep());
    plan.poison();
    plan.run();
    (pollster::block_on(picture.read()).unwrap_or_else(|e| panic!("{e}")), plan.stats())
}

#[test]
fn strips_give_the_picture_of_the_whole() {
    // Heights that the strips' rows do not divide; shortcuts and channels that change (four_levels); two layers a block.
    for (name, h, w) in [("four_levels", 9, 8), ("two_levels", 7, 12), ("two_levels", 9, 5)] {
        // Storages differ in what is tested elsewhere: one picture in each of them.
        for storage in STORAGES.into_iter().filter(|storage| h == 7 || *storage == Storage::F32) {
            let gpu = gpu(storage);
            let vae = vae(&gpu, name);
            let latents = Numbers::new(3).take(h * w * 4, storage).iter().map(|x| x * 6.0).collect::<Vec<_>>();
            let latents: Vec<f32> = latents.into_iter().map(|x| support::round(x, storage)).collect();
            let x = tensor(&gpu, &[1, h, w, 4], storage, &latents);
            let (whole, _) = decoded(&gpu, || vae.decode(&x));
            let largest = vae.largest(w * 8, h * 8, storage.size());
            // Everything in place and made anew; one tensor beside the other; nothing but bindings too small; buffers too.
            for (most, tensor, binding) in [
                (largest / 10, u64::MAX, u64::MAX),
                (largest * 5 / 2, u64::MAX, u64::MAX),
                (u64::MAX, u64::MAX, largest / 3),
                (u64::MAX, largest / 2, largest / 3),
            ] {
                let room = Room { most, tensor, binding };
                let (found, stats) = decoded(&gpu, || vae.decode_in(&x, &room));
                let error = relative_error(&found, &whole);
                println!("{name} {h}×{w} {storage:?} {room:?}: {error:.1e}, {} dispatches", stats.dispatches);
                // 1e-5 is 100 dB; halves round differently where a norm's sums differ in the last digit.
                let allowed = if storage == Storage::F32 { 1e-5 } else { 2e-3 };
                assert!(error <= allowed, "{name} {h}×{w} {storage:?} {room:?}: {error:.2e}");
            }
        }
    }
}

#[test]
fn strips_take_less_memory_for_little_more_work() {
    let gpu = gpu(Storage::F16);
    for name in ["two_levels", "four_levels"] {
        let vae = vae(&gpu, name);
        let (h, w) = (48, 32);
        let x = tensor(&gpu, &[1, h, w, 4], Storage::F16, &vec![0.5; h * w * 4]);
        let stats = |room: Option<Room>| {
            let decode = || match room {
                None => vae.decode(&x),
                Some(room) => vae.decode_in(&x, &room),
            };
            gpu.record("decode", || decode().keep()).0.stats()
        };
        let largest = vae.largest(w * 8, h * 8, 2);
        let whole = stats(None);
        let little = stats(Some(Room { most: largest, tensor: u64::MAX, binding: largest }));
        let (memory, work) = (little.arena as f64 / whole.arena as f64, little.flops as f64 / whole.flops as f64);
        println!(
            "{name}: {:.1} MiB, {memory:.2} of the memory, {work:.3} of the work",
            little.arena as f64 / 1048576.0
        );
        assert!(memory < 0.7 && work < 1.6, "{name}: {memory:.2} of the memory, {work:.3} of the work");
    }
}

#[test]
fn a_picture_in_little_memory_is_the_same_picture() {
    let sd = load(file(&arrays("two_levels")), Storage::Packed);
    let picture = |vae_tiling, width| {
        let params =
            Params { prompt: "a cat".to_string(), steps: 1, width, height: 64, vae_tiling, ..Params::default() };
        pollster::block_on(async {
            let mut generation = sd.start(&params).await.unwrap_or_else(|e| panic!("{e}"));
            while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
            generation.image(&sd).await.unwrap_or_else(|e| panic!("{e}"))
        })
    };
    assert!(picture(true, 72) == picture(false, 72));
}
