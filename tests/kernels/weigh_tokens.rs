use wordbrush::gpu::Storage;
use wordbrush::kernels::weigh_tokens;

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
        let found = run(&gpu, || weigh_tokens(&x_gpu, &rows, &[1, 5, width]));
        close("weigh_tokens", storage, &found, &expected);
        assert_eq!(found[..width], x[80 * width..81 * width], "weight 1 changes no bit");
    }
}
