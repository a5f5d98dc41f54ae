// Without workgroup memory and with few loads, for adapters that are programs on a CPU: these load for one thread after the other, while
// a vector register holds a number of each. So a workgroup is one subgroup, whose threads bring different rows of the input and read
// each other's: each multiplies all ROWS of them with eight columns of its own.

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let n = (group.x * LANES + lane) * 2u;
  let rows = rows_of(group.y + origin.y + group.z * p.groups_y, ROWS);
  if (rows.first >= rows.end) {
    return;
  }
  // Who has no columns works beside the others, which read its rows.
  let n0 = min(n, p.n4 - 1u);
  let n1 = min(n + 1u, p.n4 - 1u);
  let channels = p.c1 + p.c2;
  var sums: array<vec4<f32>, 2u * ROWS>;
  for (var tap = 0u; tap < KERNEL * KERNEL; tap++) {
    var at = array<i32, BRINGS>();
    @unroll for (var i = 0u; i < BRINGS; i++) {
      at[i] = pixel(rows.first + i * LANES + lane, rows, tap / KERNEL, tap % KERNEL);
    }
    for (var c = 0u; c < channels; c++) {
      var x = array<vec4<f32>, BRINGS>();
      @unroll for (var i = 0u; i < BRINGS; i++) {
        x[i] = load4(fetch_a(at[i], c));
      }
      let k = ((rows.phase * KERNEL * KERNEL + tap) * channels + c) * 4u * p.n4;
      @unroll for (var q = 0u; q < 4u; q++) {
        let w0 = load4(w[k + q * p.n4 + n0]);
        let w1 = load4(w[k + q * p.n4 + n1]);
        @unroll for (var i = 0u; i < BRINGS; i++) {
          @unroll for (var from_lane = 0u; from_lane < LANES; from_lane++) {
            let value = subgroupBroadcast(x[i][q], from_lane);
            sums[2u * (i * LANES + from_lane)] += value * w0;
            sums[2u * (i * LANES + from_lane) + 1u] += value * w1;
          }
        }
      }
    }
  }
  // A copy, so that the sums themselves are never indexed by a variable: then they lie in registers.
  var product: array<vec4<f32>, 2u * ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    product[2u * r] = sums[2u * r];
    product[2u * r + 1u] = sums[2u * r + 1u];
  }
  for (var r = 0u; r < ROWS; r++) {
    finish(rows.first + r, rows, n, Pair(product[2u * r], product[2u * r + 1u]));
  }
}
