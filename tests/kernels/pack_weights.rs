use wordbrush::gpu::Storage;
use wordbrush::kernels::{PackWeights, pack_weights};

use crate::support::{Numbers, STORAGES, close, gpu, tensor};

struct Case {
    n: usize,
    channels: usize,
    taps: usize,
    column: usize,
    width: usize,
    half: usize,
    slices: &'static [usize],
}

fn check(case: &Case) {
    let padded = case.channels.next_multiple_of(4);
    for storage in STORAGES {
        for dtype in 0..3 {
            let gpu = gpu(storage);
            let exact = if dtype == 0 { Storage::F32 } else { Storage::F16 };
            let mut file = Numbers::new(6).take(case.n * case.channels * case.taps, exact);
            if dtype == 2 {
                file.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
            }
            let packed = gpu
                .empty("packed", &[1, case.taps, padded, case.width], storage)
                .reshape(&[1, case.taps, padded, case.width]);
            let mut first = 0;
            for &rows in case.slices {
                let part = &file[first * case.channels * case.taps..][..rows * case.channels * case.taps];
                let mut bytes: Vec<u8> = match dtype {
                    0 => part.iter().flat_map(|x| x.to_le_bytes()).collect(),
                    1 => part.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
                    _ => part.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
                };
                bytes.resize(bytes.len().next_multiple_of(16), 0xff);
                let slice = tensor(&gpu, &[bytes.len() / 4], Storage::F32, bytemuck::cast_slice(&bytes));
                let (plan, ()) = gpu.record("test", || {
                    pack_weights(&PackWeights {
                        slice: &slice,
                        dtype,
                        first,
                        rows,
                        channels: case.channels,
                        taps: case.taps,
                        packed: &packed,
                        column: case.column,
                        half: case.half,
                    });
                });
                plan.run();
                first += rows;
            }
            let found = pollster::block_on(packed.read()).expect("read");
            close("pack_weights", storage, &found, &reference(case, &file, padded));
        }
    }
}

fn reference(case: &Case, file: &[f32], padded: usize) -> Vec<f32> {
    let mut packed = vec![0.0; case.taps * padded * case.width];
    for n in 0..case.n {
        let column = match case.half {
            0 => n,
            half => n % half / 4 * 8 + n / half * 4 + n % 4,
        };
        for c in 0..case.channels {
            for tap in 0..case.taps {
                packed[(tap * padded + c) * case.width + case.column + column] =
                    file[(n * case.channels + c) * case.taps + tap];
            }
        }
    }
    packed
}

#[test]
fn linear_and_convolution() {
    check(&Case { n: 12, channels: 20, taps: 1, column: 0, width: 12, half: 0, slices: &[12] });
    check(&Case { n: 20, channels: 7, taps: 9, column: 0, width: 20, half: 0, slices: &[8, 4, 8] });
}

#[test]
fn rows_that_fill_no_vector_are_padded() {
    check(&Case { n: 3, channels: 8, taps: 9, column: 0, width: 4, half: 0, slices: &[3] });
    check(&Case { n: 4, channels: 4, taps: 9, column: 0, width: 4, half: 0, slices: &[4] });
}

#[test]
fn parts_of_a_joint_product() {
    check(&Case { n: 8, channels: 12, taps: 1, column: 16, width: 24, half: 0, slices: &[4, 4] });
}

#[test]
fn geglu_is_interleaved() {
    check(&Case { n: 48, channels: 12, taps: 1, column: 0, width: 48, half: 24, slices: &[20, 12, 16] });
}

/// A filter of 3×3 becomes four of 2×2, slice by slice.
#[test]
fn a_filter_after_a_doubling_is_split() {
    let (n, channels, padded) = (10, 6, 8);
    for storage in STORAGES {
        let gpu = gpu(storage);
        let file = Numbers::new(6).take(n * channels * 9, Storage::F32);
        let packed = gpu.empty("packed", &[8, 2, padded, 12], storage);
        for (first, rows) in [(0, 4), (4, 6)] {
            let part: Vec<f32> = file[first * channels * 9..][..rows * channels * 9].to_vec();
            let slice = tensor(&gpu, &[part.len()], Storage::F32, &part);
            let (plan, ()) = gpu.record("test", || {
                let (dtype, taps, column, half) = (0, 9, 0, 0);
                let slice = &slice;
                pack_weights(&PackWeights { slice, dtype, first, rows, channels, taps, packed: &packed, column, half });
            });
            plan.run();
        }
        let case = Case { n, channels, taps: 9, column: 0, width: 12, half: 0, slices: &[] };
        let expected = crate::whole_filter::phases(&reference(&case, &file, padded), padded * 12, storage);
        let found = pollster::block_on(packed.read()).expect("read");
        close("pack_weights in phases", storage, &found, &expected);
    }
}
