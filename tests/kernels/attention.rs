use wordbrush::gpu::Storage;
use wordbrush::kernels::{Attention, Rows, Seen, Split, attention_on};

use crate::support::{Numbers, STORAGES, close, gpu, gpu_in_parts, run, tensor};

#[derive(Clone, Copy)]
struct Case {
    batch: usize,
    queries: usize,
    key_rows: usize,
    /// How many keys of each prompt count, the first item's prompt, and how many items see one.
    keys: Option<([usize; 2], usize, usize)>,
    heads: usize,
    head_dim: usize,
    causal: bool,
    /// The queries are an equal part of the batch, so many times over.
    times: usize,
}

/// Loop by loop, in f64. `q` rows are `stride` wide, the wanted part starts at `q_offset`; likewise `kv`.
fn reference(case: &Case, q: &[f32], kv: &[f32]) -> Vec<f32> {
    let Case { batch, queries, key_rows, heads, head_dim, .. } = *case;
    let width = heads * head_dim;
    let mut result = Vec::new();
    for b in 0..batch {
        let item = case.keys.map_or(b, |(_, first, each)| first + b / each);
        let keys = case.keys.map_or(key_rows, |(keys, ..)| keys[item]);
        for row in 0..queries {
            let keys = if case.causal { keys.min(row + 1) } else { keys };
            for head in 0..heads {
                let q_at = (b % (batch / case.times) * queries + row) * (width + 4) + 4 + head * head_dim;
                let k_at = |key: usize| (item * key_rows + key) * 2 * width + head * head_dim;
                let scores: Vec<f64> = (0..keys)
                    .map(|key| {
                        (0..head_dim).map(|i| f64::from(q[q_at + i]) * f64::from(kv[k_at(key) + i])).sum::<f64>()
                    })
                    .map(|score: f64| score / (head_dim as f64).sqrt())
                    .collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
                let total: f64 = weights.iter().sum();
                for i in 0..head_dim {
                    let value = |key: usize| f64::from(kv[k_at(key) + width + i]);
                    let sum: f64 = weights.iter().enumerate().map(|(key, weight)| weight * value(key)).sum();
                    result.push((sum / total) as f32);
                }
            }
        }
    }
    result
}

fn check(case: &Case) {
    check_on(case, &all(case.head_dim));
}

/// Every split in one of the storages, each in another than the one before: a number's storage is known to the loads and stores alone,
/// and drivers that are programs on a CPU compile for seconds.
fn check_in_turn(turn: usize, case: &Case) {
    for (split, storage) in all(case.head_dim).into_iter().zip(STORAGES.into_iter().cycle().skip(turn)) {
        check_stored(case, &[split], storage);
    }
}

fn check_on(case: &Case, splits: &[Split]) {
    for storage in STORAGES {
        check_stored(case, splits, storage);
    }
}

fn check_stored(case: &Case, splits: &[Split], storage: Storage) {
    let Case { batch, queries, key_rows, heads, head_dim, .. } = *case;
    let width = heads * head_dim;
    let prompts = if case.keys.is_some() { 2 } else { batch };
    let gpu = gpu(storage);
    let mut numbers = Numbers::new(3);
    // Scores of some size, so that the softmax is far from flat.
    let q_items = batch / case.times;
    let q: Vec<f32> = numbers.take(q_items * queries * (width + 4), storage).iter().map(|x| x * 4.0).collect();
    let kv = numbers.take(prompts * key_rows * 2 * width, storage);
    let expected = reference(case, &q, &kv);
    let q = tensor(&gpu, &[q_items, queries, width + 4], storage, &q);
    let kv = tensor(&gpu, &[prompts, key_rows, 2 * width], storage, &kv);
    let lengths = case.keys.map(|([a, b], ..)| tensor(&gpu, &[4], Storage::F32, &[a as f32, b as f32, 0.0, 0.0]));
    let seen = case.keys.zip(lengths.as_ref());
    let seen = seen.map(|((_, first, each), lengths)| Seen { lengths, first, each, times: case.times });
    for &split in splits.iter().filter(|split| split.runs_on(&gpu)) {
        let found = run(&gpu, || {
            attention_on(
                split,
                &Attention {
                    q: Rows { tensor: &q, offset: 4 },
                    k: Rows { tensor: &kv, offset: 0 },
                    v: Rows { tensor: &kv, offset: width },
                    heads,
                    head_dim,
                    seen,
                    causal: case.causal,
                },
            )
        });
        close(&format!("{split:?} {queries}×{key_rows} d{head_dim}"), storage, &found, &expected);
    }
}

/// Every way to split heads of so many numbers.
fn all(head_dim: usize) -> Vec<Split> {
    let tiled = Split::TILED.into_iter().filter(|split| split.fits(head_dim));
    [Split::Rows, Split::Wide, Split::Lanes(4), Split::Lanes(8)]
        .into_iter()
        .chain(tiled)
        .chain(shuffled(head_dim))
        .collect()
}

/// A dispatch in parts gives the same bits as a whole one.
#[test]
fn dispatches_in_parts() {
    for split in [
        Split::Rows,
        Split::Wide,
        Split::Lanes(8),
        Split::Tiled { each: 2, team: 1 },
        Split::Tiled { each: 1, team: 4 },
    ] {
        if !split.runs_on(&gpu(Storage::F16)) {
            continue;
        }
        let results = [gpu(Storage::F16), gpu_in_parts(Storage::F16)].map(|gpu| {
            let mut numbers = Numbers::new(22);
            let [q, k, v] = [300, 90, 90].map(|tokens| {
                tensor(&gpu, &[2, tokens, 96], Storage::F16, &numbers.take(2 * tokens * 96, Storage::F16))
            });
            let rows = |tensor| Rows { tensor, offset: 0 };
            let args =
                Attention { q: rows(&q), k: rows(&k), v: rows(&v), heads: 3, head_dim: 32, seen: None, causal: false };
            let before = gpu.traffic().dispatches;
            let found = run(&gpu, || attention_on(split, &args));
            (gpu.traffic().dispatches - before, found)
        });
        assert!(results[0].0 == 1 && results[1].0 > 2, "{split}: {} and {} dispatches", results[0].0, results[1].0);
        assert!(results[0].1 == results[1].1, "{split}");
    }
}

/// Lavapipe's threads are in subgroups, so that nothing of the above is left out.
#[test]
fn subgroups_are_there() {
    assert!(gpu(Storage::F16).adapter().subgroups >= 4, "{:?}", gpu(Storage::F16).adapter());
}

/// Those within subgroups.
fn shuffled(head_dim: usize) -> impl Iterator<Item = Split> {
    Split::SHUFFLED.into_iter().filter(move |split| split.fits(head_dim))
}

const BASE: Case =
    Case { batch: 2, queries: 5, key_rows: 7, keys: None, heads: 3, head_dim: 8, causal: false, times: 1 };

#[test]
fn sizes_that_fit_no_tile() {
    check(&BASE);
    check(&Case { batch: 1, queries: 1, key_rows: 1, heads: 1, head_dim: 4, ..BASE });
    check(&Case { queries: 67, key_rows: 131, heads: 2, head_dim: 40, ..BASE });
    check_in_turn(0, &Case { batch: 1, queries: 9, key_rows: 33, heads: 2, head_dim: 160, ..BASE });
    check_in_turn(1, &Case { queries: 131, key_rows: 35, heads: 1, head_dim: 80, ..BASE });
}

#[test]
fn the_heads_of_the_vae() {
    check_on(
        &Case { batch: 1, queries: 10, key_rows: 70, heads: 1, head_dim: 512, ..BASE },
        &[Split::Wide, Split::Lanes(4), Split::Lanes(8)],
    );
    check_on(
        &Case { batch: 1, queries: 6, key_rows: 6, heads: 1, head_dim: 260, ..BASE },
        &[Split::Wide, Split::Lanes(4), Split::Lanes(8)],
    );
}

#[test]
fn causal() {
    check_in_turn(2, &Case { queries: 77, key_rows: 77, head_dim: 64, causal: true, ..BASE });
}

#[test]
fn prompts_of_different_length() {
    check(&Case { key_rows: 154, keys: Some(([77, 154], 0, 1)), head_dim: 12, ..BASE });
    check(&Case { key_rows: 154, keys: Some(([154, 3], 0, 1)), head_dim: 12, ..BASE });
}

#[test]
fn prompts_that_several_items_see() {
    check(&Case { batch: 6, key_rows: 9, keys: Some(([9, 4], 0, 3)), ..BASE });
    check(&Case { batch: 3, key_rows: 9, keys: Some(([9, 4], 1, 3)), ..BASE });
    check(&Case { batch: 1, key_rows: 9, keys: Some(([9, 4], 1, 1)), ..BASE });
    // Three items, each shown two prompts.
    check(&Case { batch: 6, key_rows: 9, keys: Some(([9, 4], 0, 3)), times: 2, ..BASE });
}

#[test]
fn scores_far_apart_do_not_overflow() {
    let gpu = gpu(Storage::F32);
    let q = tensor(&gpu, &[1, 1, 4], Storage::F32, &[300.0; 4]);
    let k = tensor(&gpu, &[1, 2, 4], Storage::F32, &[-300.0, -300.0, -300.0, -300.0, 300.0, 300.0, 300.0, 300.0]);
    let v = tensor(&gpu, &[1, 2, 4], Storage::F32, &[1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    for split in all(4).into_iter().filter(|split| split.runs_on(&gpu)) {
        let rows = |tensor| Rows { tensor, offset: 0 };
        let args =
            Attention { q: rows(&q), k: rows(&k), v: rows(&v), heads: 1, head_dim: 4, seen: None, causal: false };
        assert_eq!(run(&gpu, || attention_on(split, &args)), [2.0, 3.0, 4.0, 5.0]);
    }
}
