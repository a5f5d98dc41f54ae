//! The networks against diffusers and transformers (`golden/models`, written by `golden/make_models.py`) and, on the
//! same checkpoints at run time, against candle on the CPU.
//!
//! Tolerances are those of `golden/models/README.md`, which gives their reasons.

mod support;

use support::{Fixture, STORAGES, gpu, model, relative_error, run, tensor, to_nhwc};
use wordbrush::files::{Checkpoint, taesd_file};
use wordbrush::gpu::{Gpu, Storage};
use wordbrush::models::{Clip, ClipEmbeddings, Taesd, Unet, Vae};
use wordbrush::reference::{self, Reference};
use wordbrush::weights::Weights;

const MODELS: [&str; 3] = ["four_levels", "three_levels", "two_levels"];

struct Networks {
    gpu: Gpu,
    words: ClipEmbeddings,
    clip: Clip,
    unet: Unet,
    vae: Vae,
}

fn open(name: &str, storage: Storage) -> Networks {
    pollster::block_on(async {
        let gpu = gpu(storage);
        let weights = Weights::new(&gpu, Checkpoint::open(vec![model(name)]).await.expect("a checkpoint"));
        let words = ClipEmbeddings::load(&weights.at("text_encoder")).expect("words");
        let clip = Clip::load(&weights.at("text_encoder"), words.width()).expect("clip");
        let unet = Unet::load(&weights.at("unet"), words.width()).expect("unet");
        let vae = Vae::load(&weights.at("vae")).expect("vae");
        let mut filling = weights.fill();
        while filling.step().await.expect("filling") {}
        assert_eq!(filling.loaded(), filling.total());
        Networks { gpu, words, clip, unet, vae }
    })
}

fn within(what: &str, storage: Storage, found: &[f32], expected: &[f32]) {
    let most = if storage == Storage::F32 { 1e-4 } else { 1e-2 };
    let error = relative_error(found, expected);
    println!("{what} {storage:?}: {error:.1e}");
    assert!(error <= most, "{what} {storage:?}: relative error {error:.2e}, at most {most:.0e}");
}

#[test]
fn clip() {
    for name in MODELS {
        let fixture = Fixture::read(&format!("{name}.clip"));
        for storage in STORAGES {
            let networks = open(name, storage);
            let width = networks.words.width();
            for (windows, skip) in [(1, 1), (2, 1), (2, 2)] {
                let mut rows = fixture.numbers("rows")[..windows * 77 * width].to_vec();
                for (i, row) in rows.chunks_mut(width).enumerate() {
                    let position = networks.words.position(i % 77).expect("a position");
                    row.iter_mut().zip(position).for_each(|(x, place)| *x += place);
                }
                let rows = tensor(&networks.gpu, &[windows, 77, width], storage, &rows);
                let found = run(&networks.gpu, || networks.clip.forward(&rows, skip));
                let expected = fixture.numbers(&format!("hidden.windows{windows}.skip{skip}"));
                within(&format!("{name} clip {windows} skip {skip}"), storage, &found, expected);
            }
        }
    }
}

/// The UNet's ε for `latents` (B, 4, H, W) as (B, H, W, 4).
fn eps(
    networks: &Networks,
    shape: &[usize],
    latents: &[f32],
    timestep: f32,
    context: (&[f32], [usize; 2]),
) -> Vec<f32> {
    let &[batch, channels, h, w] = shape else { panic!("{shape:?}") };
    let (gpu, storage) = (&networks.gpu, networks.gpu.storage());
    let x = tensor(gpu, &[batch, h, w, 4], storage, &to_nhwc(latents, channels, h * w));
    let tokens = context.1[0].max(context.1[1]);
    let width = context.0.len() / batch / tokens;
    let rows = tensor(gpu, &[batch, tokens, width], storage, context.0);
    // The wanted timestep is the second of three: the row of another must not be taken.
    let lengths = tensor(gpu, &[4], Storage::F32, &[context.1[0] as f32, context.1[1] as f32, 0.0, 0.0]);
    let prepared = networks.unet.prepare(&[777.0, timestep, 3.0], None, &rows, &lengths);
    let step = tensor(gpu, &[4], Storage::F32, &[1.0, 0.0, 0.0, 0.0]);
    run(gpu, || networks.unet.forward(&x, None, &step, &prepared.shown(0, 1, 1)))
}

fn unet(name: &str) {
    let fixture = Fixture::read(&format!("{name}.unet"));
    let context_width = fixture.shape("context")[2];
    for storage in STORAGES {
        let networks = open(name, storage);
        let mut compared = 0;
        for case in fixture.names("eps.") {
            // eps.HxW.batchB.tT.tokensC
            let words: Vec<&str> = case.split('.').collect();
            let number =
                |word: &str, prefix: &str| word.strip_prefix(prefix).and_then(|n| n.parse().ok()).expect("a number");
            let (timestep, tokens): (usize, usize) = (number(words[3], "t"), number(words[4], "tokens"));
            let shape = fixture.shape(case);
            // See the fixtures' README: two values a group, a rounding error can flip a sign.
            if storage != Storage::F32 && name == "four_levels" && words[1] == "8x8" {
                continue;
            }
            let latents = &fixture.numbers(&format!("latents.{}", words[1]))[..shape.iter().product()];
            let context: Vec<f32> = fixture
                .numbers("context")
                .chunks(154 * context_width)
                .take(shape[0])
                .flat_map(|item| item[..tokens * context_width].to_vec())
                .collect();
            let found = eps(&networks, shape, latents, timestep as f32, (&context, [tokens; 2]));
            let expected = to_nhwc(fixture.numbers(case), 4, shape[2] * shape[3]);
            within(&format!("{name} {case}"), storage, &found, &expected);
            compared += 1;
        }
        assert!(compared >= 24, "{name}: {compared} cases");
    }
}

/// One after the other: each takes the kernels that the one before has compiled from the driver's cache.
#[test]
fn unets() {
    MODELS.into_iter().for_each(unet);
}

/// Prompts of different length in one batch give what each gives alone.
#[test]
fn unet_with_prompts_of_different_length() {
    let name = "two_levels";
    let fixture = Fixture::read(&format!("{name}.unet"));
    let width = fixture.shape("context")[2];
    let networks = open(name, Storage::F32);
    let latents = fixture.numbers("latents.12x9");
    let (shape, half) = ([1, 4, 12, 9], latents.len() / 2);
    let context = fixture.numbers("context");
    let (short, long) = (&context[..77 * width], &context[154 * width..]);
    let alone = [
        eps(&networks, &shape, &latents[..half], 500.0, (short, [77; 2])),
        eps(&networks, &shape, &latents[half..], 500.0, (long, [154; 2])),
    ]
    .concat();
    let mut padded = short.to_vec();
    padded.resize(154 * width, 1e3); // nothing may look at these
    padded.extend_from_slice(long);
    let together = eps(&networks, &[2, 4, 12, 9], latents, 500.0, (&padded, [77, 154]));
    within("different lengths", Storage::F32, &together, &alone);
}

#[test]
fn vae() {
    for name in MODELS {
        let fixture = Fixture::read(&format!("{name}.vae"));
        for storage in STORAGES {
            let networks = open(name, storage);
            for size in ["8x8", "4x6"] {
                let latents = format!("latents.{size}");
                let (h, w) = (fixture.shape(&latents)[2], fixture.shape(&latents)[3]);
                let x = to_nhwc(fixture.numbers(&latents), 4, h * w);
                let x = tensor(&networks.gpu, &[1, h, w, 4], storage, &x);
                let found = run(&networks.gpu, || networks.vae.decode(&x));
                let expected = to_nhwc(fixture.numbers(&format!("image.{size}")), 3, 64 * h * w);
                within(&format!("{name} vae {size}"), storage, &found, &expected);
            }
        }
    }
}

/// `golden/make_taesd.py`. As for the VAE: only the order of sums differs in f32, and halves round each layer's result.
#[test]
fn taesd() {
    let fixture = Fixture::read("taesd.images");
    for storage in STORAGES {
        let gpu = gpu(storage);
        let taesd = pollster::block_on(async {
            let checkpoint = taesd_file::open(model("taesd")).await.expect("a file").expect("a TAESD");
            let weights = Weights::new(&gpu, checkpoint);
            let taesd = Taesd::load(&weights.at("taesd")).expect("taesd");
            let mut filling = weights.fill();
            while filling.step().await.expect("filling") {}
            taesd
        });
        for size in ["8x8", "5x7"] {
            let latents = format!("latents.{size}");
            let (h, w) = (fixture.shape(&latents)[2], fixture.shape(&latents)[3]);
            let x = tensor(&gpu, &[1, h, w, 4], Storage::F32, &to_nhwc(fixture.numbers(&latents), 4, h * w));
            let found = run(&gpu, || taesd.decode(&x));
            let expected = to_nhwc(fixture.numbers(&format!("image.{size}")), 3, 64 * h * w);
            within(&format!("taesd {size}"), storage, &found, &expected);
        }
    }
}

/// The same decoder by candle, which gives −1…1.
#[test]
fn taesd_on_the_cpu() {
    let fixture = Fixture::read("taesd.images");
    let taesd = pollster::block_on(async {
        let checkpoint = taesd_file::open(model("taesd")).await.expect("a file").expect("a TAESD");
        reference::Taesd::open(&checkpoint).await.expect("taesd")
    });
    for size in ["8x8", "5x7"] {
        let latents = format!("latents.{size}");
        let (h, w) = (fixture.shape(&latents)[2], fixture.shape(&latents)[3]);
        let found = taesd.decode(fixture.numbers(&latents), [h, w]).expect("a picture");
        let found: Vec<f32> = found.iter().map(|x| x * 0.5 + 0.5).collect();
        within(&format!("taesd on the CPU {size}"), Storage::F32, &found, fixture.numbers(&format!("image.{size}")));
    }
}

/// The same checkpoint on candle, with inputs that no fixture has.
#[test]
fn candle_agrees() {
    for name in MODELS {
        let networks = open(name, Storage::F32);
        let reference = pollster::block_on(async {
            Reference::open(&Checkpoint::open(vec![model(name)]).await.expect("a checkpoint")).await.expect("candle")
        });
        let mut numbers = support::Numbers::new(42);
        let width = networks.words.width();
        let (h, w, tokens) = (10, 14, 77);
        let latents = numbers.take(2 * 4 * h * w, Storage::F32);
        let context = numbers.take(2 * tokens * width, Storage::F32);
        let found = eps(&networks, &[2, 4, h, w], &latents, 321.0, (&context, [tokens; 2]));
        let theirs = reference.unet(&latents, [2, 4, h, w], 321.0, &context, tokens).expect("candle's unet");
        let error = relative_error(&found, &to_nhwc(&theirs, 4, h * w));
        // candle's feed-forward has the tanh form of GELU, which alone moves ε by up to a few 1e-4.
        assert!(error <= 1e-3, "{name}: unet {error:.2e}");

        let latents = &latents[..4 * h * w];
        let theirs = reference.decode(latents, [1, 4, h, w]).expect("candle's vae");
        let x = tensor(&networks.gpu, &[1, h, w, 4], Storage::F32, &to_nhwc(latents, 4, h * w));
        let found = run(&networks.gpu, || networks.vae.decode(&x));
        within(&format!("{name} vae"), Storage::F32, &found, &to_nhwc(&theirs, 3, 64 * h * w));

        let rows = &context[..tokens * width];
        let theirs = reference.text(rows, 1, 1).expect("candle's clip");
        let mut ours = rows.to_vec();
        for (i, row) in ours.chunks_mut(width).enumerate() {
            let position = networks.words.position(i).expect("a position");
            row.iter_mut().zip(position).for_each(|(x, place)| *x += place);
        }
        let rows = tensor(&networks.gpu, &[1, tokens, width], Storage::F32, &ours);
        let found = run(&networks.gpu, || networks.clip.forward(&rows, 1));
        within(&format!("{name} clip"), Storage::F32, &found, &theirs);
    }
}
