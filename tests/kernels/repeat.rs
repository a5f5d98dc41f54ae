use wordbrush::kernels::repeat;

use crate::support::{Numbers, STORAGES, gpu, run, tensor};

#[test]
fn a_batch_is_repeated() {
    for storage in STORAGES {
        let gpu = gpu(storage);
        let x = Numbers::new(15).take(2 * 5 * 12, storage);
        let tensor = tensor(&gpu, &[2, 1, 5, 12], storage, &x);
        assert_eq!(run(&gpu, || repeat(&tensor, 3)), x.repeat(3), "{storage:?}");
    }
}
