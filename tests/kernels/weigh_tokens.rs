use wordbrush::gpu::Storage;
use wordbrush::kernels::{weigh_tokens, weigh_windows};

use crate::support::{Numbers, STORAGES, close, gpu, run, tensor};

#[test]
fn rows_are_picked_weighed_and_padded() {
    let (windows, width) = (3, 12);
    for storage in STORAGES {
        let gpu = gpu(storage);
        let x = Numbers::new(2).take(windows * 77 * width, storage);
        // Source row, empty row, weight: as it is, doubled, none of it, negative, padding.
        let table = [[80, 157, 10], [3, 157, 20], [5, 160, 0], [76, 230, -13], [-1, 0, 10]];
        let mut expected = Vec::new();
        for [source, empty, weight] in table {
            for c in 0..width {
                let at = |row: i32| f64::from(x[row as usize * width + c]);
                let w = f64::from(weight) / 10.0;
                expected.push(if source < 0 { 0.0 } else { (at(empty) + w * (at(source) - at(empty))) as f32 });
            }
        }
        let rows: Vec<f32> = table.iter().flat_map(|&[s, e, w]| [s as f32, e as f32, w as f32 / 10.0, 0.0]).collect();
        let x_gpu = tensor(&gpu, &[windows, 77, width], storage, &x);
        let rows = tensor(&gpu, &[5, 4], Storage::F32, &rows);
        let found = run(&gpu, || {
            let result = gpu.result(&[1, 5, width], storage);
            weigh_tokens(&x_gpu, &rows, &result);
            result
        });
        close("weigh_tokens", storage, &found, &expected);
        assert_eq!(found[..width], x[80 * width..81 * width], "weight 1 changes no bit");
    }
}

#[test]
fn windows_are_weighed_and_keep_their_mean() {
    let (windows, width) = (3, 20);
    for storage in STORAGES {
        let gpu = gpu(storage);
        let mut numbers = Numbers::new(12);
        let x: Vec<f32> = numbers.take(windows * 77 * width, storage);
        let x: Vec<f32> = x.into_iter().map(|x| crate::support::round(x + 0.3, storage)).collect();
        // The second window has weights of one only: not a bit of it may change.
        let weight = |token: usize| if token / 77 == 1 { 1.0 } else { 1.0 + (token % 7) as f32 / 10.0 };
        let mut expected = Vec::new();
        for (window, values) in x.chunks(77 * width).enumerate() {
            let weighed: Vec<f64> = values
                .iter()
                .enumerate()
                .map(|(i, &x)| f64::from(x) * f64::from(weight(window * 77 + i / width)))
                .collect();
            let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
            let scale = sum / weighed.iter().sum::<f64>();
            expected.extend(weighed.iter().map(|x| (x * scale) as f32));
        }
        let table: Vec<f32> = (0..windows * 77).flat_map(|token| [weight(token), 0.0, 0.0, 0.0]).collect();
        let x_gpu = tensor(&gpu, &[windows, 77, width], storage, &x);
        let table = tensor(&gpu, &[windows * 77, 4], Storage::F32, &table);
        let found = run(&gpu, || weigh_windows(&x_gpu, &table));
        close("weigh_windows", storage, &found, &expected);
        assert_eq!(found[77 * width..2 * 77 * width], x[77 * width..2 * 77 * width]);
    }
}
