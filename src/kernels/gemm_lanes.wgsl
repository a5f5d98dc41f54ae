// Without workgroup memory and with few loads, for adapters that are programs on a CPU: these load for one thread after the other, while
// a vector register holds a number of each. So a workgroup is one subgroup, whose threads bring different rows of the input and read
// each other's: each multiplies all ROWS of them with 4·VECTORS columns of its own.

// No row of the workgroup's has a pixel under the tap, but padding alone: so it is at the edges of a picture, and with most taps of one
// that is a pixel high. The same for all threads.
fn is_padding(rows: Rows, ky: u32, kx: u32) -> bool {
  if (KERNEL == 1u) {
    return false;
  }
  let pad = padding(rows.phase);
  let first = rows.first / p.run_w;
  let last = (min(rows.first + ROWS, rows.end) - 1u) / p.run_w;
  let one_picture = first / p.run_h == last / p.run_h;
  let top = select(0u, first % p.run_h, one_picture) * p.stride + ky + p.above;
  let bottom = select(p.run_h - 1u, last % p.run_h, one_picture) * p.stride + ky + p.above;
  return bottom < pad.y || top >= p.up_h + pad.y || (p.run_w - 1u) * p.stride + kx < pad.x || kx >= p.up_w + pad.x;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let n = (group.x * LANES + lane) * VECTORS;
  let rows = rows_of(group.y + origin.y + group.z * p.groups_y, ROWS);
  if (rows.first >= rows.end) {
    return;
  }
  // Who has no columns works beside the others, which read its rows.
  let n0 = min(n, p.n4 - 1u);
  let n1 = min(n + 1u, p.n4 - 1u);
  let channels = p.c1 + p.c2;
  var sums: array<vec4<f32>, VECTORS * ROWS>;
  var corners = array<vec3<u32>, BRINGS>();
  @unroll for (var i = 0u; i < BRINGS; i++) {
    corners[i] = corner(rows.first + i * LANES + lane, rows);
  }
  for (var tap = 0u; tap < KERNEL * KERNEL; tap++) {
    if (is_padding(rows, tap / KERNEL, tap % KERNEL)) {
      continue;
    }
    var at = array<i32, BRINGS>();
    @unroll for (var i = 0u; i < BRINGS; i++) {
      at[i] = under(corners[i], rows, tap / KERNEL, tap % KERNEL);
    }
    for (var c = 0u; c < channels; c++) {
      let k = ((rows.phase * KERNEL * KERNEL + tap) * channels + c) * 4u * p.n4;
      let w0 = mat4x4<f32>(load4(w[k + n0]), load4(w[k + p.n4 + n0]), load4(w[k + 2u * p.n4 + n0]), load4(w[k + 3u * p.n4 + n0]));
      var w1 = mat4x4<f32>();
      if (VECTORS == 2u) {
        w1 = mat4x4<f32>(load4(w[k + n1]), load4(w[k + p.n4 + n1]), load4(w[k + 2u * p.n4 + n1]), load4(w[k + 3u * p.n4 + n1]));
      }
      @unroll for (var i = 0u; i < BRINGS; i++) {
        let x = load4(fetch_a(at[i], c));
        // All four k of a row at once: the sums are too many for a CPU's registers, and so come and go a quarter as often.
        @unroll for (var from_lane = 0u; from_lane < LANES; from_lane++) {
          let value = subgroupBroadcast(x, from_lane);
          sums[VECTORS * (i * LANES + from_lane)] += w0 * value;
          if (VECTORS == 2u) {
            sums[VECTORS * (i * LANES + from_lane) + VECTORS - 1u] += w1 * value;
          }
        }
      }
    }
  }
  // A copy, so that the sums themselves are never indexed by a variable: then they lie in registers.
  var product: array<vec4<f32>, VECTORS * ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    product[VECTORS * r] = sums[VECTORS * r];
    product[VECTORS * r + VECTORS - 1u] = sums[VECTORS * r + VECTORS - 1u];
  }
  for (var r = 0u; r < ROWS; r++) {
    finish(rows.first + r, rows, n, Pair(product[VECTORS * r], product[VECTORS * r + VECTORS - 1u]));
  }
}
