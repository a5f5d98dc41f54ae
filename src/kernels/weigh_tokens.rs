//! From encoded windows to the conditioning the UNet sees: rows in order, weighed.

use crate::gpu::{Kernel, Tensor};

/// Writes the weighed rows into `result` (…, C): `x` is (windows, 77, C); `rows` is (results, 4), f32, and says for
/// each result its source row (−1: zeros), the row of the empty window, and the weight.
pub fn weigh_tokens(x: &Tensor, rows: &Tensor, result: &Tensor) {
    let gpu = x.gpu();
    let results = rows.len() / 4;
    let c = x.shape()[2] / 4;
    assert_eq!(result.len(), results * c * 4, "weigh_tokens: {:?} from {results} rows", result.shape());
    let groups = (results * c).div_ceil(64);
    let groups_x = groups.min(65535);
    gpu.run(Kernel {
        name: "weigh_tokens",
        class: "weigh_tokens",
        wgsl: &[wgsl!("weigh_tokens.wgsl")],
        constants: &[],
        params: &[("c", c.into()), ("results", results.into()), ("groups_x", groups_x.into())],
        uniform: false,
        read: &[Some(x), Some(rows)],
        write: &[Some(result)],
        workgroups: [groups_x, groups.div_ceil(groups_x), 1],
        flops: 0,
    });
}
