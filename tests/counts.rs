//! What a picture of full-size Stable Diffusion 1.5 asks of the device: exact, because it is only counted. The limits are
//! those of the issue "Kernels at the limit of what a browser's GPU can do"; `cargo xtask bench --count` prints more.

#[path = "support/full_size.rs"]
mod full_size;

use full_size::picture;
use wordbrush::gpu::{Stats, Storage, Traffic};

const MIB: u64 = 1 << 20;

#[test]
fn a_picture_of_512_pixels_keeps_the_limits() {
    let run = picture(512, Storage::F16);
    for plan in run.plans.iter().filter(|plan| plan.label != "pack weights") {
        println!("{}: {:?}", plan.label, plan.stats);
    }
    println!("{:?}, {} bytes loaded, {} at most", run.step, run.loaded, run.peak);

    let Stats { dispatches, flops, arena, .. } = run.plan("unet step").stats;
    // At most 300, and 1520 GFLOP: the work model's 1600.53, without 5/9 of the convolutions that follow a doubling and
    // without what two prompts share before they are looked at.
    assert_eq!((dispatches, flops), (291, 1_483_331_993_600));
    assert!(arena <= 64 * MIB, "the step's arena is {arena} bytes");
    let Traffic { uploaded, read_back, buffers, bind_groups, .. } = run.step;
    assert!(uploaded <= 2048, "{uploaded} bytes written a step");
    assert_eq!((read_back, buffers, bind_groups), (0, 0, 0), "between steps");

    let Stats { dispatches, flops, arena, .. } = run.plan("vae decode").stats;
    assert_eq!((dispatches, flops), (84, 2_128_575_856_640));
    assert!(arena <= 320 * MIB, "the decoder's arena is {arena} bytes");

    let Stats { dispatches, flops, .. } = run.plan("clip").stats;
    assert_eq!((dispatches, flops), (62, 26_597_007_360));

    for plan in &run.plans {
        for dispatch in &plan.dispatches {
            assert!(dispatch.largest <= 128 * MIB, "{}: {dispatch:?}", plan.label);
        }
    }
}
