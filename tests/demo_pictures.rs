//! The published demo model draws what prompts and embeddings say: a part of what `examples/demo_model` measures, with the
//! very files that the page offers.

#[path = "../examples/demo_model/attributes.rs"]
mod attributes;
#[path = "../examples/demo_model/held_out.rs"]
#[allow(dead_code, reason = "demo.rs uses all of it")]
mod held_out;
#[path = "../examples/demo_model/scores.rs"]
#[allow(dead_code, reason = "demo.rs uses all of it")]
mod scores;

#[path = "support/demo.rs"]
mod published;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use attributes::Reading;
use published::demo;
use scores::{Prompts, Scores};
use wordbrush::files::textual_inversion::Embedding;
use wordbrush::pipeline::{Params, StableDiffusion};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn embeddings() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("www/demo/embeddings")).expect("the embeddings");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn add(sd: &mut StableDiffusion, path: &Path) -> Vec<Rc<Embedding>> {
    let name = path.file_name().expect("a name").to_string_lossy();
    sd.add_embedding(&name, &std::fs::read(path).expect("an embedding")).unwrap_or_else(|e| panic!("{e}"))
}

/// Half of what the model card's pictures take: on a slow CPU adapter a picture takes half a minute with all of them.
const STEPS: usize = 10;

fn draw(sd: &StableDiffusion, prompt: &str, negative: &str, seed: u64) -> Reading {
    let params = Params {
        prompt: prompt.to_string(),
        negative_prompt: negative.to_string(),
        cfg: 2.0,
        steps: STEPS,
        width: 128,
        height: 128,
        seed,
        ..Params::default()
    };
    let image = pollster::block_on(async {
        let mut generation = sd.start(&params).await.unwrap_or_else(|e| panic!("{e}"));
        while generation.step().await.unwrap_or_else(|e| panic!("{e}")) {}
        generation.image(sd).await.unwrap_or_else(|e| panic!("{e}"))
    });
    let rgb: Vec<u8> = image.rgba.chunks(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    attributes::read(&rgb, 128, 128)
}

fn prompts() -> Prompts {
    let path = root().join("examples/demo_model/prompts.json");
    serde_json::from_slice(&std::fs::read(path).expect("prompts.json")).expect("prompts")
}

/// The scores of `count` pictures, evenly from a set.
fn scores(sd: &StableDiffusion, prompts: &Prompts, set: &str, count: usize) -> Scores {
    let jobs = prompts.jobs(set);
    let chosen = (0..count).map(|n| &jobs[n * jobs.len() / count]);
    let drawn: HashMap<&str, Reading> =
        chosen.map(|job| (job.file.as_str(), draw(sd, &job.prompt, "", job.seed))).collect();
    let scores = Scores::of(prompts, set, |file| Ok::<_, String>(drawn.get(file).cloned())).expect("scores");
    println!("{scores}");
    scores
}

/// The bounds leave room for chance in so few pictures; the model card has the numbers of all.
#[test]
fn pictures_show_what_the_prompts_say() {
    let scores = scores(&demo(), &prompts(), "attributes", 6);
    let share = scores.all_attributes;
    assert!(share.right * 100 >= share.of * 75, "{share}");
}

#[test]
fn embeddings_bring_their_concepts() {
    let (mut sd, prompts) = (demo(), prompts());
    let missing = scores(&sd, &prompts, "concepts-missing", 2).concept.expect("concepts");
    embeddings().iter().for_each(|path| drop(add(&mut sd, path)));
    let there = scores(&sd, &prompts, "concepts", 6).concept.expect("concepts");
    assert!(there.right * 100 >= there.of * 65, "{there}");
    let without = scores(&sd, &prompts, "concepts-without", 2).concept.expect("concepts");
    assert!(missing.right + without.right <= 1, "{missing}, {without}");
}

/// The first of the set `short` whose pictures fail by themselves, in diffusers too.
const FAILING: [usize; 4] = [2, 7, 12, 16];

/// With the embedding as negative prompt fewer of them fail: the bound leaves room for chance, the model card has all.
#[test]
fn the_negative_embedding_mends_failures() {
    let (mut sd, prompts) = (demo(), prompts());
    embeddings().iter().for_each(|path| drop(add(&mut sd, path)));
    let jobs = prompts.jobs("short");
    let failures = |negative: &str| {
        let failed = |i: &&usize| !draw(&sd, &jobs[**i].prompt, negative, jobs[**i].seed).failure.is_empty();
        FAILING.iter().filter(failed).count()
    };
    let (without, with) = (failures(""), failures(&prompts.negative));
    println!("{without} of {} fail, with {} as negative prompt {with}", FAILING.len(), prompts.negative);
    assert!(without >= 3 && with * 3 <= without * 2, "{without} fail, {with} with the embedding");
}

#[test]
fn every_example_embedding_is_read() {
    let mut sd = demo();
    let files = embeddings();
    for ending in ["pt", "bin", "safetensors", "png"] {
        assert!(files.iter().any(|path| path.extension().is_some_and(|found| found == ending)), "no .{ending}");
    }
    for path in &files {
        let added = add(&mut sd, path);
        let stem = path.file_stem().expect("a name").to_string_lossy();
        assert_eq!(added.iter().map(|e| (e.name.as_str(), e.width)).collect::<Vec<_>>(), [(&*stem, 64)]);
    }
}
