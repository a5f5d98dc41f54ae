// A workgroup of 64 threads computes 64 rows by 64 columns, a thread eight by eight. Each chunk of sixteen k passes
// through workgroup memory, from which every number is read eight times.

const CHUNK: u32 = 4u;             // vectors of k in a chunk
const A_STRIDE: u32 = CHUNK + 1u;  // one more than needed: rows then fall into different banks

var<workgroup> tile_a: array<vec4<f32>, 64u * A_STRIDE>;    // (64 rows, 16 k)
var<workgroup> tile_w: array<vec4<f32>, 16u * 16u>;         // (16 k, 64 columns)
var<workgroup> row_norms: array<vec2<f32>, 64>;             // mean and scale of the input's rows

// Mean of an input's row and what its deviations are multiplied with, from the statistics of its tiles.
fn row_norm(row: u32) -> vec2<f32> {
  let tiles = (p.c1 + 15u) / 16u;
  let all = f32(p.c1 * 4u);
  var sum = 0.0;
  for (var i = 0u; i < tiles; i++) {
    sum += f32(min(64u, p.c1 * 4u - i * 64u)) * row_moments[2u * i * p.moment_rows + row];
  }
  let mean = sum / all;
  var deviations = 0.0;
  for (var i = 0u; i < tiles; i++) {
    let apart = row_moments[2u * i * p.moment_rows + row] - mean;
    deviations += row_moments[(2u * i + 1u) * p.moment_rows + row] + f32(min(64u, p.c1 * 4u - i * 64u)) * apart * apart;
  }
  return vec2<f32>(mean, inverseSqrt(deviations / all + p.epsilon));
}

// The four sums of a thread's eight rows (lower four, upper four) or eight columns, over the eight threads that share them.
fn sum_over(t: u32, part: Pair, along_x: bool) -> Pair {
  workgroupBarrier();
  tile_w[2u * t] = part.x0;
  tile_w[2u * t + 1u] = part.x1;
  workgroupBarrier();
  var sum = Pair();
  for (var i = 0u; i < 8u; i++) {
    let other = select(t % 8u + 8u * i, t / 8u * 8u + i, along_x);
    sum.x0 += tile_w[2u * other];
    sum.x1 += tile_w[2u * other + 1u];
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let tx = t % 8u;
  let ty = t / 8u;
  let tile = group.y + group.z * p.groups_y;
  let rows = rows_of(tile, 64u);
  let m0 = rows.first;
  let n0 = group.x * 16u;
  let channels = p.c1 + p.c2;
  var sum: array<vec4<f32>, 16>;
  if (NORMAL) {
    row_norms[t] = row_norm(min(m0 + t, p.rows - 1u));
    workgroupBarrier();
  }

  for (var tap = 0u; tap < KERNEL * KERNEL; tap++) {
    var at: array<i32, 4>;
    for (var i = 0u; i < 4u; i++) {
      at[i] = pixel(m0 + t / 4u + 16u * i, rows, tap / KERNEL, tap % KERNEL);
    }
    for (var c = 0u; c < channels; c += CHUNK) {
      // Loads go out before the barrier, so that they overlap with the last products.
      var next_a: array<vec4<f32>, 4>;
      var next_w: array<vec4<f32>, 4>;
      for (var i = 0u; i < 4u; i++) {
        next_a[i] = load_a(at[i], c + t % 4u);
        let k = t / 16u + 4u * i;
        let n = n0 + t % 16u;
        if (c + k / 4u < channels && n < p.n4) {
          next_w[i] = load4(w[(((rows.phase * KERNEL * KERNEL + tap) * channels + c) * 4u + k) * p.n4 + n]);
        }
      }
      if (NORMAL && c + t % 4u < channels) {
        let gamma = affine[c + t % 4u];
        let beta = affine[channels + c + t % 4u];
        for (var i = 0u; i < 4u; i++) {
          let norm = row_norms[t / 4u + 16u * i];
          next_a[i] = (next_a[i] - norm.x) * norm.y * gamma + beta;
        }
      }
      workgroupBarrier();
      for (var i = 0u; i < 4u; i++) {
        tile_a[(t / 4u + 16u * i) * A_STRIDE + t % 4u] = next_a[i];
        tile_w[(t / 16u + 4u * i) * 16u + t % 16u] = next_w[i];
      }
      workgroupBarrier();
      for (var q = 0u; q < CHUNK; q++) {
        let w00 = tile_w[q * 64u + tx * 2u];        let w01 = tile_w[q * 64u + tx * 2u + 1u];
        let w10 = tile_w[q * 64u + 16u + tx * 2u];  let w11 = tile_w[q * 64u + 17u + tx * 2u];
        let w20 = tile_w[q * 64u + 32u + tx * 2u];  let w21 = tile_w[q * 64u + 33u + tx * 2u];
        let w30 = tile_w[q * 64u + 48u + tx * 2u];  let w31 = tile_w[q * 64u + 49u + tx * 2u];
        for (var r = 0u; r < 8u; r++) {
          let x = tile_a[(ty + 8u * r) * A_STRIDE + q];
          sum[2u * r] += x.x * w00 + x.y * w10 + x.z * w20 + x.w * w30;
          sum[2u * r + 1u] += x.x * w01 + x.y * w11 + x.z * w21 + x.w * w31;
        }
      }
    }
  }
  for (var r = 0u; r < 8u; r++) {
    let y = finish(m0 + ty + 8u * r, rows, n0 + tx * 2u, Pair(sum[2u * r], sum[2u * r + 1u]));
    sum[2u * r] = y.x0;
    sum[2u * r + 1u] = y.x1;
  }
  if (MEASURE == 1u) {
    // Each channel in the tile's rows: first the mean, then the deviations from it, so that nothing cancels.
    let count = f32(min(64u, rows.end - min(m0, rows.end)));
    var part = Pair();
    for (var r = 0u; r < 8u; r++) {
      part = Pair(part.x0 + sum[2u * r], part.x1 + sum[2u * r + 1u]);
    }
    let all = sum_over(t, part, false);
    let mean = Pair(all.x0 / count, all.x1 / count);
    part = Pair();
    for (var r = 0u; r < 8u; r++) {
      if (m0 + ty + 8u * r < rows.end) {
        let d0 = sum[2u * r] - mean.x0;
        let d1 = sum[2u * r + 1u] - mean.x1;
        part = Pair(part.x0 + d0 * d0, part.x1 + d1 * d1);
      }
    }
    let deviations = sum_over(t, part, false);
    if (ty < 4u && m0 < rows.end) {
      let at = tile * 2u * p.n4 * 4u + (n0 + tx * 2u) * 4u + ty;
      if (n0 + tx * 2u < p.n4) {
        moments[at] = mean.x0[ty];
        moments[at + p.n4 * 4u] = deviations.x0[ty];
      }
      if (n0 + tx * 2u + 1u < p.n4) {
        moments[at + 4u] = mean.x1[ty];
        moments[at + 4u + p.n4 * 4u] = deviations.x1[ty];
      }
    }
  }
  if (MEASURE == 2u) {
    // Each row in the tile's channels.
    let n = n0 + tx * 2u;
    let count = f32(min(64u, (p.n4 - n0) * 4u));
    let ones = vec4<f32>(1.0);
    var part: array<f32, 8>;
    for (var r = 0u; r < 8u; r++) {
      part[r] = dot(sum[2u * r] + sum[2u * r + 1u], ones);
    }
    let all = sum_over(t, lower_and_upper(part), true);
    let mean = Pair(all.x0 / count, all.x1 / count);
    for (var r = 0u; r < 8u; r++) {
      let centre = select(mean.x0[r % 4u], mean.x1[r % 4u], r >= 4u);
      let d0 = select(vec4<f32>(), sum[2u * r] - centre, n < p.n4);
      let d1 = select(vec4<f32>(), sum[2u * r + 1u] - centre, n + 1u < p.n4);
      part[r] = dot(d0, d0) + dot(d1, d1);
    }
    let deviations = sum_over(t, lower_and_upper(part), true);
    // Thread tx of the eight has row ty + 8·tx.
    let row = m0 + ty + 8u * tx;
    if (row < rows.end) {
      let at = group.x * 2u * p.moment_rows + row;
      moments[at] = select(mean.x0[tx % 4u], mean.x1[tx % 4u], tx >= 4u);
      moments[at + p.moment_rows] = select(deviations.x0[tx % 4u], deviations.x1[tx % 4u], tx >= 4u);
    }
  }
}

fn lower_and_upper(x: array<f32, 8>) -> Pair {
  return Pair(vec4<f32>(x[0], x[1], x[2], x[3]), vec4<f32>(x[4], x[5], x[6], x[7]));
}
