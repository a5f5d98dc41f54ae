//! The demo model's measure: the reader of pictures is right about pictures it was not made with, and the prompts ask for
//! what they say.

#[path = "../examples/demo_model/attributes.rs"]
mod attributes;
#[path = "../examples/demo_model/held_out.rs"]
mod held_out;
#[path = "../examples/demo_model/scores.rs"]
mod scores;

use std::path::{Path, PathBuf};

use attributes::{Reading, read};
use held_out::{ATTRIBUTES, Label, Picture, compare, read_sheet};
use scores::{Prompts, SETS, Scores, Share};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sample() -> Vec<(Picture, Label)> {
    read_sheet(&root().join("tests/golden/demo/held_out")).unwrap_or_else(|e| panic!("{e}"))
}

fn prompts() -> Prompts {
    let path: PathBuf = root().join("examples/demo_model/prompts.json");
    serde_json::from_slice(&std::fs::read(path).expect("prompts.json")).expect("prompts")
}

/// A picture as a VAE gives it back: blurred, with noise, and its colours a little off.
fn degraded(picture: &Picture, seed: u32) -> Picture {
    let (w, h) = (picture.width, picture.height);
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let off = [uniform(), uniform(), uniform()].map(|u| 8.0 * u - 4.0);
    let mut blurred: Vec<f32> = picture.rgb.iter().map(|&byte| f32::from(byte)).collect();
    // Two 3×3 binomial filters have a deviation of one pixel.
    for _ in 0..2 {
        for step in [1, w] {
            let before = blurred.clone();
            for (i, value) in blurred.iter_mut().enumerate() {
                let (pixel, channel) = (i / 3, i % 3);
                let (at, end) = if step == 1 { (pixel % w, w) } else { (pixel / w, h) };
                let low = if at > 0 { pixel - step } else { pixel };
                let high = if at + 1 < end { pixel + step } else { pixel };
                *value = 0.25 * before[3 * low + channel] + 0.5 * before[i] + 0.25 * before[3 * high + channel];
            }
        }
    }
    let noisy = blurred.iter().enumerate().map(|(i, value)| {
        // Four uniforms make a bell of deviation 6.
        let noise: f32 = (0..4).map(|_| uniform() - 0.5).sum::<f32>() * 10.4;
        (value + off[i % 3] + noise).round().clamp(0.0, 255.0) as u8
    });
    Picture { width: w, height: h, rgb: noisy.collect() }
}

/// Least right of a hundred, by attribute.
fn assert_right(pictures: impl Iterator<Item = (Picture, Label)>, least: f64) {
    let mut shares = [Share::default(); ATTRIBUTES.len()];
    for (picture, label) in pictures {
        let reading = read(&picture.rgb, picture.width, picture.height);
        for (share, right) in shares.iter_mut().zip(compare(&reading, &label)) {
            right.into_iter().for_each(|right| share.add(right));
        }
    }
    for (name, share) in ATTRIBUTES.iter().zip(&shares) {
        println!("{name:12} {share}");
        assert!(share.of >= 30, "{name} is seen in {} pictures only", share.of);
        assert!(share.right as f64 >= least / 100.0 * share.of as f64, "{name}: {share}");
    }
}

#[test]
fn the_reader_is_right_about_clean_pictures() {
    assert_right(sample().into_iter(), 98.0);
}

#[test]
fn the_reader_is_right_about_degraded_pictures() {
    let pictures = sample().into_iter().enumerate();
    assert_right(pictures.map(|(i, (picture, label))| (degraded(&picture, i as u32), label)), 96.0);
}

/// A reader that finds something everywhere would make a model look good that draws nothing.
#[test]
fn nothing_and_noise_are_not_shapes() {
    let flat = vec![186; 3 * 128 * 128];
    let reading = read(&flat, 128, 128);
    assert_eq!((reading.shape, reading.count, reading.background), ("", 0, "gray"));
    let mut state = 7u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let noise: Vec<u8> = (0..3 * 128 * 128).map(|_| byte()).collect();
    assert_eq!(read(&noise, 128, 128).shape, "");
    // Two shapes that run into each other are none of the eight.
    let mut merged = flat;
    for i in 0..128 * 128 {
        let (x, y) = ((i % 128) as i32, (i / 128) as i32);
        if (20..60).contains(&x) && (20..60).contains(&y) || (x - 75).pow(2) + (y - 75).pow(2) < 600 {
            merged[3 * i..3 * i + 3].copy_from_slice(&[225, 23, 23]);
        }
    }
    assert_eq!(read(&merged, 128, 128).shape, "");
}

/// The prompts ask for words they contain, and a picture that has it all is all right.
#[test]
fn prompts_ask_for_what_they_say() {
    let prompts = prompts();
    assert!(prompts.attributes.len() >= 200 && prompts.negative.starts_with("embedding:"));
    assert!(prompts.short.len() >= 200);
    for prompt in prompts.attributes.iter().chain(&prompts.short) {
        let asks = &prompt.asks;
        let words = [&asks.shape, &asks.colour, &asks.style, &asks.background, &asks.size];
        for word in words.into_iter().flatten() {
            assert!(prompt.prompt.contains(word.as_str()), "{} does not say {word}", prompt.prompt);
        }
        assert!(!prompt.prompt.contains("faded") && !prompt.prompt.contains("broken"));
    }
    for concept in &prompts.concepts {
        for prompt in &concept.prompts {
            assert!(prompt.prompt.contains("{}") && !prompt.without.contains("{}"), "{}", prompt.prompt);
        }
    }
    let mut files: Vec<String> = SETS.iter().flat_map(|set| prompts.jobs(set)).map(|job| job.file).collect();
    let all = files.len();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), all, "two pictures have the same name");
    let mut seeds: Vec<u64> = prompts.jobs("concepts").iter().map(|job| job.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), prompts.jobs("concepts").len(), "the same noise twice makes the same picture twice");
    let called = &prompts.jobs("concepts")[0];
    assert!(called.prompt.contains("embedding:teal-star") && called.concept.is_some(), "{called:?}");
}

#[test]
fn scores_count_what_is_right() {
    let prompts = prompts();
    let teal_star =
        |hue| Reading { shape: "star", colour: "teal", hue, style: "striped", count: 1, ..Reading::default() };
    let score = |reading: &Reading| {
        Scores::of(&prompts, "concepts", |file| {
            let wanted = file.starts_with("concepts-teal-star-0");
            Ok::<_, String>(wanted.then(|| reading.clone()))
        })
        .expect("scores")
    };
    let right = score(&teal_star(180.0));
    assert_eq!((right.pictures, right.missing), (10, 150));
    assert_eq!(right.concept, Some(Share { right: 10, of: 10 }));
    assert_eq!(right.failures, Share { right: 0, of: 10 });
    let asked_one = prompts.concepts[0].prompts[..10].iter().filter(|p| p.asks.count == Some(1)).count();
    assert_eq!(right.attributes["count"], Share { right: asked_one, of: 10 });
    // 172° is meant, 14° off is too far.
    assert_eq!(score(&teal_star(187.0)).concept, Some(Share { right: 0, of: 10 }));
    let failed = score(&Reading { failure: "cut", shape: "moon", ..teal_star(172.0) });
    assert_eq!((failed.concept, failed.failures), (Some(Share { right: 0, of: 10 }), Share { right: 10, of: 10 }));
    assert!(failed.to_string().contains("10 cut"), "{failed}");
}

#[test]
fn the_model_is_a_small_download() {
    let size = std::fs::metadata(root().join("www/demo/shapes.safetensors.gz")).expect("the model").len();
    assert!(size <= 12_000_000, "{size} bytes");
}
