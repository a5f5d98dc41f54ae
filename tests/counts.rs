//! What a picture of full-size Stable Diffusion 1.5 asks of the device: exact, because it is only counted. The limits are
//! those of the issue "Kernels at the limit of what a browser's GPU can do"; `cargo xtask bench --count` prints more.

#[path = "support/full_size.rs"]
mod full_size;

use full_size::{Run, counted, picture};
use wordbrush::gpu::{Pace, Stats, Storage, Traffic};
use wordbrush::pipeline::Params;

const MIB: u64 = 1 << 20;

#[test]
fn a_picture_of_512_pixels_keeps_the_limits() {
    let run = picture(512, Storage::F16);
    for plan in run.plans.iter().filter(|plan| plan.label != "pack weights") {
        println!("{}: {:?}", plan.label, plan.stats);
    }
    println!("{:?}, {} bytes loaded, {} at most", run.step, run.loaded, run.peak);

    let Stats { dispatches, flops, arena, .. } = run.plan("unet step").stats;
    // At most 300, and 1520 GFLOP: the work model's 1600.53, without 5/9 of the convolutions that follow a doubling, without
    // what two prompts share before they are looked at, and with one last convolution for both.
    // Three products of 8×8 latents are cut into slices, a dispatch more for each.
    assert_eq!((dispatches, flops), (293, 1_483_237_621_760));
    assert!(arena <= 64 * MIB, "the step's arena is {arena} bytes");
    let Traffic { uploaded, read_back, dispatches: sent, submits, passes, buffers, bind_groups } = run.step;
    assert!(uploaded <= 2048, "{uploaded} bytes written a step");
    assert_eq!((read_back, buffers, bind_groups), (0, 0, 0), "between steps");
    // A device that only counts never learns how fast it is.
    assert_eq!((submits, passes), (8, 8), "at unknown speed");
    let parts = |label, pace| run.plan(label).dispatches.iter().flat_map(move |dispatch| dispatch.cut(pace));
    assert_eq!(at(2).submits(parts("unet step", at(2))).len(), 4, "at 2 TFLOP/s");
    assert_eq!(at(6).submits(parts("unet step", at(6))).len(), 1, "at 6 TFLOP/s");

    let Stats { dispatches, flops, arena, .. } = run.plan("vae decode").stats;
    assert_eq!((dispatches, flops), (84, 2_128_575_856_640));
    assert!(arena <= 320 * MIB, "the decoder's arena is {arena} bytes");

    let Stats { dispatches, flops, .. } = run.plan("clip").stats;
    assert_eq!((dispatches, flops), (62, 26_597_007_360));

    assert!(run.peak <= 2_300_000_000, "{} bytes at most", run.peak);

    // At unknown speed none takes more than the slowest GPU does in a twentieth of a second; a fast one gets them whole.
    for label in ["unet step", "vae decode", "clip"] {
        assert!(parts(label, Pace::unknown(false)).all(|flops| flops <= 50 * GFLOP), "{label}");
        assert!(parts(label, at(4)).all(|flops| flops <= 200 * GFLOP), "{label}");
    }
    let count = |label, pace| parts(label, pace).count();
    println!("{} of a step, {} of a decoding", count("unet step", at(0)), count("vae decode", at(0)));
    assert_eq!(sent, count("unet step", Pace::unknown(false)));
    assert_eq!([count("unet step", at(6)), count("vae decode", at(7))], [293, 84]);

    bound_in_parts(&run);
}

/// No kernel binds more than every adapter lets it.
fn bound_in_parts(run: &Run) {
    for plan in &run.plans {
        for dispatch in &plan.dispatches {
            assert!(dispatch.largest <= 128 * MIB, "{}: {dispatch:?}", plan.label);
        }
    }
}

/// The work of each class of a step's dispatches: what the work model has (`benches/count.rs`), less what is computed once for
/// both prompts and less what four phases and one last convolution save.
#[test]
fn every_class_of_a_step_is_so_much_work() {
    let run = picture(512, Storage::F16);
    let mut classes = std::collections::BTreeMap::<&str, u64>::new();
    for dispatch in &run.plan("unet step").dispatches {
        *classes.entry(dispatch.class).or_default() += dispatch.flops;
    }
    classes.retain(|_, flops| *flops > 0);
    let expected = [
        ("conv 1×1", 86_402_662_400),
        ("conv 2×2 in four phases", 60_397_977_600),
        ("conv 3×3", 638_142_382_080),
        ("conv 3×3, stride 2", 11_324_620_800),
        ("cross-attention", 7_115_243_520),
        ("linear", 456_340_275_200),
        ("self-attention", 223_514_460_160),
    ];
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn larger_pictures_are_bound_in_parts_and_cut() {
    for size in [768, 1024] {
        let run = picture(size, Storage::F16);
        bound_in_parts(&run);
        let dispatches = run.plans.iter().flat_map(|plan| &plan.dispatches);
        for dispatch in dispatches {
            let largest = dispatch.cut(Pace::unknown(false)).into_iter().max().unwrap_or(0);
            assert!(largest <= 50 * GFLOP, "{size}: {largest} at once in {dispatch:?}");
        }
    }
}

/// Decoding in strips: at most 128 MiB for all but the weights and the picture.
#[test]
fn decoding_in_strips_takes_little_memory() {
    let prompt = "a photo of a cat".to_string();
    let params = Params { prompt, width: 512, height: 512, vae_tiling: true, ..Params::default() };
    let run = counted(&params, Storage::F16).unwrap_or_else(|e| panic!("{e}"));
    bound_in_parts(&run);
    let Stats { arena, .. } = run.plan("vae decode").stats;
    assert!(arena <= 128 * MIB, "the decoder's arena is {arena} bytes");
}

/// What is known of a GPU that did so many TFLOP in a second.
fn at(tera: u64) -> Pace {
    let mut pace = Pace::unknown(false);
    pace.learn(tera * 1_000_000_000_000, 1.0);
    pace
}

const GFLOP: u64 = 1_000_000_000;

#[test]
fn a_submit_takes_a_quarter_of_a_second_at_the_best_speed_seen() {
    assert_eq!(Pace::unknown(false).most(), 200 * GFLOP);
    assert_eq!(Pace::unknown(true).most(), 4 * GFLOP);
    assert_eq!(at(6).most(), 1500 * GFLOP);
    let mut pace = at(6);
    // A step that waited for its shaders, and one of hardly any work.
    pace.learn(1500 * GFLOP, 10.0);
    pace.learn(1000, 0.2);
    assert_eq!(pace.most(), 1500 * GFLOP);
    // Nothing that was seen takes the caution below what a device of unknown speed is trusted with.
    assert_eq!(at(0).most(), 200 * GFLOP);
    // Clocks that are rounded show no time at all for what takes less than a tenth of a second.
    let mut pace = Pace::unknown(true);
    pace.learn(2 * GFLOP, 0.0);
    assert_eq!(pace.most(), 5 * GFLOP);
}

/// How many dispatches each submit has: they follow each other.
fn cut(pace: Pace, gflop: &[u64]) -> Vec<usize> {
    let submits = pace.submits(gflop.iter().map(|gflop| gflop * GFLOP));
    assert_eq!((submits[0].start, submits[submits.len() - 1].end), (0, gflop.len()));
    assert!(submits.windows(2).all(|pair| pair[0].end == pair[1].start), "{submits:?}");
    submits.iter().map(ExactSizeIterator::len).collect()
}

#[test]
fn work_is_cut_in_order_and_only_where_it_is_too_much() {
    let unknown = Pace::unknown(false);
    assert_eq!(cut(unknown, &[100, 100]), [2]);
    assert_eq!(cut(unknown, &[100, 100, 1]), [2, 1]);
    assert_eq!(cut(unknown, &[100, 0, 150, 0, 0, 50, 1]), [2, 4, 1]);
    // What is too much goes alone.
    assert_eq!(cut(unknown, &[0, 500, 500, 0, 10]), [2, 1, 2]);
    assert_eq!(cut(unknown, &[]), [0]);
    assert_eq!(cut(at(1), &[100, 100, 50, 100]), [3, 1]);
    assert_eq!(cut(Pace::unknown(true), &[3, 3, 1, 1]), [1, 2, 1]);
}
