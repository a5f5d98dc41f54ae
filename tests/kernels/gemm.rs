use wordbrush::gpu::{Gpu, Storage, Tensor};
use wordbrush::kernels::{
    Activation, Gemm, Geometry, Measure, Memory, RowBias, Strip, Tile, gemm_measured_on, gemm_on,
};

use crate::support::{Numbers, STORAGES, close, gpu, gpu_in_parts, run, tensor};

#[derive(Clone, Copy)]
struct Case {
    input: [usize; 3], // B, H, W
    c1: usize,
    c2: usize,
    n: usize,
    kernel: usize,
    stride: usize,
    /// Zeros before the input, where they are not half the filter.
    padding: Option<usize>,
    stretched: Option<(usize, usize)>,
    bias: bool,
    row_bias: bool,
    residual: bool,
    activation: Activation,
}

const LINEAR: Case = Case {
    input: [1, 1, 1],
    c1: 4,
    c2: 0,
    n: 4,
    kernel: 1,
    stride: 1,
    padding: None,
    stretched: None,
    bias: false,
    row_bias: false,
    residual: false,
    activation: Activation::None,
};

/// The numbers of a case, as the kernel and the reference both see them.
struct Data {
    input: Vec<f32>,
    input2: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    rows: Vec<f32>,
    residual: Vec<f32>,
    out: [usize; 3],
}

const STEP: usize = 2;

/// Every tile shape that differs from the others on a device of this storage.
pub fn tiles(gpu: &Gpu) -> Vec<Tile> {
    let differs = |tile: &Tile| tile.memory != Memory::Stored || gpu.storage() != Storage::F32;
    let all: Vec<Tile> = Tile::SHARED.into_iter().chain(Tile::TEAMED).filter(differs).collect();
    assert!(
        all.iter().all(|tile| tile.fits(gpu.storage(), gpu.workgroup_memory())),
        "this adapter has too little memory"
    );
    [vec![Tile::DIRECT], lanes(gpu), all, cooperative(gpu)].concat()
}

/// Those that subgroups as small as this device's can have: of each height, and of four and of eight columns to a thread.
pub fn lanes(gpu: &Gpu) -> Vec<Tile> {
    let some = [(4, 2, 4), (4, 2, 16), (4, 1, 32), (8, 2, 8), (8, 2, 16), (8, 1, 32)];
    let some = some.map(|(threads, vectors, rows)| Tile::lanes(threads, vectors, rows));
    some.into_iter().filter(|tile| tile.threads() <= gpu.adapter().subgroups).collect()
}

/// Those on matrix units, where this device has any. Debian 12's lavapipe has none; where the variable WORDBRUSH_MATRICES is set
/// there must be some.
pub fn cooperative(gpu: &Gpu) -> Vec<Tile> {
    let there = gpu.adapter().matrices.is_some();
    assert!(there || std::env::var_os("WORDBRUSH_MATRICES").is_none(), "no matrix units on {:?}", gpu.adapter());
    let fits = |tile: &Tile| there && gpu.storage() == Storage::F16 && tile.fits(gpu.storage(), gpu.workgroup_memory());
    Tile::COOPERATIVE.into_iter().filter(fits).collect()
}

/// One of each kind of them: where it is the epilogue that is looked at.
pub const FEW: [Tile; 5] = [
    Tile::DIRECT,
    Tile::SQUARE,
    Tile { rows: 128, columns: 128, memory: Memory::Stored, ..Tile::SQUARE },
    Tile::TEAMED[0],
    // So low that in the pictures of these tests it leaves out the taps that see padding alone.
    Tile::lanes(4, 2, 4),
];

/// The same with two on matrix units, where the device has them: without teams and with.
pub fn few(gpu: &Gpu) -> Vec<Tile> {
    let cooperative = cooperative(gpu);
    FEW.into_iter().chain(cooperative.first().copied()).chain(cooperative.last().copied()).collect()
}

/// Those of them that keep statistics of what they make.
pub fn measuring(gpu: &Gpu) -> Vec<Tile> {
    few(gpu).into_iter().filter(|tile| !matches!(tile.memory, Memory::None | Memory::Lanes(_))).collect()
}

/// One in slices of each kind.
pub fn in_slices(gpu: &Gpu, slices: usize) -> Vec<Tile> {
    [Tile::SQUARE].into_iter().chain(cooperative(gpu).into_iter().take(1)).map(|tile| Tile { slices, ..tile }).collect()
}

fn data(case: &Case, storage: Storage) -> Data {
    let [b, h, w] = case.input;
    let (up_h, up_w) = case.stretched.unwrap_or((h, w));
    let pad = case.padding.unwrap_or(case.kernel / 2);
    let side = |up: usize| (up + pad + case.kernel / 2 - case.kernel) / case.stride + 1;
    let out = [b, side(up_h), side(up_w)];
    let pixels = out.iter().product::<usize>();
    let width = if case.activation == Activation::Geglu { case.n / 2 } else { case.n };
    let mut numbers = Numbers::new(7);
    Data {
        input: numbers.take(b * h * w * case.c1, storage),
        input2: numbers.take(b * h * w * case.c2, storage),
        weight: numbers.take(case.kernel * case.kernel * (case.c1 + case.c2) * case.n, storage),
        bias: numbers.take(case.n, Storage::F32),
        rows: numbers.take(3 * case.n, storage),
        residual: numbers.take(pixels * width, storage),
        out,
    }
}

/// Loop by loop, in f64.
fn reference(case: &Case, d: &Data) -> Vec<f32> {
    let [_, h, w] = case.input;
    let [b, out_h, out_w] = d.out;
    let (up_h, up_w) = case.stretched.unwrap_or((h, w));
    let (channels, pad) = (case.c1 + case.c2, case.padding.unwrap_or(case.kernel / 2));
    let mut result = Vec::new();
    for pixel in 0..b * out_h * out_w {
        let (item, y, x) = (pixel / (out_h * out_w), pixel / out_w % out_h, pixel % out_w);
        let mut row = vec![0.0f64; case.n];
        for ky in 0..case.kernel {
            for kx in 0..case.kernel {
                let (iy, ix) = (y * case.stride + ky, x * case.stride + kx);
                if iy < pad || ix < pad || iy - pad >= up_h || ix - pad >= up_w {
                    continue;
                }
                let from = (item * h + (iy - pad) * h / up_h) * w + (ix - pad) * w / up_w;
                for c in 0..channels {
                    let value =
                        if c < case.c1 { d.input[from * case.c1 + c] } else { d.input2[from * case.c2 + c - case.c1] };
                    for (n, sum) in row.iter_mut().enumerate() {
                        let at = ((ky * case.kernel + kx) * channels + c) * case.n + n;
                        *sum += f64::from(value) * f64::from(d.weight[at]);
                    }
                }
            }
        }
        for (n, sum) in row.iter_mut().enumerate() {
            *sum += if case.bias { f64::from(d.bias[n]) } else { 0.0 };
            *sum += if case.row_bias { f64::from(d.rows[STEP * case.n + n]) } else { 0.0 };
        }
        let width = result.len();
        result.extend(activated(case.activation, &row).iter().map(|&x| x as f32));
        if case.residual {
            let range = width..result.len();
            for (x, r) in result[range.clone()].iter_mut().zip(&d.residual[range]) {
                *x += r;
            }
        }
        if case.activation == Activation::Relu {
            result[width..].iter_mut().for_each(|x| *x = x.max(0.0));
        }
    }
    result
}

fn activated(activation: Activation, row: &[f64]) -> Vec<f64> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        // A ReLU follows the residual, which is not here yet.
        Activation::None | Activation::Relu => row.to_vec(),
        Activation::Silu => row.iter().map(|&x| x * sigmoid(x)).collect(),
        Activation::QuickGelu => row.iter().map(|&x| x * sigmoid(1.702 * x)).collect(),
        Activation::Geglu => row.chunks(8).flat_map(|pair| (0..4).map(move |i| pair[i] * gelu(pair[i + 4]))).collect(),
    }
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
}

fn check(case: &Case) {
    for storage in STORAGES {
        let gpu = gpu(storage);
        check_on(&few(&gpu), &gpu, case);
    }
}

/// The case on one tile shape of each kind, in one of the storages each: an epilogue sees numbers after they are loaded and before they are
/// stored, and drivers that are programs on a CPU compile for seconds. The next case has others.
fn check_in_turn(cases: &[Case]) {
    for (i, case) in cases.iter().enumerate() {
        for (j, storage) in STORAGES.into_iter().enumerate() {
            let gpu = gpu(storage);
            let tiles: Vec<Tile> = few(&gpu).into_iter().skip((i + j) % 3).step_by(3).collect();
            check_on(&tiles, &gpu, case);
        }
    }
}

fn check_on(tiles: &[Tile], gpu: &Gpu, case: &Case) {
    let storage = gpu.storage();
    let d = data(case, storage);
    let [b, h, w] = case.input;
    let up = |shape: &[usize], storage, values: &[f32]| tensor(gpu, shape, storage, values);
    let input = up(&[b, h, w, case.c1], storage, &d.input);
    let input2: Option<Tensor> = (case.c2 > 0).then(|| up(&[b, h, w, case.c2], storage, &d.input2));
    let weight = up(&[case.kernel, case.kernel, case.c1 + case.c2, case.n], storage, &d.weight);
    let bias = up(&[case.n], Storage::F32, &d.bias);
    let rows = up(&[3, case.n], storage, &d.rows);
    let step = up(&[4], Storage::F32, &[STEP as f32, 0.0, 0.0, 0.0]);
    let width = d.residual.len() / d.out.iter().product::<usize>();
    let residual = up(&[d.out[0], d.out[1], d.out[2], width], storage, &d.residual);
    let expected = reference(case, &d);
    for &tile in tiles {
        let found = run(gpu, || {
            gemm_on(
                tile,
                &Gemm {
                    input: &input,
                    input2: input2.as_ref(),
                    normal: None,
                    weight: &weight,
                    bias: case.bias.then_some(&bias),
                    row_bias: case.row_bias.then_some(RowBias { rows: &rows, step: &step }),
                    activation: case.activation,
                    residual: case.residual.then_some(&residual),
                    geometry: Geometry {
                        kernel: case.kernel,
                        phases: 1,
                        stride: case.stride,
                        padding: case.padding.unwrap_or(case.kernel / 2),
                        padding_end: case.kernel / 2,
                        stretched: case.stretched,
                    },
                    out: None,
                    strip: None,
                },
            )
        });
        close(&format!("{tile} {:?}→{}", case.input, case.n), storage, &found, &expected);
    }
}

/// Sizes that fill no tile, a chunk or none of it, and one row of a second tile: every tile shape on one device each, so
/// that each is compiled once (sizes are a uniform on software adapters).
#[test]
fn every_tile_shape_on_awkward_sizes() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let tiles = tiles(&gpu);
        println!("{} tile shapes on {:?}", tiles.len(), gpu.adapter());
        for (rows, c, n) in [(1, 4, 4), (3, 12, 20), (77, 64, 68), (65, 132, 64), (130, 36, 8), (129, 20, 132)] {
            check_on(&tiles, &gpu, &Case { input: [1, 1, rows], c1: c, n, bias: true, ..LINEAR });
        }
        let convolution = Case { input: [2, 11, 7], c1: 12, n: 140, kernel: 3, bias: true, ..LINEAR };
        for case in [convolution, Case { c1: 36, n: 68, ..convolution }, Case { input: [1, 1, 1], n: 4, ..convolution }]
        {
            check_on(&tiles, &gpu, &case);
        }
    }
}

/// Winograd's algorithm, where a workgroup computes 32 parts of 2×2 pixels by 32 columns: pictures that fill no workgroup, or
/// more than one, channels that fill no chunk, all epilogues of convolutions.
#[test]
fn winograd() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let tiles = Tile::WINOGRAD;
        assert!(
            tiles.iter().all(|tile| tile.fits(storage, gpu.workgroup_memory())),
            "this adapter has too little memory"
        );
        let base = Case { input: [1, 8, 8], c1: 12, n: 20, kernel: 3, bias: true, ..LINEAR };
        check_on(&tiles, &gpu, &base);
        check_on(&tiles, &gpu, &Case { input: [1, 2, 2], c1: 4, n: 4, bias: false, ..base });
        check_on(&tiles, &gpu, &Case { input: [3, 6, 10], c1: 36, n: 68, ..base });
        check_on(&tiles, &gpu, &Case { input: [1, 2, 134], c1: 20, n: 36, residual: true, ..base });
        check_on(&tiles, &gpu, &Case { input: [2, 14, 12], c1: 16, c2: 8, row_bias: true, residual: true, ..base });
        check_on(&tiles[..1], &gpu, &Case { activation: Activation::Silu, ..base });
        check_on(&tiles[..1], &gpu, &Case { activation: Activation::Relu, residual: true, n: 33 * 4, ..base });
    }
}

/// k in slices: more of them than there are chunks, all epilogues.
#[test]
fn slices_are_added_up() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let tiles = [
            in_slices(&gpu, 2),
            in_slices(&gpu, 7),
            vec![Tile { slices: 3, ..FEW[2] }, Tile { slices: 4, ..Tile::TEAMED[2] }],
        ]
        .concat();
        let base = Case { input: [2, 3, 11], c1: 20, n: 72, kernel: 3, bias: true, ..LINEAR };
        check_on(&tiles, &gpu, &base);
        check_on(&tiles, &gpu, &Case { c2: 8, residual: true, row_bias: true, ..base });
        check_on(&tiles[..1], &gpu, &Case { activation: Activation::Geglu, n: 136, ..base });
        check_on(&tiles[..1], &gpu, &Case { activation: Activation::Relu, residual: true, ..base });
        check_on(&tiles, &gpu, &Case { kernel: 1, c1: 132, activation: Activation::Silu, ..base });
        check_on(&tiles[..1], &gpu, &Case { input: [1, 1, 1], c1: 4, n: 4, kernel: 1, ..base });
    }
}

/// The same bits every time: nothing depends on which workgroup is done first.
#[test]
fn slices_are_added_up_in_their_order() {
    let gpu = gpu(Storage::F32);
    let mut numbers = Numbers::new(17);
    let x = tensor(&gpu, &[1, 9, 9, 64], Storage::F32, &numbers.take(81 * 64, Storage::F32));
    let weight = tensor(&gpu, &[3, 3, 64, 68], Storage::F32, &numbers.take(9 * 64 * 68, Storage::F32));
    let tile = Tile { slices: 5, ..Tile::SQUARE };
    let once = || run(&gpu, || gemm_on(tile, &convolution(&x, &weight, false, None)));
    let first = once();
    for _ in 0..4 {
        assert!(once() == first);
    }
}

#[test]
fn epilogues() {
    let base = Case { input: [2, 3, 5], c1: 20, n: 40, bias: true, ..LINEAR };
    check_in_turn(&[
        Case { residual: true, row_bias: true, ..base },
        Case { activation: Activation::Silu, ..base },
        Case { activation: Activation::QuickGelu, residual: true, ..base },
        Case { activation: Activation::Relu, ..base },
        Case { activation: Activation::Relu, residual: true, bias: false, ..base },
        Case { activation: Activation::Geglu, ..base },
        Case { activation: Activation::Geglu, n: 136, input: [1, 1, 70], ..base },
    ]);
}

#[test]
fn convolutions() {
    let base = Case { input: [2, 7, 5], c1: 12, n: 20, kernel: 3, bias: true, ..LINEAR };
    check(&base);
    check(&Case { input: [1, 1, 1], ..base });
    check(&Case { stride: 2, ..base });
    check(&Case { input: [1, 8, 6], stride: 2, n: 4, ..base });
    check(&Case { c2: 8, row_bias: true, residual: true, ..base });
    // The VAE halves with the zeros at the end alone.
    check(&Case { input: [2, 6, 8], stride: 2, padding: Some(0), ..base });
    check(&Case { input: [1, 7, 5], stride: 2, padding: Some(0), ..base });
    check(&Case { input: [1, 9, 9], c1: 4, n: 72, ..base });
}

#[test]
fn convolutions_of_stretched_inputs() {
    let base = Case { input: [2, 3, 4], c1: 8, n: 12, kernel: 3, bias: true, ..LINEAR };
    check(&Case { stretched: Some((6, 8)), ..base });
    // Skips of odd size: 3 → 5 rows, 4 → 7 columns.
    check(&Case { stretched: Some((5, 7)), ..base });
}

#[test]
fn a_product_can_be_stored_in_f32() {
    let gpu = gpu(Storage::Packed);
    let input = tensor(&gpu, &[1, 1, 2, 4], Storage::Packed, &[1.0; 8]);
    let weight = tensor(&gpu, &[1, 1, 4, 4], Storage::Packed, &[1.0 / 1024.0; 16]);
    let bias = tensor(&gpu, &[4], Storage::F32, &[1.0 + 1.0 / 65536.0; 4]);
    let geometry = Geometry { kernel: 1, phases: 1, stride: 1, padding: 0, padding_end: 0, stretched: None };
    for tile in FEW {
        let found = run(&gpu, || {
            gemm_on(
                tile,
                &Gemm {
                    input: &input,
                    input2: None,
                    normal: None,
                    weight: &weight,
                    bias: Some(&bias),
                    row_bias: None,
                    activation: Activation::None,
                    residual: None,
                    geometry,
                    out: Some(Storage::F32),
                    strip: None,
                },
            )
        });
        assert_eq!(found, [1.0 + 1.0 / 65536.0 + 4.0 / 1024.0; 8]);
    }
}

/// A convolution alone, of a doubled picture perhaps.
pub fn convolution<'a>(input: &'a Tensor, weight: &'a Tensor, doubled: bool, strip: Option<Strip<'a>>) -> Gemm<'a> {
    let stretched = doubled.then(|| (input.shape()[1] * 2, input.shape()[2] * 2));
    Gemm {
        input,
        input2: None,
        normal: None,
        weight,
        bias: None,
        row_bias: None,
        activation: Activation::None,
        residual: None,
        geometry: Geometry { kernel: 3, phases: 1, stride: 1, padding: 1, padding_end: 1, stretched },
        out: None,
        strip,
    }
}

/// Rows of a convolution alone are those of the whole, wherever the strip lies; what is added is added.
#[test]
fn strips_of_convolutions() {
    for (storage, h) in STORAGES.into_iter().flat_map(|storage| [(storage, 11), (storage, 10)]) {
        let (w, c, n) = (8, 32, 32);
        let gpu = gpu(storage);
        let mut numbers = Numbers::new(9);
        let input = tensor(&gpu, &[1, h, w, c], storage, &numbers.take(h * w * c, storage));
        let weight = tensor(&gpu, &[3, 3, c, n], storage, &numbers.take(9 * c * n, storage));
        for doubled in [false, true] {
            let factor = if doubled { 2 } else { 1 };
            let (out_h, out_w) = (h * factor, w * factor);
            let before = numbers.take(out_h * out_w * n, storage);
            let residual = tensor(&gpu, &[1, out_h, out_w, n], storage, &before);
            // Winograd's algorithm wants even heights.
            let winograd = Tile::WINOGRAD.into_iter().filter(|_| !doubled && h % 2 == 0);
            // A tile shape in one of the storages: a strip is a matter of addresses.
            let all = few(&gpu).into_iter().chain(winograd).zip(STORAGES.into_iter().cycle());
            for (tile, _) in all.filter(|(tile, own)| *own == storage || tile.memory == Memory::Cooperative) {
                for add in [false, true] {
                    let added = add.then_some(&residual);
                    let whole = run(&gpu, || {
                        gemm_on(tile, &Gemm { residual: added, ..convolution(&input, &weight, doubled, None) })
                    });
                    let out = tensor(&gpu, &[1, out_h, out_w, n], storage, &before);
                    let (plan, ()) = gpu.record("strips", || {
                        for first in (0..out_h).step_by(4) {
                            let rows = first..(first + 4).min(out_h);
                            let needed = rows.start.saturating_sub(1)..(rows.end + 1).min(out_h);
                            let there = needed.start / factor..needed.end.div_ceil(factor);
                            let above = rows.start - there.start * factor;
                            let strip = Strip { above, out: &out.rows(rows), add };
                            gemm_on(tile, &convolution(&input.rows(there), &weight, doubled, Some(strip)));
                        }
                    });
                    plan.run();
                    let found = pollster::block_on(out.read()).expect("read");
                    close(&format!("{tile} doubled {doubled} add {add}"), storage, &found, &whole);
                }
            }
        }
    }
}

/// A linear layer alone.
pub fn plain<'a>(input: &'a Tensor, weight: &'a Tensor) -> Gemm<'a> {
    let geometry = Geometry { kernel: 1, phases: 1, stride: 1, padding: 0, padding_end: 0, stretched: None };
    Gemm { geometry, ..convolution(input, weight, false, None) }
}

/// A residual that is half of the batch is added to both halves.
#[test]
fn a_residual_comes_again() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let mut numbers = Numbers::new(14);
        let (x, weight) = (numbers.take(2 * 3 * 8, storage), numbers.take(8 * 12, storage));
        let residual = numbers.take(3 * 12, storage);
        let twice = tensor(&gpu, &[2, 3, 12], storage, &residual.repeat(2));
        let once = tensor(&gpu, &[1, 3, 12], storage, &residual);
        let x = tensor(&gpu, &[2, 3, 8], storage, &x);
        let weight = tensor(&gpu, &[1, 1, 8, 12], storage, &weight);
        for tile in few(&gpu) {
            let sum = |residual| run(&gpu, || gemm_on(tile, &Gemm { residual: Some(residual), ..plain(&x, &weight) }));
            assert_eq!(sum(&once), sum(&twice), "{tile} {storage:?}");
        }
    }
}

/// A dispatch in parts gives the same bits as a whole one.
#[test]
fn dispatches_in_parts() {
    for (storage, tile) in
        [(Storage::F32, FEW[1]), (Storage::F16, FEW[2]), (Storage::Packed, FEW[0]), (Storage::Packed, FEW[4])]
    {
        let results = [gpu(storage), gpu_in_parts(storage)].map(|gpu| {
            let mut numbers = Numbers::new(18);
            let x = tensor(&gpu, &[2, 15, 11, 12], storage, &numbers.take(2 * 15 * 11 * 12, storage));
            let weight = tensor(&gpu, &[3, 3, 12, 68], storage, &numbers.take(9 * 12 * 68, storage));
            let before = gpu.traffic().dispatches;
            let product = convolution(&x, &weight, false, None);
            let whole = run(&gpu, || gemm_measured_on(tile, &product, Measure::Channels).tensor);
            let sliced = run(&gpu, || gemm_on(Tile { slices: 2, ..Tile::SQUARE }, &product));
            (gpu.traffic().dispatches - before, [whole, sliced])
        });
        // 330 rows, those of each item by themselves where they are measured; the sums of slices are no product.
        let unmeasured = matches!(tile.memory, Memory::None | Memory::Lanes(_));
        let parts = if unmeasured { 330usize.div_ceil(tile.rows) } else { 2 * 165usize.div_ceil(tile.rows) };
        assert_eq!([results[0].0, results[1].0], [3, parts + 330usize.div_ceil(64) + 1], "{tile}");
        assert!(results[0].1 == results[1].1, "{tile} {storage:?}");
    }
}

#[test]
fn winograd_in_parts() {
    let results = [gpu(Storage::F16), gpu_in_parts(Storage::F16)].map(|gpu| {
        let mut numbers = Numbers::new(23);
        let x = tensor(&gpu, &[2, 14, 34, 12], Storage::F16, &numbers.take(2 * 14 * 34 * 12, Storage::F16));
        let weight = tensor(&gpu, &[3, 3, 12, 36], Storage::F16, &numbers.take(9 * 12 * 36, Storage::F16));
        let before = gpu.traffic().dispatches;
        let found = run(&gpu, || gemm_on(Tile::WINOGRAD[0], &convolution(&x, &weight, false, None)));
        (gpu.traffic().dispatches - before, found)
    });
    assert_eq!([results[0].0, results[1].0], [1, (2usize * 14 * 34).div_ceil(128)]);
    assert!(results[0].1 == results[1].1);
}
