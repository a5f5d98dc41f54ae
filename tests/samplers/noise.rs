//! Brownian motion against torchsde, and the tools' conventions of noise.

use wordbrush::samplers::{
    BrownianTree, Draw, Generator, Options, PhiloxRng, Sampler, Schedule, Seeds, Sigmas, Tool, TorchRng, Variation,
    torch_randn,
};

use super::{numbers, tables, worst};

/// Both sides add the same f32 numbers in the same order; the normals differ by at most 4.8e-7, and the path's numbers are
/// up to four times as large before they are brought to unit variance over short steps.
#[test]
fn brownian_motion_is_torchsdes() {
    let mut largest: f64 = 0.0;
    for case in tables()["brownian"].as_array().expect("cases") {
        let seed = case["seed"].as_str().expect("a seed").parse().expect("a number");
        let sigma = |value: &serde_json::Value| value.as_f64().expect("a number") as f32;
        let mut tree = BrownianTree::new(seed, sigma(&case["min"]), sigma(&case["max"]), 256, Generator::Cpu);
        for draw in case["draws"].as_array().expect("draws") {
            let noise = tree.noise(sigma(&draw["from"]), sigma(&draw["to"]));
            let off = worst(&noise[..4], &draw["first"]).max(worst(&noise[252..], &draw["last"]));
            let square = noise.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 256.0;
            let square_off = (square - draw["square"].as_f64().expect("a number")).abs();
            assert!(off.max(square_off) <= 2e-5, "seed {seed}, {draw}: off by {off:e}, {square_off:e}");
            largest = largest.max(off);
        }
    }
    println!("Brownian motion: off by {largest:e} at most");
}

/// The path does not depend on what was asked before.
#[test]
fn brownian_motion_remembers_nothing() {
    let sigmas = Schedule::Karras.sigmas(&Sigmas::sd15(), 12).expect("a schedule");
    let tree = || BrownianTree::new(9, sigmas[11], sigmas[0], 32, Generator::Nvidia);
    let mut forwards = tree();
    for pair in sigmas[..12].windows(2) {
        assert_eq!(forwards.noise(pair[0], pair[1]), tree().noise(pair[0], pair[1]));
    }
    assert_eq!(forwards.noise(1.0, 1.0).len(), 32);
}

/// Whole runs with the noise of a seed, in f32 there: one tree for a batch of two (ComfyUI), or one for each (A1111).
///
/// The tree tells times 1e-6 apart, and noise over a time off by 1e-6 is off by 1e-3: these levels are torch's to the last bit.
/// k-diffusion's DPM++ SDE asks at times that went through f32 logarithms and back, which torch rounds otherwise than we do
/// on some processors; ComfyUI asks at the levels themselves, as we do.
#[test]
fn sde_runs_are_k_diffusions() {
    let sigmas = Schedule::Karras.sigmas(&Sigmas::sd15(), 10).expect("a schedule");
    for run in tables()["brownian_runs"].as_array().expect("runs") {
        let sampler = Sampler::from_name(run["sampler"].as_str().expect("a name")).expect("a sampler");
        let tool = if run["batched"] == true { Tool::A1111 } else { Tool::ComfyUi };
        let seeds = Seeds { tool, seed: 7, size: [8, 8], batch: 2, ..Seeds::default() };
        let mut source = seeds.for_steps(sampler, (sigmas[9], sigmas[0]));
        let start = (0..512).map(|i| (-1.0 + 2.0 * f64::from(i) / 511.0) * f64::from(sigmas[0])).collect();
        let toy = |x: &[f64], s: f64| {
            x.iter().map(|x| 0.8 * (x / (1.0 + s)).tanh() + 0.1 * x / (1.0 + s * s) + 0.05).collect::<Vec<f64>>()
        };
        let noise = |draw| source.draw(draw).into_iter().map(f64::from).collect();
        let program = sampler.program(&sigmas, &Options::default());
        let last: Vec<f32> = program.run(start, toy, noise, |_, _, _| true).iter().map(|x| *x as f32).collect();
        let off = worst(&last[..4], &run["first"]).max(worst(&last[508..], &run["last"]));
        println!("{}, {tool:?}: off by {off:e}", sampler.name());
        assert!(off <= 2e-6, "{}, {tool:?}: off by {off:e}", sampler.name());
    }
}

/// A1111's variation: f32 there, f64 in the table.
#[test]
fn variations_turn_the_noise() {
    let seeds = |strength| Seeds {
        tool: Tool::A1111,
        seed: 1,
        size: [8, 8],
        variation: Some(Variation { seed: 2, strength }),
        ..Seeds::default()
    };
    let off = worst(&seeds(0.3).initial(), &tables()["turned"]);
    assert!(off < 5e-6, "off by {off:e}");
    assert_eq!(seeds(0.0).initial(), torch_randn(1, 256));
    let whole = seeds(1.0).initial();
    assert!(whole.iter().zip(torch_randn(2, 256)).all(|(a, b)| (a - b).abs() < 1e-5), "strength 1 is the other noise");
    let same = Seeds { variation: Some(Variation { seed: 1, strength: 0.3 }), ..seeds(0.0) };
    assert!(same.initial().iter().zip(torch_randn(1, 256)).all(|(a, b)| (a - b).abs() < 1e-6), "the same seed twice");
}

/// ComfyUI draws for the whole batch at once, A1111 for each picture from the next seed.
#[test]
fn batches_follow_the_tools() {
    let n = 256;
    let comfy = Seeds { seed: 5, size: [8, 8], batch: 2, ..Seeds::default() };
    assert_eq!(comfy.initial(), torch_randn(5, 2 * n));
    let both = |a: Vec<f32>, b: Vec<f32>| [a, b].concat();
    for (generator, first) in [(Generator::Cpu, torch_randn as fn(u64, usize) -> Vec<f32>), (Generator::Nvidia, philox)]
    {
        let a1111 = Seeds { tool: Tool::A1111, generator, ..comfy };
        assert_eq!(a1111.initial(), both(first(5, n), first(6, n)));
        let varied = Seeds { variation: Some(Variation { seed: 50, strength: 1.0 }), ..a1111 };
        let expected = both(first(50, n), first(51, n));
        assert!(varied.initial().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    // ComfyUI's first noise comes from the CPU wherever the network runs.
    assert_eq!(Seeds { generator: Generator::Nvidia, ..comfy }.initial(), comfy.initial());
}

fn philox(seed: u64, n: usize) -> Vec<f32> {
    PhiloxRng::new(seed).randn(n)
}

fn draw(index: usize) -> Draw {
    Draw { index, from: 2.0, to: 1.0 }
}

/// The noise of the steps: which generator, in which state (product.md, B5).
#[test]
fn step_noise_follows_the_tools() {
    let (n, sampler) = (256, Sampler::EulerAncestral);
    let comfy = Seeds { seed: 5, size: [8, 8], ..Seeds::default() };
    let steps = |seeds: Seeds, draws: &[usize]| -> Vec<Vec<f32>> {
        let mut source = seeds.for_steps(sampler, (0.03, 14.6));
        draws.iter().map(|index| source.draw(draw(*index))).collect()
    };
    // ComfyUI: a new generator, with the next seed on a CPU.
    let mut next = TorchRng::new(6);
    assert_eq!(steps(comfy, &[0, 1]), [next.randn(n), next.randn(n)]);
    let mut same = PhiloxRng::new(5);
    let gpu = Seeds { generator: Generator::Nvidia, ..comfy };
    assert_eq!(steps(gpu, &[0, 1]), [same.randn(n), same.randn(n)]);
    // A1111: the generator of the first noise goes on, unless ENSD gives it a new seed.
    let a1111 = Seeds { tool: Tool::A1111, ..comfy };
    let mut on = TorchRng::new(5);
    on.randn(n);
    assert_eq!(steps(a1111, &[0, 1]), [on.randn(n), on.randn(n)]);
    let mut other = TorchRng::new(5 + 31337);
    assert_eq!(steps(Seeds { seed_delta: 31337, ..a1111 }, &[0]), [other.randn(n)]);
    // Draws left out are made and thrown away.
    let all = steps(a1111, &[0, 1, 2, 3]);
    assert_eq!(steps(a1111, &[1, 3]), [all[1].clone(), all[3].clone()]);
}

/// ComfyUI's "_gpu" samplers make their path where the network runs, the others on the CPU; A1111 where "RNG" says.
#[test]
fn brownian_motion_follows_the_tools() {
    let seeds = |tool, generator| Seeds { tool, generator, seed: 5, size: [8, 8], ..Seeds::default() };
    let first = |seeds: Seeds, sampler: Sampler| seeds.for_steps(sampler, (0.03, 14.6)).draw(draw(0));
    let path = |generator| BrownianTree::new(5, 0.03, 14.6, 256, generator).noise(2.0, 1.0);
    let (cpu, gpu) = (path(Generator::Cpu), path(Generator::Nvidia));
    assert_ne!(cpu, gpu);
    assert_eq!(first(seeds(Tool::ComfyUi, Generator::Nvidia), Sampler::Dpmpp2mSde), cpu);
    assert_eq!(first(seeds(Tool::ComfyUi, Generator::Nvidia), Sampler::Dpmpp2mSdeGpu), gpu);
    assert_eq!(first(seeds(Tool::A1111, Generator::Nvidia), Sampler::Dpmpp2mSde), gpu);
    assert_eq!(first(seeds(Tool::A1111, Generator::Cpu), Sampler::DpmppSde), cpu);
    let mean = numbers(&serde_json::json!(cpu)).iter().map(|x| x * x).sum::<f64>() / 256.0;
    assert!((0.7..1.3).contains(&mean), "unit variance: {mean}");
}
