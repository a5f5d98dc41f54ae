//! What a picture of full-size Stable Diffusion 1.5 asks of the device: exact, because it is only counted. The limits are
//! those of the issue "Kernels at the limit of what a browser's GPU can do"; `cargo xtask bench --count` prints more.

#[path = "support/full_size.rs"]
mod full_size;

use full_size::{Run, picture};
use wordbrush::gpu::Storage;

const MIB: u64 = 1 << 20;

fn print(run: &Run) {
    for plan in &run.plans {
        println!("{}: {:?}", plan.label, plan.stats);
    }
    println!("{:?}, loaded {}, peak {}", run.step, run.loaded, run.peak);
}

#[test]
fn a_picture_of_512_pixels_keeps_the_limits() {
    let run = picture(512, Storage::F16);
    print(&run);
    let step = run.plan("unet step");
    assert!(step.stats.dispatches <= 300, "{} dispatches a step", step.stats.dispatches);
    assert!(step.stats.flops <= 1_520_000_000_000, "{} operations a step", step.stats.flops);
    assert!(step.stats.arena <= 64 * MIB, "the step's arena is {} bytes", step.stats.arena);
    assert!(run.step.uploaded <= 2048, "{} bytes written a step", run.step.uploaded);
    assert_eq!((run.step.read_back, run.step.buffers, run.step.bind_groups), (0, 0, 0), "of a step");
    let decode = run.plan("vae decode");
    assert!(decode.stats.arena <= 320 * MIB, "the decoder's arena is {} bytes", decode.stats.arena);
    assert!(run.peak <= 2_300_000_000, "{} bytes on the device", run.peak);
    let largest = run.plans.iter().flat_map(|plan| &plan.dispatches).map(|dispatch| dispatch.largest).max();
    assert!(largest <= Some(128 * MIB), "a binding of {largest:?} bytes");
}
