//! Samplers on networks: a picture's registers on the GPU and on the CPU are those of the sampler's program, run in f64
//! around candle's UNet. (That the programs are those of k-diffusion and diffusers is for `samplers.rs`.)

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use checkpoints::{arrays, file, load};
use support::relative_error;
use wordbrush::files::Checkpoint;
use wordbrush::gpu::Storage;
use wordbrush::pipeline::{Image, Params, StableDiffusion};
use wordbrush::prompt::Syntax;
use wordbrush::recipe::Recipe;
use wordbrush::reference::Reference;
use wordbrush::samplers::{Generator, Levels, Options, Request, Sampler, Schedule, Seeds, Sigmas, Tool, Variation};

/// candle's feed-forward has the tanh form of GELU, and every evaluation carries the difference on (`on_cpu.rs`); noise in
/// the wrong order or place is off by 1.
const OTHER_GELU: f64 = 1e-3;

fn small(sampler: Sampler) -> Params {
    let schedule = Some(Schedule::Karras);
    Params { prompt: "a cat".into(), steps: 3, width: 64, height: 72, cfg: 3.0, sampler, schedule, ..Params::default() }
}

/// Latents in the middle (denoised) and at the end, and what the UNet saw.
struct Found {
    denoised: Vec<f32>,
    latents: Vec<f32>,
    context: Vec<f32>,
}

fn generate(sd: &StableDiffusion, params: &Params) -> Found {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        Found {
            denoised: generation.denoised().await.expect("latents"),
            latents: generation.latents().await.expect("latents"),
            context: generation.context().await.expect("a context"),
        }
    })
}

/// The same by `Program::run`: the last denoised latents and the last ones.
fn by_program(reference: &Reference, params: &Params, context: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (trained, tool, size) = (Sigmas::sd15(), params.tool, [params.height / 8, params.width / 8]);
    let request = Request {
        tool,
        sampler: params.sampler,
        schedule: params.schedule,
        steps: params.steps,
        denoise: 1.0,
        picture: false,
        exact_steps: false,
    };
    let levels = Levels::new(&request, &trained).expect("levels");
    let program = params.sampler.program(&levels.sigmas, &params.sampling);
    let (generator, seed, variation) = (params.generator, params.seed, params.variation);
    let (batch, seed_delta) = (params.batch, params.seed_delta);
    let seeds = Seeds { tool, generator, seed, size, batch, variation, seed_delta };
    let first = seeds.initial().iter().map(|noise| f64::from(noise * levels.noise_scale)).collect();
    let mut noise = seeds.for_steps(params.sampler, levels.brownian);
    let (negative, positive) = context.split_at(context.len() / 2);
    let one = |x: &[f64], sigma: f64| -> Vec<f64> {
        let scaled: Vec<f32> = x.iter().map(|x| (x / (sigma * sigma + 1.0).sqrt()) as f32).collect();
        let time = f64::from(trained.time(sigma as f32, tool));
        let eps = |rows: &[f32]| {
            reference.unet(&scaled, [1, 4, size[0], size[1]], time, rows, 77).unwrap_or_else(|e| panic!("{e}"))
        };
        let denoised = |x: &[f64], eps: Vec<f32>| -> Vec<f64> {
            x.iter().zip(eps).map(|(x, eps)| x - sigma * f64::from(eps)).collect()
        };
        let cond = denoised(x, eps(positive));
        let counts = trained.at_share(params.guidance_end) <= sigma as f32
            && sigma as f32 <= trained.at_share(params.guidance_start);
        if counts { guide(x, sigma, &cond, &denoised(x, eps(negative)), params) } else { cond }
    };
    let network = |x: &[f64], sigma| x.chunks(x.len() / batch).flat_map(|x| one(x, sigma)).collect();
    let draw = |draw| noise.draw(draw).into_iter().map(f64::from).collect();
    let mut denoised = Vec::new();
    let last = program.run(first, network, draw, |_, _, d| {
        denoised = d.iter().map(|d| *d as f32).collect();
        true
    });
    (denoised, last.iter().map(|x| *x as f32 * levels.final_scale).collect())
}

/// Guidance, and what ComfyUI's node RescaleCFG makes of it: in velocities, at a multiplier of 0 the guidance alone.
fn guide(x: &[f64], sigma: f64, cond: &[f64], uncond: &[f64], params: &Params) -> Vec<f64> {
    let (cfg, multiplier, one) = (f64::from(params.cfg), f64::from(params.cfg_rescale), sigma * sigma + 1.0);
    let velocity = |denoised: &[f64]| -> Vec<f64> {
        x.iter().zip(denoised).map(|(x, denoised)| (x / one - denoised) * one.sqrt() / sigma).collect()
    };
    let (cond, uncond) = (velocity(cond), velocity(uncond));
    let guided: Vec<f64> = uncond.iter().zip(&cond).map(|(a, b)| a + cfg * (b - a)).collect();
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>().sqrt()
    };
    let ratio = deviation(&cond) / deviation(&guided);
    let last = |v: f64| multiplier * v * ratio + (1.0 - multiplier) * v;
    x.iter().zip(guided).map(|(x, v)| x / one - last(v) * sigma / one.sqrt()).collect()
}

struct Both {
    gpu: StableDiffusion,
    cpu: StableDiffusion,
    reference: Reference,
}

impl Both {
    fn new() -> Self {
        let checkpoint = arrays("two_levels");
        pollster::block_on(async {
            let mut cpu = StableDiffusion::open_on_cpu(file(&checkpoint)).await.unwrap_or_else(|e| panic!("{e}"));
            while cpu.load().await.unwrap_or_else(|e| panic!("{e}")) {}
            let opened = Checkpoint::open(file(&checkpoint)).await.unwrap_or_else(|e| panic!("{e}"));
            let reference = Reference::open(&opened).await.unwrap_or_else(|e| panic!("{e}"));
            Self { gpu: load(file(&checkpoint), Storage::F32), cpu, reference }
        })
    }

    fn agree(&self, case: &str, params: &Params) {
        let found = generate(&self.gpu, params);
        let (denoised, latents) = by_program(&self.reference, params, &found.context);
        let errors = [relative_error(&found.denoised, &denoised), relative_error(&found.latents, &latents)];
        let on_cpu = relative_error(&generate(&self.cpu, params).latents, &latents);
        println!("{case}: denoised {:.1e}, latents {:.1e}, on the CPU {on_cpu:.1e}", errors[0], errors[1]);
        assert!(errors[0].max(errors[1]).max(on_cpu) < OTHER_GELU, "{case}: {errors:?}, on the CPU {on_cpu:e}");
    }
}

#[test]
fn every_sampler() {
    let both = Both::new();
    for sampler in Sampler::ALL {
        both.agree(sampler.name(), &small(sampler));
    }
}

#[test]
fn every_schedule_and_a1111s_conventions() {
    let both = Both::new();
    for schedule in Schedule::ALL {
        both.agree(schedule.name(), &Params { schedule: Some(schedule), ..small(Sampler::Dpmpp2m) });
    }
    let a1111 = |sampler| Params { tool: Tool::A1111, syntax: Syntax::A1111, schedule: None, ..small(sampler) };
    for sampler in
        [Sampler::EulerAncestral, Sampler::Heun, Sampler::DpmppSde, Sampler::Ddim, Sampler::Plms, Sampler::UniPc]
    {
        both.agree(&format!("A1111's {}", sampler.a1111_name()), &a1111(sampler));
    }
    let varied = Params {
        generator: Generator::Nvidia,
        variation: Some(Variation { seed: 7, strength: 0.3 }),
        seed_delta: 31337,
        ..a1111(Sampler::EulerAncestral)
    };
    both.agree("a variation, NVIDIA's numbers, ENSD", &varied);
    let sampling = Options { eta: Some(0.5), s_noise: 1.1, churn: 5.0, ..Options::default() };
    // Noise that is drawn and counts for nothing has its place too.
    let silent = Options { s_noise: 0.0, ..Options::default() };
    for sampler in [Sampler::EulerAncestral, Sampler::Dpmpp3mSde, Sampler::Lcm] {
        both.agree(&format!("{} without its noise", sampler.name()), &Params { sampling: silent, ..small(sampler) });
    }
    for sampler in [Sampler::Euler, Sampler::EulerAncestral, Sampler::Ddim] {
        both.agree(&format!("{} with settings", sampler.name()), &Params { sampling, ..small(sampler) });
    }
}

#[test]
fn batches() {
    let both = Both::new();
    let batch = |params: Params| Params { batch: 3, ..params };
    let a1111 = |sampler| Params { tool: Tool::A1111, syntax: Syntax::A1111, schedule: None, ..small(sampler) };
    both.agree("three pictures", &batch(small(Sampler::Euler)));
    both.agree("three of ComfyUI's noise", &batch(small(Sampler::EulerAncestral)));
    both.agree("three on one Brownian path", &batch(small(Sampler::DpmppSde)));
    both.agree("three of A1111's", &batch(a1111(Sampler::DpmppSde)));
    let variation = Some(Variation { seed: 7, strength: 0.3 });
    both.agree("three variations", &batch(Params { variation, seed_delta: 31337, ..a1111(Sampler::EulerAncestral) }));
    let nvidia = Params { generator: Generator::Nvidia, ..small(Sampler::Dpmpp2mSdeGpu) };
    both.agree("three by NVIDIA's numbers", &batch(nvidia));
}

#[test]
fn pictures_of_a_batch_are_those_of_their_seeds() {
    let both = Both::new();
    let a1111 = Params { tool: Tool::A1111, syntax: Syntax::A1111, ..small(Sampler::EulerAncestral) };
    let variation = Some(Variation { seed: 7, strength: 0.3 });
    for (params, alone) in [
        (a1111.clone(), Params { seed: a1111.seed + 1, ..a1111.clone() }),
        (
            Params { variation, ..a1111.clone() },
            Params { variation: Some(Variation { seed: 8, strength: 0.3 }), ..a1111.clone() },
        ),
    ] {
        for sd in [&both.gpu, &both.cpu] {
            let (of_batch, alone) = (images(sd, &Params { batch: 2, ..params.clone() }), images(sd, &alone));
            assert!(of_batch[1].0 == alone[0].0, "the second picture is that of the next seed");
            assert!(of_batch[0].0 != of_batch[1].0);
            let (second, single) = (&of_batch[1].1, &alone[0].1);
            assert_eq!(second.batch.map(|batch| (batch.size, batch.place)), Some((2, Some(1))));
            assert_eq!(Recipe { batch: None, ..second.clone() }, *single, "and so is its recipe");
        }
    }
    // ComfyUI's first picture is the one it makes alone; its second is of no other seed.
    let together = images(&both.gpu, &Params { batch: 2, ..small(Sampler::Euler) });
    let alone = |seed| images(&both.gpu, &Params { seed, ..small(Sampler::Euler) })[0].0.clone();
    let seed = small(Sampler::Euler).seed;
    assert!(together[0].0 == alone(seed) && together[1].0 != alone(seed + 1));
    assert!(together.iter().all(|(_, recipe)| recipe.seed == Some(seed)));
}

#[test]
fn guidance_that_is_rescaled_or_rests() {
    let both = Both::new();
    let of = |sampler, multiplier, start, end| Params {
        cfg_rescale: multiplier,
        guidance_start: start,
        guidance_end: end,
        steps: 4,
        ..small(sampler)
    };
    both.agree("rescaled", &of(Sampler::Euler, 0.7, 0.0, 1.0));
    both.agree("rescaled, two pictures", &Params { batch: 2, ..of(Sampler::Dpmpp2m, 1.0, 0.0, 1.0) });
    both.agree("guided in the middle", &of(Sampler::Heun, 0.0, 0.2, 0.8));
    both.agree("both, two pictures", &Params { batch: 2, ..of(Sampler::EulerAncestral, 0.5, 0.3, 1.0) });
    // Where it counts nowhere, there is no negative prompt, as at a cfg of 1.
    let nowhere = generate(&both.gpu, &of(Sampler::Euler, 0.7, 0.5, 0.51));
    let none = generate(&both.gpu, &Params { cfg: 1.0, ..of(Sampler::Euler, 0.0, 0.0, 1.0) });
    assert!(nowhere.latents == none.latents && nowhere.context == none.context);
    // Several parts have no guidance at a cfg of 1, but their weights all the same.
    let parts = |params| Params { prompt: "a cat AND a dog :0.7".into(), syntax: Syntax::A1111, ..params };
    let rests = generate(&both.gpu, &parts(of(Sampler::Euler, 0.7, 0.2, 0.8)));
    let on_cpu = generate(&both.cpu, &parts(of(Sampler::Euler, 0.7, 0.2, 0.8)));
    let error = relative_error(&on_cpu.latents, &rests.latents);
    assert!(error < OTHER_GELU, "{error:e}");
}

#[test]
fn guidance_that_rests_takes_no_more_memory() {
    let peak = |params: &Params| {
        let sd = load(file(&arrays("two_levels")), Storage::F32);
        let arena = pollster::block_on(sd.start(params)).expect("a start").step_stats().expect("stats").arena;
        generate(&sd, params);
        (sd.gpu().expect("a GPU").peak(), arena)
    };
    let (always, arena) = peak(&small(Sampler::Euler));
    let (rests, same) = peak(&Params { guidance_start: 0.2, guidance_end: 0.8, ..small(Sampler::Euler) });
    println!("at most {always} bytes, with rests {rests}, of which the arena {arena}");
    // Software adapters hold the sizes of a plan's calls in a buffer.
    assert!(arena == same && rests < always + arena / 8, "{always}, {rests}, arena {arena}");
}

/// The pictures with their recipes.
fn images(sd: &StableDiffusion, params: &Params) -> Vec<(Image, Recipe)> {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        let images = generation.images(sd).await.expect("pictures");
        assert!(images[0] == generation.image(sd).await.expect("a picture"));
        assert!(generation.image_of(params.batch, sd).await.is_err());
        images.into_iter().enumerate().map(|(i, image)| (image, generation.recipe_of(i, sd))).collect()
    })
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let both = Both::new();
    let refused = |params: Params| {
        let error = pollster::block_on(both.gpu.start(&params)).err().expect("a refusal");
        assert_eq!(error.code, wordbrush::Code::BadOption, "{error}");
        error.message
    };
    let eta = Options { eta: Some(2.0), ..Options::default() };
    assert!(refused(Params { sampling: eta, ..small(Sampler::Euler) }).contains("eta"));
    let variation = Some(Variation { seed: 1, strength: f32::NAN });
    assert!(refused(Params { variation, ..small(Sampler::Euler) }).contains("variation"));
    let turbo = Params { schedule: Some(Schedule::Turbo), steps: 11, ..small(Sampler::Euler) };
    assert!(refused(turbo).contains("11"));
    for (start, end) in [(0.5, 0.5), (0.8, 0.2), (-0.1, 1.0), (0.0, f64::NAN)] {
        let params = Params { guidance_start: start, guidance_end: end, ..small(Sampler::Euler) };
        assert!(refused(params).contains("guidance"));
    }
    for (cfg_rescale, cfg) in [(1.1, 3.0), (f32::NAN, 3.0), (0.7, 0.0)] {
        assert!(refused(Params { cfg_rescale, cfg, ..small(Sampler::Euler) }).contains("rescale"));
    }
    let many = refused(Params { batch: 16, width: 768, height: 768, ..small(Sampler::Euler) });
    assert!(many.contains("fewer pictures at once"), "{many}");
    for batch in [0, 17] {
        assert!(refused(Params { batch, ..small(Sampler::Euler) }).contains("batch"));
    }
    let too_few = Params { tool: Tool::A1111, schedule: None, steps: 1, ..small(Sampler::Ddim) };
    assert!(refused(too_few).contains("steps"));
}
