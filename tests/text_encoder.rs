//! The text encoder leaves the GPU while the VAE decodes, and comes back for other prompts.

#[path = "support/checkpoints.rs"]
mod checkpoints;
mod support;

use std::cell::Cell;
use std::rc::Rc;

use checkpoints::{arrays, embedding, load, safetensors};
use wordbrush::files::{LocalFuture, MemorySource, Source};
use wordbrush::gpu::Storage;
use wordbrush::pipeline::{Params, StableDiffusion};
use wordbrush::{Code, Error, Result};

/// A file of which one knows how much was read, near or far, and which may be lost.
struct Watched {
    file: MemorySource,
    local: bool,
    lost: Cell<bool>,
    read: Cell<usize>,
}

impl Source for Watched {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        if self.lost.get() {
            return Box::pin(async { Err(Error::new(Code::Read, "the file is gone: choose it again")) });
        }
        self.read.set(self.read.get() + length);
        self.file.read(offset, length)
    }
}

fn open(local: bool) -> (Rc<Watched>, StableDiffusion) {
    let file = MemorySource::new("model.safetensors", safetensors(&arrays("two_levels")));
    let source = Rc::new(Watched { file, local, lost: Cell::new(false), read: Cell::new(0) });
    (source.clone(), load(vec![source], Storage::Packed))
}

fn picture(sd: &StableDiffusion, prompt: &str) -> Result<Vec<u8>> {
    pollster::block_on(async {
        let params = Params { prompt: prompt.to_string(), steps: 1, width: 64, height: 64, ..Params::default() };
        let mut generation = sd.start(&params).await?;
        while generation.step().await? {}
        Ok(generation.image(sd).await?.rgba)
    })
}

fn allocated(sd: &StableDiffusion) -> u64 {
    sd.gpu().expect("a GPU").allocated()
}

#[test]
fn pictures_are_the_same_whether_the_encoder_stays_or_comes_back() {
    let ((near, mut comes_back), (far, mut stays)) = (open(true), open(false));
    let once = [&near, &far].map(|source| source.read.get());
    let same = |a: &StableDiffusion, b: &StableDiffusion, prompt: &str| {
        let (found, expected) = (picture(a, prompt).expect("a picture"), picture(b, prompt).expect("a picture"));
        assert!(found == expected, "{prompt}");
        found
    };
    let loaded = allocated(&comes_back);
    let cat = same(&comes_back, &stays, "a cat");
    assert!(allocated(&comes_back) < loaded && allocated(&stays) >= loaded, "only one gives memory back");
    assert!(same(&comes_back, &stays, "a cat") == cat);
    assert_eq!(near.read.get(), once[0], "the same prompts need no encoder");

    let unknown = same(&comes_back, &stays, "a embedding:late");
    let again = near.read.get() - once[0];
    assert!(again > 0 && again < once[0] / 2, "{again} bytes read again, {} in all", once[0]);
    for sd in [&mut comes_back, &mut stays] {
        let rows: Vec<f32> = (0..sd.text_width()).map(|i| (i as f32).sin()).collect();
        sd.add_embedding("late.safetensors", &embedding(&rows, rows.len())).expect("an embedding");
    }
    let known = same(&comes_back, &stays, "a embedding:late");
    assert!(known != unknown, "the same words are other prompts once their embedding is there");
    assert!(same(&comes_back, &stays, "a cat") == cat);
    assert!(same(&comes_back, &stays, "a (cat:1.3)") != cat, "weights matter");
    assert_eq!(near.read.get() - once[0], 4 * again, "read once for each change of the prompts");
    assert_eq!(far.read.get(), once[1], "a network is not asked again");
}

#[test]
fn an_encoder_that_cannot_be_read_again_is_a_sentence_and_the_next_try_works() {
    let (source, sd) = open(true);
    let cat = picture(&sd, "a cat").expect("a picture");
    let before = allocated(&sd);
    source.lost.set(true);
    let error = picture(&sd, "a dog").expect_err("the file is gone");
    assert_eq!((error.code, error.message.as_str()), (Code::Read, "the file is gone: choose it again"));
    assert_eq!(allocated(&sd), before, "a failure keeps no memory");
    assert!(picture(&sd, "a cat").expect("the last prompts need no file") == cat);
    source.lost.set(false);
    assert!(picture(&sd, "a dog").expect("the file is back") != cat);
    assert!(picture(&sd, "a cat").expect("a picture") == cat);
}
