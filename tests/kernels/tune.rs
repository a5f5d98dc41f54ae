use std::cell::RefCell;
use std::rc::Rc;

use wordbrush::gpu::{Gpu, Options, Preparing, Storage, Table};
use wordbrush::kernels::{Attention, Rows, Split, Tile, attention, attention_on, gemm, gemm_on, tune};

use crate::gemm::{convolution, plain};
use crate::support::{Numbers, close, run, tensor};

/// The kernels of GPUs, whatever the adapter is.
fn gpu() -> Gpu {
    let options = Options { storage: Some(Storage::F32), software: Some(false), ..Options::default() };
    pollster::block_on(Gpu::open(options)).unwrap_or_else(|error| panic!("{}: {error}", error.code.name()))
}

#[test]
fn the_fastest_tile_shapes_are_measured_once_and_kept() {
    let gpu = gpu();
    let mut numbers = Numbers::new(19);
    let mut random =
        |shape: &[usize]| tensor(&gpu, shape, Storage::F32, &numbers.take(shape.iter().product(), Storage::F32));
    let (x, rows) = (random(&[1, 8, 8, 64]), random(&[1, 64, 64]));
    let (filter, matrix) = (random(&[3, 3, 64, 64]), random(&[1, 1, 64, 68]));
    let calls = || (gemm(&convolution(&x, &filter, false, None)), gemm(&plain(&rows, &matrix)));
    let tuned = |gpu: &Gpu| pollster::block_on(tune(gpu, calls)).unwrap_or_else(|e| panic!("{e}"));

    tuned(&gpu);
    assert!(gpu.table().variants.is_empty(), "measuring is off at first");
    gpu.set_measuring(true);
    tuned(&gpu);
    let table = gpu.table();
    let problems: Vec<&str> = table.variants.keys().map(String::as_str).collect();
    let expected =
        ["1×1×64×(64+0)→68, filter 1×1, phases 1, stride 1", "1×8×8×(64+0)→64, filter 3×3, phases 1, stride 1"];
    assert_eq!(problems, expected);
    assert!(table.variants.values().all(|name| Tile::named(name).is_some()), "{table:?}");
    assert!(gpu.survey(calls).is_empty(), "what is known is not asked again");

    // The choice moves the result by no more than the order of a sum, and the same table gives the same bits.
    let product = || run(&gpu, || gemm(&convolution(&x, &filter, false, None)));
    let found = product();
    assert!(found == product());
    close("tuned", Storage::F32, &found, &run(&gpu, || gemm_on(Tile::DIRECT, &convolution(&x, &filter, false, None))));

    let read = Table::from_json(&table.to_json()).expect("our own");
    assert_eq!(read, table);
    let other = Gpu::clone(&self::gpu());
    assert!(other.use_table(read) && other.table() == table, "the next device of this name takes it as it is");
    let foreign = Table { device: "another".to_string(), ..table };
    assert!(!other.use_table(foreign));
    assert_eq!([Table::from_json("{}"), Table::from_json("no JSON")], [None, None]);
}

/// Attention too, but not what is too small to gain from it: there what would be guessed is noted, so that it is not asked again.
#[test]
fn attention_is_measured_where_it_is_large() {
    let gpu = gpu();
    let mut numbers = Numbers::new(21);
    let mut random =
        |shape: &[usize]| tensor(&gpu, shape, Storage::F32, &numbers.take(shape.iter().product(), Storage::F32));
    let (large, small) = (random(&[1, 512, 512]), random(&[1, 12, 96]));
    let args = |tensor, heads, head_dim| {
        let rows = Rows { tensor, offset: 0 };
        Attention { q: rows, k: rows, v: rows, heads, head_dim, seen: None, causal: false }
    };
    let (large, small) = (args(&large, 8, 64), args(&small, 2, 48));
    let calls = || (attention(&large), attention(&small));
    gpu.set_measuring(true);
    pollster::block_on(tune(&gpu, calls)).unwrap_or_else(|e| panic!("{e}"));
    let variants = gpu.table().variants;
    let splits = ["self-attention 1×512×512, 8 heads of 64", "self-attention 1×12×12, 2 heads of 48"]
        .map(|problem| variants.get(problem).and_then(|name| Split::named(name)));
    assert!(variants.len() == 2 && splits[0].is_some_and(|split| split.fits(64)), "{variants:?}");
    assert_eq!(splits[1], Some(Split::Tiled { each: 1, team: 1 }));
    assert!(gpu.survey(calls).is_empty(), "what is known is not asked again");
    close("tuned", Storage::F32, &run(&gpu, || attention(&large)), &run(&gpu, || attention_on(Split::Rows, &large)));
}

#[test]
fn every_device_has_a_table_of_its_own() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tables");
    let _ = std::fs::remove_dir_all(&folder);
    let table = |device: &str, variant: &str| {
        let variants = [("a problem".to_string(), variant.to_string())].into();
        Table { device: device.to_string(), variants }
    };
    let [one, other] = [table("one", "64×64×16 single"), table("another", "1 rows by teams of 2")];
    assert_eq!(Table::load(&folder, "one"), None);
    for table in [&one, &other] {
        table.save(&folder).expect("a folder to write to");
    }
    assert_eq!([Table::load(&folder, "one"), Table::load(&folder, "another")], [Some(one), Some(other)]);
}

/// A table that names what is no tile shape, or one that does not fit, is no harm: what would be guessed is taken.
#[test]
fn a_table_is_not_trusted() {
    let gpu = gpu();
    let (x, matrix) = (vec![1.0; 4 * 8], vec![0.5; 8 * 12]);
    let (x, matrix) = (tensor(&gpu, &[1, 4, 8], Storage::F32, &x), tensor(&gpu, &[1, 1, 8, 12], Storage::F32, &matrix));
    let problem = gpu.survey(|| gemm(&plain(&x, &matrix))).swap_remove(0).0;
    for variant in [
        "",
        "1×1×1 single",
        "64×64×16 single /4000000000",
        "128×128×32 single /3",
        "64×64×16 single /8",
        "64×64×32 cooperative",
    ] {
        let mut table = gpu.table();
        table.variants.insert(problem.clone(), variant.to_string());
        assert!(gpu.use_table(table));
        assert_eq!(run(&gpu, || gemm(&plain(&x, &matrix))), [4.0; 48], "{variant}");
    }
}

#[test]
fn kernels_are_compiled_before_they_are_needed_and_told_one_by_one() {
    let gpu = gpu();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let listener = heard.clone();
    gpu.listen(Rc::new(move |what, done, total| listener.borrow_mut().push((what, done, total))));
    let mut numbers = Numbers::new(20);
    let mut random =
        |shape: &[usize]| tensor(&gpu, shape, Storage::F32, &numbers.take(shape.iter().product(), Storage::F32));
    let (x, filter) = (random(&[1, 8, 8, 64]), random(&[3, 3, 64, 64]));
    let tiles = [Tile::SQUARE, Tile::DIRECT, Tile { depth: 32, ..Tile::SQUARE }];
    let calls = || tiles.map(|tile| gemm_on(tile, &convolution(&x, &filter, false, None)));
    let before = gpu.allocated();
    let prepare = || pollster::block_on(gpu.prepare(calls)).unwrap_or_else(|e| panic!("{e}"));
    prepare();
    assert_eq!(*heard.borrow(), [0, 1, 2, 3].map(|done| (Preparing::Kernels, done, 3)));
    assert_eq!(gpu.allocated(), before, "nothing else is made");
    prepare();
    assert_eq!(heard.borrow().len(), 4, "what is there is not made again");
    let [found, expected, other] =
        tiles.map(|tile| run(&gpu, || gemm_on(tile, &convolution(&x, &filter, false, None))));
    close("prepared", Storage::F32, &found, &expected);
    close("prepared", Storage::F32, &other, &expected);
}
