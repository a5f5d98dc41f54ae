//! The model that comes with the page means what it says: a part of the pictures that its model card reports on, made on the
//! GPU and read. The whole measure is `cargo run --release --example demo_model`.

#[path = "../examples/demo_model/attributes.rs"]
mod attributes;
#[path = "../examples/demo_model/scores.rs"]
mod scores;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use attributes::{Reading, read};
use scores::{Prompts, SETS, Scores};
use wordbrush::files::MemorySource;
use wordbrush::gpu::{Options, Storage};
use wordbrush::pipeline::{Params, StableDiffusion};

const SIDE: usize = 128;

fn file(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn prompts() -> Prompts {
    serde_json::from_slice(&file("examples/demo_model/prompts.json")).expect("prompts")
}

/// The model of the page with its embeddings, in the storage that is usual for the adapter.
fn open(storage: Option<Storage>) -> StableDiffusion {
    let mut model = Vec::new();
    flate2::read::GzDecoder::new(&file("www/demo/shapes.safetensors.gz")[..]).read_to_end(&mut model).expect("gzip");
    pollster::block_on(async {
        let source = Rc::new(MemorySource::new("shapes.safetensors", model));
        let mut sd =
            StableDiffusion::open(vec![source], Options { storage, ..Options::default() }).await.expect("opens");
        while sd.load().await.expect("loads") {}
        for name in
            ["teal-star.pt", "magenta-heart.bin", "lime-diamond.safetensors", "teal.png", "failures.safetensors"]
        {
            let added = sd.add_embedding(name, &file(&format!("www/demo/embeddings/{name}")));
            assert!(added.is_ok_and(|added| added.len() == 1), "{name}");
        }
        sd
    })
}

/// Makes `count` pictures of a set, spread over it, and judges what is read in them.
fn scores(sd: &StableDiffusion, set: &str, count: usize) -> Scores {
    assert!(SETS.contains(&set), "{set}");
    let prompts = prompts();
    let jobs = prompts.jobs(set);
    let mut readings: HashMap<String, Reading> = HashMap::new();
    for n in 0..count {
        let job = &jobs[n * jobs.len() / count];
        let negative = if set == "negative" { prompts.negative.clone() } else { String::new() };
        let params = Params {
            prompt: job.prompt.clone(),
            negative_prompt: negative,
            steps: 20,
            cfg: 6.0,
            width: SIDE,
            height: SIDE,
            seed: job.seed,
            ..Params::default()
        };
        let image = pollster::block_on(async {
            let mut generation = sd.start(&params).await.expect("starts");
            while generation.step().await.expect("steps") {}
            generation.image(sd).await.expect("an image")
        });
        let rgb: Vec<u8> = image.rgba.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        readings.insert(job.file.clone(), read(&rgb, SIDE, SIDE));
    }
    let scores = Scores::of(&prompts, set, |file| Ok::<_, String>(readings.get(file).cloned())).expect("scores");
    println!("{scores}");
    scores
}

fn share(share: scores::Share) -> f64 {
    share.right as f64 / share.of as f64
}

/// The bounds hold for hundreds of pictures; so few may be a little off (one in fifteen).
#[test]
fn prompts_mean_what_they_say() {
    let sd = open(None);
    assert_eq!(sd.text_width(), 64);
    let attributes = scores(&sd, "attributes", 24);
    assert!(share(attributes.all_attributes) >= 0.9, "{attributes}");
}

#[test]
fn an_embedding_brings_its_concept_and_its_absence_does_not() {
    let sd = open(None);
    let with = scores(&sd, "concepts", 15).concept.expect("concepts");
    let without = scores(&sd, "concepts-without", 15).concept.expect("concepts");
    assert!(share(with) >= 0.8, "with the embedding: {with}");
    assert!(share(without) <= 0.25, "with the word left out: {without}");
}
