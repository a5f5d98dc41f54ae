//! Noise, schedules and samplers against PyTorch, ComfyUI and k-diffusion (`golden/prompt/compat_vectors.json`), and
//! step by step against k-diffusion, diffusers and torchsde (`golden/samplers/`).

#[path = "samplers/levels.rs"]
mod levels;
#[path = "samplers/noise.rs"]
mod noise;
#[path = "samplers/programs.rs"]
mod programs;

use serde_json::Value;
use wordbrush::error::Code;
use wordbrush::samplers::{
    Generator, MAX_STEPS, Op, Options, PhiloxRng, Program, Sampler, Schedule, Seeds, Sigmas, TorchRng, torch_randn,
};

/// Values of one 64×64 latent: 4 channels.
const LATENT: usize = 4 * 64 * 64;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/prompt/compat_vectors.json")).expect("the golden file is JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap_or_else(|| panic!("{value} is no list"));
    list.iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// The tables of `golden/samplers/make_samplers.py`.
fn tables() -> Value {
    serde_json::from_str(include_str!("golden/samplers/samplers.json")).expect("the golden file is JSON")
}

/// f32 numbers, exact in the file.
fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|number| number as f32).collect()
}

/// The largest difference between what we got and what is expected.
fn worst(ours: &[f32], expected: &Value) -> f64 {
    let expected = numbers(expected);
    assert_eq!(ours.len(), expected.len());
    ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

#[test]
fn noise_is_torchs() {
    let mut largest: f64 = 0.0;
    let golden = golden();
    for (seed, vectors) in golden["randn"].as_object().expect("seeds") {
        let seed: u64 = seed.parse().expect("a seed");
        let latent = torch_randn(seed, LATENT);
        let two = torch_randn(seed, 2 * LATENT);
        let mut generator = TorchRng::new(seed);
        generator.randn(LATENT);
        let second = generator.randn(LATENT);
        let cases = [
            ("n4", torch_randn(seed, 4)),
            ("n16", torch_randn(seed, 16)),
            ("n17", torch_randn(seed, 17)),
            ("latent64_first8", latent[..8].to_vec()),
            ("latent64_last8", latent[LATENT - 8..].to_vec()),
            ("second_draw_first8", second[..8].to_vec()),
            ("batch2_second_image_first8", two[LATENT..LATENT + 8].to_vec()),
            ("latent_h96_w64_first4", torch_randn(seed, 4 * 96 * 64)[..4].to_vec()),
        ];
        for (name, ours) in cases {
            let difference = worst(&ours, &vectors[name]);
            assert!(difference <= 5e-7, "seed {seed}, {name}: off by {difference:e}");
            largest = largest.max(difference);
        }
        let mean = latent.iter().map(|v| f64::from(*v)).sum::<f64>() / LATENT as f64;
        let square: f64 = latent.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        let std = (square / (LATENT - 1) as f64).sqrt();
        assert!((mean - vectors["latent64_mean"].as_f64().expect("a number")).abs() < 1e-6, "seed {seed}: mean {mean}");
        assert!((std - vectors["latent64_std"].as_f64().expect("a number")).abs() < 1e-6, "seed {seed}: std {std}");
    }
    println!("largest difference from torch: {largest:e}");
}

/// `torch.manual_seed(0); torch.randn(3); torch.randn(2)`: the second normal of a pair waits for the next call.
#[test]
fn small_draws_go_on_where_they_stopped() {
    let whole = torch_randn(0, 5);
    let mut generator = TorchRng::new(0);
    let mut parts = generator.randn(3);
    parts.extend(generator.randn(2));
    assert_eq!(whole, parts);
    assert!(torch_randn(0, 0).is_empty());
}

#[test]
fn sigmas_are_sd15s() {
    let (golden, sigmas) = (golden(), Sigmas::sd15());
    for (index, sigma) in golden["sigmas_table_idx"].as_object().expect("a table") {
        let ours = sigmas.table()[index.parse::<usize>().expect("an index")];
        assert_eq!(Some(ours), sigma.as_f64().map(|sigma| sigma as f32), "time step {index}");
    }
    assert_eq!(Some(sigmas.min()), golden["sigma_min"].as_f64().map(|sigma| sigma as f32));
    assert_eq!(Some(sigmas.max()), golden["sigma_max"].as_f64().map(|sigma| sigma as f32));
}

#[test]
fn schedules_are_comfyuis() {
    let (golden, sigmas) = (golden(), Sigmas::sd15());
    for (steps, lists) in golden["schedules"].as_object().expect("schedules") {
        for (name, list) in lists.as_object().expect("lists") {
            let schedule = Schedule::from_name(name).expect("a schedule");
            let ours = schedule.sigmas(&sigmas, steps.parse().expect("steps")).expect("a schedule");
            let expected = numbers(list);
            assert_eq!(ours.len(), expected.len());
            let largest =
                ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs() / b.max(1e-9)).fold(0.0, f64::max);
            println!("{} at {steps} steps: off by {largest:e} at most, relatively", schedule.name());
            for (a, b) in ours.iter().zip(&expected) {
                assert!(
                    (f64::from(*a) - b).abs() <= 1e-6 * b,
                    "{} at {steps} steps: {a} instead of {b}",
                    schedule.name()
                );
            }
        }
    }
}

#[test]
fn the_nearest_time_step_is_told() {
    let (golden, sigmas) = (golden(), Sigmas::sd15());
    let karras = numbers(&golden["schedules"]["10"]["karras"]);
    let steps: Vec<f64> = karras[..10].iter().map(|sigma| sigmas.timestep(*sigma as f32) as f64).collect();
    assert_eq!(steps, numbers(&golden["timesteps_karras10"]["comfy_nearest"]));
    let fractions: Vec<f32> = karras[..10].iter().map(|sigma| sigmas.fractional_timestep(*sigma as f32)).collect();
    // f32 times near 1000 are 6e-5 apart, and the file rounds to four places.
    assert!(worst(&fractions, &golden["timesteps_karras10"]["kdiffusion_fractional"]) < 3e-4, "{fractions:?}");
    assert_eq!((sigmas.timestep(0.0), sigmas.timestep(1e9)), (0, 999));
    for (t, sigma) in sigmas.table().iter().enumerate() {
        assert_eq!(sigmas.timestep(*sigma), t);
    }
}

/// The toys of the golden file: noise of seed 42 under the denoiser x·0.5/(1 + 0.1σ), along karras-10; the noise of the
/// ancestral ones as ComfyUI makes it on a CPU and on an NVIDIA GPU.
#[test]
fn programs_are_comfyuis() {
    let (golden, table) = (golden(), Sigmas::sd15());
    let sigmas = floats(&golden["schedules"]["10"]["karras"]);
    let scale = table.initial_scale(sigmas[0]);
    // The file's toy latents are 8×8: a generator's second draw depends on the size of the first.
    let x: Vec<f64> = torch_randn(42, 256).iter().map(|noise| f64::from(noise * scale)).collect();
    let seeds = |generator| Seeds { generator, seed: 42, size: [8, 8], ..Seeds::default() };
    let cases = [
        ("euler_first4", Sampler::Euler, Generator::Cpu),
        ("dpmpp_2m_first4", Sampler::Dpmpp2m, Generator::Cpu),
        ("euler_a_cpu_noise_seed42plus1_first4", Sampler::EulerAncestral, Generator::Cpu),
        ("euler_a_cuda_philox_seed42_offset0_first4", Sampler::EulerAncestral, Generator::Nvidia),
    ];
    for (name, sampler, generator) in cases {
        let mut noise = seeds(generator).for_steps(sampler, (sigmas[9], sigmas[0]));
        let program = sampler.program(&sigmas, &Options::default());
        let denoise = |x: &[f64], sigma: f64| x.iter().map(|x| x * 0.5 / (1.0 + 0.1 * sigma)).collect();
        let draw = |draw| noise.draw(draw).into_iter().map(f64::from).collect();
        let last = program.run(x.clone(), denoise, draw, |_, _, _| true);
        let first: Vec<f32> = last[..4].iter().map(|x| *x as f32).collect();
        let difference = worst(&first, &golden["toy"][name]);
        println!("{name}: off by {difference:e}");
        assert!(difference < 1e-6, "{name}: off by {difference:e}");
    }
}

#[test]
fn the_last_step_is_the_denoised_picture() {
    let sigmas = Schedule::Normal.sigmas(&Sigmas::sd15(), 7).expect("a schedule");
    let program = Sampler::Euler.program(&sigmas, &Options::default());
    let Some(Op::Mix(rows)) = program.steps[6].ops.last() else { panic!("{:?}", program.steps[6]) };
    let matrix = Program::matrix(rows, &program.registers());
    assert!(matrix[0].abs() < 1e-12 && (matrix[1] - 1.0).abs() < 1e-12, "{matrix:?}");
}

#[test]
fn noise_is_scaled_as_in_comfyui() {
    let sigmas = Sigmas::sd15();
    let first = Schedule::Normal.sigmas(&sigmas, 20).expect("a schedule")[0];
    assert!(first < sigmas.max(), "the case the tolerance is for");
    assert!((sigmas.initial_scale(first) - (1.0 + first * first).sqrt()).abs() < 1e-5);
    assert!((sigmas.initial_scale(20.0) - 401f32.sqrt()).abs() < 1e-5);
    assert_eq!(sigmas.initial_scale(7.0), 7.0);
}

#[test]
fn bad_options_are_named() {
    let sigmas = Sigmas::sd15();
    for steps in [0, MAX_STEPS + 1, usize::MAX] {
        let error = Schedule::Normal.sigmas(&sigmas, steps).expect_err("no such number of steps");
        assert_eq!(error.code, Code::BadOption);
        assert!(error.message.contains(&steps.to_string()), "{error}");
    }
    let longest = Schedule::Normal.sigmas(&sigmas, MAX_STEPS).expect("the longest schedule");
    assert!(longest.windows(2).all(|pair| pair[0] > pair[1]));

    let error = Sampler::from_name("karras").expect_err("no sampler");
    assert_eq!((error.code, error.message.contains("euler")), (Code::BadOption, true));
    let error = Schedule::from_name("").expect_err("no schedule");
    assert_eq!((error.code, error.message.contains("normal")), (Code::BadOption, true));
    assert_eq!(Sampler::from_name("euler"), Ok(Sampler::Euler));
    assert_eq!(Schedule::from_name("normal"), Ok(Schedule::Normal));
}

#[test]
fn philox_is_nvidias() {
    let golden = golden();
    for (seed, calls) in golden["philox_NV"].as_object().expect("seeds") {
        let mut generator = PhiloxRng::new(seed.parse().expect("a seed"));
        for (call, n) in [("call0_n12", 12), ("call1_n4", 4)] {
            let difference = worst(&generator.randn(n), &calls[call]);
            println!("seed {seed}, {call}: off by {difference:e}");
            assert!(difference <= 5e-7, "seed {seed}, {call}: off by {difference:e}");
        }
    }
}
