//! Whole runs against diffusers' networks under other people's samplers, on the GPU and on the CPU: every sampler at three
//! sizes, v-prediction, image to image, inpainting (`golden/make_trajectories.py`).

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use checkpoints::{Array, arrays, embedding, file, load};
use support::{Fixture, golden, relative_error};
use wordbrush::files::{DType, safetensors::header_of};
use wordbrush::gpu::Storage;
use wordbrush::pipeline::{Hires, Image, Init, Mask, MaskedContent, Own, Params, Picture, StableDiffusion, Upscaler};
use wordbrush::prompt::Syntax;
use wordbrush::samplers::{Prediction, Sampler, Schedule, Tool};

const CONV_IN: &str = "model.diffusion_model.input_blocks.0.0.weight";
const COND_PROJ: &str = "model.diffusion_model.time_embed.cond_proj.weight";
const SIZES: [(usize, usize); 3] = [(8, 8), (12, 8), (9, 16)];

/// The bound on pictures, and what f32 reaches on latents: guidance and steps carry the order of sums on.
/// On the CPU candle's GELU is another (`on_cpu.rs`).
struct Bounds {
    latents: f64,
    psnr: f64,
}
const ON_GPU: Bounds = Bounds { latents: 2e-4, psnr: 60.0 };
const ON_CPU: Bounds = Bounds { latents: 5e-3, psnr: 45.0 };
/// Where the encoder is shown smeared colours: bytes that differ from Pillow's by a level here and there (tests/masks.rs).
const FILLED: Bounds = Bounds { latents: 1e-2, psnr: 50.0 };

fn fixture() -> Fixture {
    Fixture::of("trajectories/trajectories.safetensors")
}

/// `two_levels` with its encoder, and with conv_in for inpainting or cond_proj of a distilled network.
fn checkpoint(own: Option<&str>) -> Vec<Array> {
    let name = "trajectories/two_levels.more.safetensors";
    let bytes = std::fs::read(golden(name)).expect("a fixture");
    let header = header_of(name, &bytes).expect("a header");
    let wanted = |name: &str| own == Some(name) || ![CONV_IN, COND_PROJ].contains(&name);
    let more = header.arrays.iter().filter(|array| wanted(&array.name)).map(|array| {
        let part = &bytes[array.offset as usize..][..array.length as usize];
        (array.name.clone(), array.dtype, array.shape.clone(), part.to_vec())
    });
    let kept = arrays("two_levels").into_iter().filter(|array| own != Some(&array.0));
    kept.chain(more).collect()
}

struct Both {
    gpu: StableDiffusion,
    cpu: StableDiffusion,
    fixture: Fixture,
}

impl Both {
    fn new(arrays: &[Array]) -> Self {
        let mut cpu = pollster::block_on(async {
            let mut cpu = StableDiffusion::open_on_cpu(file(arrays)).await.unwrap_or_else(|e| panic!("{e}"));
            while cpu.load().await.unwrap_or_else(|e| panic!("{e}")) {}
            cpu
        });
        let mut gpu = load(file(arrays), Storage::F32);
        let rows = Fixture::read("two_levels.euler");
        let width = rows.shape("rows.positive")[2];
        for which in ["positive", "negative"] {
            let rows = embedding(&rows.numbers(&format!("rows.{which}"))[width..76 * width], width);
            for sd in [&mut gpu, &mut cpu] {
                sd.add_embedding(&format!("{which}.safetensors"), &rows).expect("an embedding");
            }
        }
        Self { gpu, cpu, fixture: fixture() }
    }

    fn check(&self, case: &str, params: &Params) {
        self.check_on("GPU", &self.gpu, ON_GPU, case, params);
        self.check_on("CPU", &self.cpu, ON_CPU, case, params);
    }

    fn check_on(&self, place: &str, sd: &StableDiffusion, bounds: Bounds, case: &str, params: &Params) {
        let expected = self.fixture.numbers(case);
        let (latents, image) = generate(sd, params);
        let error = relative_error(&latents, expected);
        // Their latents through the same decoder, which has tests of its own.
        let psnr = psnr(&image, &decoded(sd, params, expected));
        println!("{case} on the {place}: latents {error:.1e}, {psnr:.1} dB");
        assert!(error <= bounds.latents && psnr >= bounds.psnr, "{case} on the {place}: {error:.2e}, {psnr:.1} dB");
    }
}

fn generate(sd: &StableDiffusion, params: &Params) -> (Vec<f32>, Image) {
    pollster::block_on(async {
        let mut generation = sd.start(params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        (generation.latents().await.expect("latents"), generation.image(sd).await.expect("an image"))
    })
}

fn decoded(sd: &StableDiffusion, params: &Params, latents: &[f32]) -> Image {
    let mut image = pollster::block_on(sd.decode(latents, params.width, params.height)).expect("an image");
    if let Some(init) = params.init.as_ref().filter(|_| params.tool == Tool::A1111) {
        paste(&mut image, init);
    }
    image
}

/// What is kept is put back, pixel by pixel; of a soft edge the outer half is mixed. (The mask itself: tests/masks.rs.)
fn paste(image: &mut Image, init: &Init) {
    let (Picture::Pixels(old), Some(mask)) = (&init.picture, &init.mask) else { return };
    let mask = mask.prepared([old.height, old.width], Tool::A1111).into_iter().map(|m| (2.0 * m).min(1.0));
    for ((new, old), m) in image.rgba.chunks_mut(4).zip(old.rgba.chunks(4)).zip(mask) {
        let mix =
            |new: u8, old: u8| (f64::from(new) * f64::from(m) + f64::from(old) * f64::from(1.0 - m)).round() as u8;
        new.iter_mut().zip(old).take(3).for_each(|(new, old)| *new = mix(*new, *old));
    }
}

/// Peak signal-to-noise ratio, in dB; the fourth byte does not count.
fn psnr(one: &Image, other: &Image) -> f64 {
    let error: f64 = one.rgba.iter().zip(&other.rgba).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) * (one.rgba.len() * 3 / 4) as f64 / error.max(1e-9)).log10()
}

fn params(sampler: Sampler, (h, w): (usize, usize)) -> Params {
    Params {
        prompt: "embedding:positive".to_string(),
        negative_prompt: "embedding:negative".to_string(),
        steps: 8,
        cfg: 3.0,
        width: 8 * w,
        height: 8 * h,
        sampler,
        schedule: Some(Schedule::Karras),
        ..Params::default()
    }
}

#[test]
fn every_sampler_at_three_sizes() {
    let both = Both::new(&arrays("two_levels"));
    let mut compared = 0;
    for size in SIZES {
        for sampler in Sampler::ALL {
            let (h, w) = size;
            // On the CPU the size makes no difference to the sampler.
            let check = |case: &str, params: &Params| match size {
                (8, 8) => both.check(case, params),
                _ => both.check_on("GPU", &both.gpu, ON_GPU, case, params),
            };
            // The twins with "_gpu" differ in whose noise they take, and here that is the CPU's.
            let name = sampler.name().trim_end_matches("_gpu");
            match sampler {
                Sampler::Ddim | Sampler::Plms => {
                    let (tool, syntax) = (Tool::A1111, Syntax::A1111);
                    let prompts = Params {
                        prompt: "positive".into(),
                        negative_prompt: "negative".into(),
                        ..params(sampler, size)
                    };
                    check(&format!("a1111.{name}.{h}x{w}"), &Params { tool, syntax, schedule: None, ..prompts });
                }
                _ => check(&format!("sampler.{name}.{h}x{w}"), &params(sampler, size)),
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 3 * 23);
}

#[test]
fn v_prediction_and_noise_alone() {
    let both = Both::new(&arrays("two_levels"));
    let v = Params { prediction: Some(Prediction::V), ..params(Sampler::Euler, (8, 8)) };
    both.check("prediction.v", &v);
    both.check("prediction.v.zero", &Params { zero_terminal_snr: Some(true), ..v.clone() });
    // The same said by the file, as merging tools mark it.
    let marked = [
        arrays("two_levels"),
        ["v_pred", "ztsnr"].map(|mark| (mark.to_string(), DType::F32, vec![0], Vec::new())).to_vec(),
    ];
    let both = Both::new(&marked.concat());
    both.check("prediction.v.zero", &Params { prediction: None, ..v });
}

impl Both {
    /// The picture and mask of a size.
    fn init(&self, (h, w): (usize, usize), denoise: f64, masked: bool) -> Init {
        let rgb = self.fixture.numbers(&format!("rgb.{h}x{w}"));
        let rgba = rgb.chunks(3).flat_map(|p| [p[0] as u8, p[1] as u8, p[2] as u8, 255]).collect();
        let mask = masked.then(|| self.fixture.numbers(&format!("mask.{h}x{w}")).to_vec().into());
        let picture = Picture::Pixels(Image { width: 8 * w, height: 8 * h, rgba });
        Init { picture, denoise, mask, exact_steps: false }
    }
}

#[test]
fn pictures_to_start_from() {
    let both = Both::new(&checkpoint(None));
    for size in [(8, 8), (12, 8)] {
        let (h, w) = size;
        for (text, denoise) in [("1.0", 1.0), ("0.6", 0.6)] {
            for sampler in [Sampler::Euler, Sampler::Dpmpp2m, Sampler::EulerAncestral] {
                for (what, masked) in [("img2img", false), ("inpaint", true)] {
                    let init = Some(both.init(size, denoise, masked));
                    both.check(
                        &format!("{what}.{}.{text}.{h}x{w}", sampler.name()),
                        &Params { init, ..params(sampler, size) },
                    );
                }
            }
        }
    }
}

#[test]
fn what_lies_under_a_mask() {
    let both = Both::new(&checkpoint(None));
    for size in [(8, 8), (12, 8)] {
        let (h, w) = size;
        let init = |denoise: f64, blur: f64, content: MaskedContent| {
            let init = both.init(size, denoise, true);
            Some(Init { mask: init.mask.map(|mask| Mask { blur, content, ..mask }), ..init })
        };
        for content in MaskedContent::ALL.into_iter().filter(|content| *content != MaskedContent::Gray) {
            let blur = if [MaskedContent::Fill, MaskedContent::LatentNoise].contains(&content) { 4.0 } else { 0.0 };
            let a1111 = Params {
                prompt: "positive".into(),
                negative_prompt: "negative".into(),
                tool: Tool::A1111,
                syntax: Syntax::A1111,
                init: init(0.6, blur, content),
                ..params(Sampler::Dpmpp2m, size)
            };
            let case = format!("a1111.inpaint.{}.{h}x{w}", content.name());
            if content == MaskedContent::Original {
                both.check(&case, &a1111);
            } else {
                both.check_on("GPU", &both.gpu, FILLED, &case, &a1111);
                both.check_on("CPU", &both.cpu, FILLED, &case, &a1111);
            }
        }
        let gray = Params { init: init(1.0, 0.0, MaskedContent::Gray), ..params(Sampler::Euler, size) };
        both.check(&format!("inpaint.gray.{h}x{w}"), &gray);
    }
}

/// A picture of another size than the result: what is kept stays to the byte, what is masked is made anew, at the other size.
#[test]
fn only_what_is_masked() {
    let both = Both::new(&checkpoint(None));
    let init = both.init((12, 8), 0.8, true);
    let Init { picture: Picture::Pixels(image), mask: Some(mask), .. } = &init else { panic!("no mask") };
    let only = Init { mask: Some(Mask { only_masked: Some(4), ..mask.clone() }), ..init.clone() };
    let params = Params {
        prompt: "positive".into(),
        tool: Tool::A1111,
        syntax: Syntax::A1111,
        steps: 2,
        init: Some(only),
        ..params(Sampler::Euler, (6, 6))
    };
    let made = |params: &Params| {
        pollster::block_on(async {
            let mut generation = both.gpu.start(params).await?;
            while generation.step().await? {}
            let refused = both.gpu.enlarge(&generation, &Hires::default()).await.err().expect("a refusal");
            assert!(refused.message.contains("no whole picture"), "{refused}");
            Ok::<_, wordbrush::Error>((generation.image(&both.gpu).await?, generation.recipe(&both.gpu)))
        })
    };
    let (found, recipe) = made(&params).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((found.width, found.height), (image.width, image.height));
    let prepared = mask.prepared([image.height, image.width], Tool::A1111);
    let pixels = found.rgba.chunks_exact(4).zip(image.rgba.chunks_exact(4)).zip(&prepared);
    let (mut changed, mut masked) = (0, 0);
    for ((new, old), m) in pixels {
        assert!(*m > 0.0 || new == old, "what is kept has changed");
        masked += usize::from(*m > 0.0);
        changed += usize::from(*m > 0.0 && new != old);
    }
    assert!(changed * 2 > masked && masked > 0, "{changed} of {masked} masked pixels are new");
    assert_eq!((recipe.width, recipe.height), (Some(48), Some(48)));
    for pair in [("Inpaint area", "Only masked"), ("Masked area padding", "4")] {
        assert!(recipe.extra.contains(&(pair.0.to_string(), pair.1.to_string())), "{:?}", recipe.extra);
    }
    let comfy = made(&Params { tool: Tool::ComfyUi, syntax: Syntax::Comfy, ..params.clone() });
    assert!(comfy.expect_err("a refusal").message.contains("AUTOMATIC1111"));
    let faint = mask.pixels.iter().map(|m| m * 0.4).collect();
    let faint = Mask { pixels: faint, only_masked: Some(4), ..mask.clone() };
    let faint = made(&Params { init: Some(Init { mask: Some(faint), ..init.clone() }), ..params });
    assert!(faint.expect_err("a refusal").message.contains("too faint"));
}

#[test]
fn latents_of_a_picture() {
    let both = Both::new(&checkpoint(None));
    for size in [(8, 8), (12, 8)] {
        let Init { picture: Picture::Pixels(image), .. } = both.init(size, 1.0, false) else { panic!("no pixels") };
        let expected: Vec<f32> =
            both.fixture.numbers(&format!("encoded.{}x{}", size.0, size.1)).iter().map(|x| x * 0.18215).collect();
        for sd in [&both.gpu, &both.cpu] {
            let found = pollster::block_on(sd.encode(&image)).expect("latents");
            let error = relative_error(&found, &expected);
            println!("encoded {size:?}: {error:.1e}");
            assert!(error < 1e-4, "{size:?}: {error:e}");
        }
    }
}

#[test]
fn a_network_for_inpainting() {
    let both = Both::new(&checkpoint(Some(CONV_IN)));
    let init = Some(both.init((12, 8), 1.0, true));
    both.check("painter.inpaint", &Params { init, ..params(Sampler::Euler, (12, 8)) });
    both.check("painter.alone", &params(Sampler::Euler, (12, 8)));
}

/// A latent consistency model is told how strong guidance is to be, and asked once a step.
#[test]
fn a_network_with_guidance_built_in() {
    let both = Both::new(&checkpoint(Some(COND_PROJ)));
    for cfg in [1.0, 8.5] {
        both.check(&format!("distilled.{cfg:.1}"), &Params { cfg, ..params(Sampler::Lcm, (8, 8)) });
    }
}

/// A second pass is image to image over the first one's latents, made larger, under its own noise of the same seed.
#[test]
fn a_second_pass_at_a_larger_size() {
    let both = Both::new(&arrays("two_levels"));
    let first = Params { steps: 3, ..params(Sampler::Euler, (8, 8)) };
    for sd in [&both.gpu, &both.cpu] {
        let (generation, found) = pollster::block_on(async {
            let mut generation = sd.start(&first).await.unwrap_or_else(|e| panic!("{e}"));
            while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
            let upscaler = Upscaler::LatentNearestExact;
            let hires = Hires { scale: 1.5, upscaler, steps: Some(2), denoise: 0.5, ..Hires::default() };
            let mut second = sd.enlarge(&generation, &hires).await.unwrap_or_else(|e| panic!("{e}"));
            while second.step().await.unwrap_or_else(|e| panic!("{e}")) {}
            let recipe = second.recipe(sd);
            assert_eq!((recipe.width, recipe.steps), (Some(64), Some(3)));
            for (key, value) in [("Hires upscale", "1.5"), ("Hires steps", "2"), ("Denoising strength", "0.5")] {
                assert!(recipe.extra.contains(&(key.to_string(), value.to_string())), "{:?}", recipe.extra);
            }
            (generation.latents().await.expect("latents"), second.latents().await.expect("latents"))
        });
        // Eight become twelve: 0 1 1 2 3 3 4 5 5 6 7 7.
        let of = |i: usize| (2 * i + 1) / 3;
        let larger = (0..4 * 12 * 12).map(|i| generation[(i / 144 * 8 + of(i / 12 % 12)) * 8 + of(i % 12)]).collect();
        let init = Init { picture: Picture::Latents(larger), denoise: 0.5, mask: None, exact_steps: true };
        let (expected, _) =
            generate(sd, &Params { steps: 2, width: 96, height: 96, init: Some(init), ..first.clone() });
        assert_eq!(relative_error(&found, &expected), 0.0);
    }
}

/// What a second pass has of its own is what it is made with, and its recipe tells it.
#[test]
fn a_second_pass_of_its_own() {
    let both = Both::new(&arrays("two_levels"));
    let first = Params { steps: 2, ..params(Sampler::Euler, (8, 8)) };
    let own = Own {
        prompt: Some("a blue star".to_string()),
        negative_prompt: Some("red".to_string()),
        seed: Some(77),
        sampler: Some(Sampler::Dpmpp2m),
        schedule: Some(Schedule::Karras),
        cfg: Some(4.5),
    };
    let upscaler = Upscaler::LatentNearestExact;
    let hires = Hires { scale: 2.0, upscaler, steps: Some(3), denoise: 0.6, own };
    let sd = &both.cpu;
    let (generation, found, recipe) = pollster::block_on(async {
        let mut generation = sd.start(&first).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        let mut second = sd.enlarge(&generation, &hires).await.unwrap_or_else(|e| panic!("{e}"));
        while second.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        let recipe = second.recipe(sd);
        (generation.latents().await.expect("latents"), second.latents().await.expect("latents"), recipe)
    });
    let larger = (0..4 * 16 * 16).map(|i| generation[(i / 256 * 8 + i / 16 % 16 / 2) * 8 + i % 16 / 2]).collect();
    let init = Init { picture: Picture::Latents(larger), denoise: 0.6, mask: None, exact_steps: true };
    let again = Params {
        prompt: "a blue star".to_string(),
        negative_prompt: "red".to_string(),
        seed: 77,
        sampler: Sampler::Dpmpp2m,
        schedule: Some(Schedule::Karras),
        cfg: 4.5,
        steps: 3,
        width: 128,
        height: 128,
        init: Some(init),
        ..first.clone()
    };
    assert_eq!(relative_error(&found, &generate(sd, &again).0), 0.0);
    assert_eq!((recipe.seed, recipe.sampler.as_deref()), (Some(first.seed), Some("euler")));
    let told = [
        ("Hires prompt", "a blue star"),
        ("Hires negative prompt", "red"),
        ("Hires seed", "77"),
        ("Hires sampler", "DPM++ 2M"),
        ("Hires schedule type", "Karras"),
        ("Hires CFG Scale", "4.5"),
    ];
    for (key, value) in told {
        assert!(recipe.extra.contains(&(key.to_string(), value.to_string())), "{key}: {:?}", recipe.extra);
    }
}

/// Every way to enlarge gives a second pass of its own, for each picture of a batch.
#[test]
fn every_upscaler() {
    let both = Both::new(&checkpoint(None));
    let first = Params { steps: 1, batch: 2, ..params(Sampler::Euler, (8, 8)) };
    let made: Vec<Vec<f32>> = pollster::block_on(async {
        let mut generation = both.gpu.start(&first).await.expect("a start");
        while generation.step().await.expect("a step") {}
        let mut made = Vec::new();
        for upscaler in Upscaler::ALL {
            let hires = Hires { scale: 1.5, upscaler, steps: Some(1), denoise: 0.5, ..Hires::default() };
            let mut second =
                both.gpu.enlarge(&generation, &hires).await.unwrap_or_else(|e| panic!("{upscaler:?}: {e}"));
            while second.step().await.expect("a step") {}
            made.push(second.latents().await.expect("latents"));
        }
        made
    });
    for (i, latents) in made.iter().enumerate() {
        let each = latents.len() / 2;
        assert!(latents.iter().all(|x| x.is_finite()) && each == 4 * 12 * 12, "{:?}", Upscaler::ALL[i]);
        assert_ne!(latents[..each], latents[each..], "two pictures");
        for (j, other) in made[..i].iter().enumerate() {
            assert_ne!(latents, other, "{:?} and {:?} are the same", Upscaler::ALL[i], Upscaler::ALL[j]);
        }
    }
}

#[test]
fn what_cannot_be_started_from_is_refused() {
    let both = Both::new(&arrays("two_levels"));
    let size = (8, 8);
    let refused = |init: Init| {
        let params = Params { init: Some(init), ..params(Sampler::Euler, size) };
        pollster::block_on(both.gpu.start(&params)).err().expect("a refusal").message
    };
    let init = both.init(size, 0.6, true);
    assert!(refused(Init { denoise: 0.0, ..init.clone() }).contains("denoise"));
    assert!(refused(Init { mask: Some(vec![0.0; 64 * 64].into()), ..init.clone() }).contains("empty"));
    assert!(refused(Init { mask: Some(vec![1.0; 64].into()), ..init.clone() }).contains("64 pixels"));
    assert!(refused(both.init((12, 8), 0.6, false)).contains("64×96"));
    // These fixtures' VAE has no encoder.
    assert!(refused(init).contains("encoder"));
}
