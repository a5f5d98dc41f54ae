//! Profiles: every dispatch of a picture is timed, and the picture is none the other.

#[path = "support/demo.rs"]
mod published;

use std::collections::BTreeMap;

use published::demo;
use wordbrush::gpu::Timed;
use wordbrush::pipeline::{Image, Params, StableDiffusion};

const STEPS: usize = 3;

/// A small picture, and how often and how much each of its plans ran by the recorded plans' own counts.
fn picture(sd: &StableDiffusion) -> (Image, usize, u64) {
    let params =
        Params { prompt: "a red circle".to_string(), steps: STEPS, width: 64, height: 64, ..Params::default() };
    pollster::block_on(async {
        let mut generation = sd.start(&params).await.unwrap_or_else(|e| panic!("{e}"));
        let stats = generation.step_stats().expect("a plan");
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        (generation.image(sd).await.unwrap_or_else(|e| panic!("{e}")), stats.dispatches, stats.flops)
    })
}

fn profile(sd: &StableDiffusion) -> Vec<Timed> {
    pollster::block_on(sd.gpu().expect("a GPU").profile()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_dispatch_of_a_picture_is_timed_and_the_picture_is_the_same() {
    let sd = demo();
    let gpu = sd.gpu().expect("a GPU");
    let (plain, ..) = picture(&sd);
    let (before, submitted) = (gpu.allocated(), gpu.traffic().dispatches);
    picture(&sd);
    let submitted = gpu.traffic().dispatches - submitted;

    gpu.set_profiling(true).unwrap_or_else(|e| panic!("{e}"));
    let (timed, dispatches, flops) = picture(&sd);
    assert_eq!(timed.rgba, plain.rgba, "a profile changes the picture");
    let rows = profile(&sd);
    assert_eq!(rows.iter().map(|row| row.dispatches).sum::<usize>(), submitted, "dispatches of the whole picture");

    let mut plans: BTreeMap<&str, (usize, u64, f64)> = BTreeMap::new();
    for row in &rows {
        assert!(row.seconds >= 0.0 && row.bytes > 0 && !row.shape.is_empty(), "{row:?}");
        let sums = plans.entry(row.plan).or_default();
        *sums = (sums.0 + row.dispatches, sums.1 + row.flops, sums.2 + row.seconds);
    }
    println!("{plans:?}");
    // Where a dispatch was cut its parts add up to it.
    let (timed_dispatches, timed_flops, _) = plans["unet step"];
    assert!(timed_dispatches >= STEPS * dispatches);
    assert!(timed_flops.abs_diff(STEPS as u64 * flops) <= timed_dispatches as u64, "{timed_flops} of {flops} a step");
    // The prompt itself is encoded already.
    for plan in ["unet prompt", "unet step", "vae decode"] {
        assert!(plans[plan].2 > 0.0, "{plan} took no time: {plans:?}");
    }
    // A step is mostly its products, whatever computes it.
    let products =
        rows.iter().filter(|row| row.plan == "unet step" && row.flops > 0).map(|row| row.seconds).sum::<f64>();
    assert!(products > plans["unet step"].2 / 2.0, "{products} s of {plans:?}");

    assert!(profile(&sd).is_empty(), "what was told is told again");
    picture(&sd);
    gpu.set_profiling(false).unwrap_or_else(|e| panic!("{e}"));
    picture(&sd);
    assert!(profile(&sd).is_empty(), "nothing is timed any more, and what nobody asked for is forgotten");
    assert_eq!(gpu.allocated(), before, "timestamps stay on the GPU");
}
