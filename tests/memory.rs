//! Memory of the GPU: none for any one buffer, and all of it back after pictures, stops and loads.

#[path = "support/checkpoints.rs"]
mod checkpoints;
#[path = "support/sparse.rs"]
mod sparse;
mod support;

use std::rc::Rc;

use checkpoints::{arrays, converted, embedding, file, load};
use sparse::SparseSource;
use support::Numbers;
use wordbrush::Code;
use wordbrush::files::{DType, Source};
use wordbrush::gpu::{Options, Storage};
use wordbrush::pipeline::{Image, Params, StableDiffusion};

fn small(prompt: &str) -> Params {
    Params { prompt: prompt.to_string(), steps: 1, width: 64, height: 64, ..Params::default() }
}

fn picture(sd: &StableDiffusion, params: &Params) -> wordbrush::Result<Image> {
    pollster::block_on(async {
        let mut generation = sd.start(params).await?;
        while generation.step().await? {}
        generation.image(sd).await
    })
}

/// The files of a small model.
fn model() -> Vec<Rc<dyn Source>> {
    file(&converted(&arrays("two_levels"), DType::F16))
}

fn load_without(sources: Vec<Rc<dyn Source>>, refuse_buffer: Option<usize>) -> wordbrush::Result<StableDiffusion> {
    let options = Options { storage: Some(Storage::Packed), refuse_buffer, ..Options::default() };
    pollster::block_on(async {
        let mut sd = StableDiffusion::open(sources, options).await?;
        while sd.load().await? {}
        Ok(sd)
    })
}

fn buffers(sd: &StableDiffusion) -> usize {
    sd.gpu().expect("a GPU").traffic().buffers
}

/// Whichever buffer of a load finds no memory, the load fails with the sentence.
#[test]
fn no_memory_for_any_buffer_of_a_load() {
    let sources = model();
    let whole = load_without(sources.clone(), None).unwrap_or_else(|e| panic!("{e}"));
    let count = buffers(&whole);
    println!("{count} buffers");
    let mut before_reading = 0;
    for nth in 1..=count {
        let error = load_without(sources.clone(), Some(nth)).err().unwrap_or_else(|| panic!("buffer {nth} was there"));
        assert_eq!(error.code, Code::GpuOutOfMemory, "buffer {nth}: {error}");
        assert!(error.message.contains("close other tabs"), "{error}");
        // Room for all weights is made before the first is read.
        before_reading += usize::from(error.message.contains("weights take") && error.message.contains(" MiB"));
    }
    println!("{before_reading} refused before anything was read");
    assert!(before_reading > 100, "{before_reading}");
    let beyond = load_without(sources, Some(count + 1)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(picture(&beyond, &small("a cat")).expect_err("the next buffer").code, Code::GpuOutOfMemory);
    assert!(picture(&beyond, &small("a cat")) == picture(&whole, &small("a cat")));
}

/// Whichever buffer of a picture finds no memory, the picture fails with the sentence, the embeddings stay, the next picture
/// is the one it would have been, and nothing is left on the GPU.
#[test]
fn no_memory_for_any_buffer_of_a_picture() {
    let mut sd = load_without(model(), None).unwrap_or_else(|e| panic!("{e}"));
    let width = sd.text_width();
    sd.add_embedding("mine.safetensors", &embedding(&Numbers::new(3).take(2 * width, Storage::F32), width))
        .expect("rows");
    // Two prompts in turn, so that none was encoded for the picture before.
    let of = |weight: &str| Params {
        negative_prompt: "a dog".to_string(),
        ..small(&format!("embedding:mine , (cat:{weight})"))
    };
    let params = ["1.2", "1.3"].map(of);
    let (gpu, mut begun, mut expected) = (sd.gpu().expect("a GPU"), 0, Vec::new());
    for params in &params {
        begun = buffers(&sd);
        expected.push(picture(&sd, params).unwrap_or_else(|e| panic!("{e}")));
    }
    let (count, before) = (buffers(&sd) - begun, gpu.allocated());
    println!("{count} buffers");
    assert!(count > 20 && expected[0] != expected[1], "{count}");
    for nth in 1..=count {
        let (params, expected) = (&params[(nth + 1) % 2], &expected[(nth + 1) % 2]);
        gpu.refuse_buffer(nth);
        let error = picture(&sd, params).err().unwrap_or_else(|| panic!("buffer {nth} was there"));
        assert_eq!(error.code, Code::GpuOutOfMemory, "buffer {nth}: {error}");
        assert_eq!(sd.library().iter().count(), 1);
        let next = picture(&sd, params).unwrap_or_else(|e| panic!("after buffer {nth}: {e}"));
        assert!(next == *expected, "after buffer {nth}: another picture");
        assert_eq!(gpu.allocated(), before, "after buffer {nth}");
    }
}

/// Stopped at any step, or within one, and dropped: 200 times, and pictures made in between.
#[test]
fn stopped_pictures_leave_nothing() {
    let sd = load(file(&arrays("two_levels")), Storage::Packed);
    let gpu = sd.gpu().expect("a GPU");
    let params = Params { steps: 2, ..small("a cat") };
    let expected = picture(&sd, &params).unwrap_or_else(|e| panic!("{e}"));
    let (before, mut random) = (gpu.allocated(), Numbers::new(8));
    for round in 0..200 {
        let when = ((random.next() + 1.0) * 2.0) as usize;
        pollster::block_on(async {
            let Some(steps) = when.checked_sub(1) else {
                // Not even begun: the future is dropped.
                return drop(sd.start(&params));
            };
            let mut generation = sd.start(&params).await.unwrap_or_else(|e| panic!("{e}"));
            for _ in 0..steps {
                generation.step().await.unwrap_or_else(|e| panic!("{e}"));
            }
            if steps < 2 {
                drop(generation.step());
            } else {
                drop(generation.image(&sd));
            }
        });
        if round % 8 == 7 {
            assert!(picture(&sd, &params).unwrap_or_else(|e| panic!("{e}")) == expected, "round {round}");
            assert_eq!(gpu.allocated(), before, "round {round}");
        }
    }
}

/// Each of twenty loads takes the same of the GPU, however many there were before.
#[test]
fn twenty_loads() {
    let sources = model();
    let taken = |_| {
        let sd = load_without(sources.clone(), None).unwrap_or_else(|e| panic!("{e}"));
        sd.gpu().expect("a GPU").allocated()
    };
    let taken: Vec<u64> = (0..20).map(taken).collect();
    assert!(taken.iter().all(|bytes| *bytes == taken[0]), "{taken:?}");
}

/// A tensor beyond what the GPU binds is refused with both numbers, when the header alone was read.
#[test]
fn a_tensor_that_the_gpu_cannot_bind() {
    const WIDE: &str = "model.diffusion_model.middle_block.1.transformer_blocks.0.ff.net.0.proj.weight";
    let mut checkpoint = arrays("two_levels");
    let wide = checkpoint.iter_mut().find(|array| array.0 == WIDE).expect(WIDE);
    wide.2[0] = 1 << 25;
    let shapes = checkpoint.iter().map(|array| (array.0.as_str(), array.2.as_slice()));
    let source = Rc::new(SparseSource::safetensors("wide.safetensors", "F16", shapes));
    let error = load_without(vec![source.clone()], None).err().expect("a refusal");
    assert_eq!(error.code, Code::TooLarge, "{error}");
    let most = support::gpu(Storage::Packed).largest_tensor() >> 20;
    assert!(error.message.contains(WIDE) && error.message.contains(&format!("at most {most} MiB")), "{error}");
    assert!(source.read.get() < 1 << 20, "{} bytes were read", source.read.get());
}
