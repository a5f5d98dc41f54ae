// Through workgroup memory. Every 64 threads compute a part of 64 rows by 64 columns, a thread eight by eight; a workgroup
// has one, two or four such parts. Each chunk of DEPTH k passes through workgroup memory, from which every number is read
// eight times in each part. With SLICES a workgroup sums only some of the chunks, and `gemm_reduce.wgsl` does the rest.

const THREADS: u32 = ROWS * COLUMNS / 64u;
const CHUNK: u32 = DEPTH / 4u;     // vectors of k in a chunk
const A_STRIDE: u32 = CHUNK + 1u;  // one more than needed: rows then fall into different banks
const W_STRIDE: u32 = COLUMNS / 4u;
const A_LOADS: u32 = ROWS * CHUNK / THREADS;       // 2, 4 or 8 vectors that a thread brings of a chunk
const W_LOADS: u32 = DEPTH * W_STRIDE / THREADS;   // the same
// Rows that are normalised on their way in would be rounded once more.
const STORED_A: bool = STORED && !NORMAL;
const A_SIZE: u32 = ROWS * A_STRIDE;
const W_SIZE: u32 = DEPTH * W_STRIDE;

// (ROWS, DEPTH) and (DEPTH, COLUMNS), each as f32 or as it is stored; of the other there is one element.
var<workgroup> tile_a: array<vec4<f32>, select(A_SIZE, 1u, STORED_A)>;
var<workgroup> stored_a: array<elem4, select(1u, A_SIZE, STORED_A)>;
var<workgroup> tile_w: array<vec4<f32>, select(W_SIZE, 1u, STORED)>;
var<workgroup> stored_w: array<elem4, select(1u, W_SIZE, STORED)>;
var<workgroup> row_norms: array<vec2<f32>, select(1u, ROWS, NORMAL)>;  // mean and scale of the input's rows
// One number of every thread, for the statistics; in `tile_w` where that is large enough.
var<workgroup> lanes: array<vec4<f32>, select(1u, THREADS, STORED && MEASURE != 0u)>;

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

// The row and the vector of k that a thread brings of `a` in its i-th load.
fn row_of(t: u32, i: u32) -> u32 {
  return t / CHUNK + i * (THREADS / CHUNK);
}

fn put_a(t: u32, i: u32, c: u32, value: elem4) {
  let row = row_of(t, i);
  let at = row * A_STRIDE + t % CHUNK;
  if (STORED_A) {
    stored_a[at] = value;
    return;
  }
  var x = load4(value);
  if (NORMAL && c < p.c1) {
    let norm = row_norms[row];
    x = (x - norm.x) * norm.y * affine[c] + affine[p.c1 + c];
  }
  tile_a[at] = x;
}

fn get_a(at: u32) -> vec4<f32> {
  if (STORED_A) {
    return load4(stored_a[at]);
  }
  return tile_a[at];
}

// Four columns of row k of the chunk that begins at row `first` of the weights.
fn fetch_w(t: u32, i: u32, first: u32, rows: u32, n0: u32) -> elem4 {
  let k = t / W_STRIDE + i * (THREADS / W_STRIDE);
  let n = n0 + t % W_STRIDE;
  if (k >= rows || n >= p.n4) {
    return elem4();
  }
  return w[(first + k) * p.n4 + n];
}

// The vectors of a part of 64 columns lie in the order 0, 2, 4 … 1, 3, 5 …: eight threads read the first and then the second
// of two neighbours each, and find them side by side.
fn put_w(t: u32, i: u32, value: elem4) {
  let n = t % W_STRIDE;
  let at = (t / W_STRIDE + i * (THREADS / W_STRIDE)) * W_STRIDE + n / 16u * 16u + n % 2u * 8u + n % 16u / 2u;
  if (STORED) {
    stored_w[at] = value;
  } else {
    tile_w[at] = load4(value);
  }
}

fn get_w(at: u32) -> vec4<f32> {
  if (STORED) {
    return load4(stored_w[at]);
  }
  return tile_w[at];
}

fn put_lane(at: u32, value: vec4<f32>) {
  if (STORED) {
    lanes[at] = value;
  } else {
    tile_w[at] = value;
  }
}

fn get_lane(at: u32) -> vec4<f32> {
  if (STORED) {
    return lanes[at];
  }
  return tile_w[at];
}

// The sum of a vector of each thread over the eight threads of its part that share its columns or its rows.
fn sum_over(t: u32, value: vec4<f32>, along_x: bool) -> vec4<f32> {
  workgroupBarrier();
  put_lane(t, value);
  workgroupBarrier();
  let part = t / 64u * 64u;
  var sum = vec4<f32>();
  for (var i = 0u; i < 8u; i++) {
    sum += get_lane(part + select(t % 8u + 8u * i, t % 64u / 8u * 8u + i, along_x));
  }
  return sum;
}

fn sums_over(t: u32, value: Pair, along_x: bool) -> Pair {
  let x0 = sum_over(t, value.x0, along_x);
  return Pair(x0, sum_over(t, value.x1, along_x));
}

// A thread's eight rows of two vectors: vectors 2·r and 2·r + 1 are those of row r.
alias Sums = array<vec4<f32>, 16>;

// Each channel in the part's rows: first the mean, then the deviations from it, so that nothing cancels.
fn measure_channels(t: u32, sums: Sums, m0: u32, rows: Rows, n: u32, tile: u32) {
  var sum = sums;
  let ty = t % 64u / 8u;
  let count = f32(max(min(64u, rows.end - min(m0, rows.end)), 1u));
  var part = Pair();
  for (var r = 0u; r < 8u; r++) {
    part = Pair(part.x0 + sum[2u * r], part.x1 + sum[2u * r + 1u]);
  }
  let all = sums_over(t, part, false);
  let mean = Pair(all.x0 / count, all.x1 / count);
  part = Pair();
  for (var r = 0u; r < 8u; r++) {
    if (m0 + ty + 8u * r < rows.end) {
      let d0 = sum[2u * r] - mean.x0;
      let d1 = sum[2u * r + 1u] - mean.x1;
      part = Pair(part.x0 + d0 * d0, part.x1 + d1 * d1);
    }
  }
  let deviations = sums_over(t, part, false);
  if (ty < 4u && m0 < rows.end) {
    let at = tile * 2u * p.n4 * 4u + n * 4u + ty;
    if (n < p.n4) {
      moments[at] = mean.x0[ty];
      moments[at + p.n4 * 4u] = deviations.x0[ty];
    }
    if (n + 1u < p.n4) {
      moments[at + 4u] = mean.x1[ty];
      moments[at + 4u + p.n4 * 4u] = deviations.x1[ty];
    }
  }
}

// Each row in the part's channels, which begin with vector n0.
fn measure_rows(t: u32, sums: Sums, m0: u32, rows: Rows, n0: u32) {
  var sum = sums;
  let tx = t % 8u;
  let ty = t % 64u / 8u;
  let n = n0 + tx * 2u;
  let count = f32(max(min(64u, (p.n4 - min(n0, p.n4)) * 4u), 1u));
  let ones = vec4<f32>(1.0);
  var part: array<f32, 8>;
  for (var r = 0u; r < 8u; r++) {
    part[r] = dot(sum[2u * r] + sum[2u * r + 1u], ones);
  }
  let all = sums_over(t, lower_and_upper(part), true);
  let mean = Pair(all.x0 / count, all.x1 / count);
  for (var r = 0u; r < 8u; r++) {
    let centre = select(mean.x0[r % 4u], mean.x1[r % 4u], r >= 4u);
    let d0 = select(vec4<f32>(), sum[2u * r] - centre, n < p.n4);
    let d1 = select(vec4<f32>(), sum[2u * r + 1u] - centre, n + 1u < p.n4);
    part[r] = dot(d0, d0) + dot(d1, d1);
  }
  let deviations = sums_over(t, lower_and_upper(part), true);
  // Thread tx of the eight has row ty + 8·tx.
  let row = m0 + ty + 8u * tx;
  if (row < rows.end && n0 < p.n4) {
    let at = n0 / 16u * 2u * p.moment_rows + row;
    moments[at] = select(mean.x0[tx % 4u], mean.x1[tx % 4u], tx >= 4u);
    moments[at + p.moment_rows] = select(deviations.x0[tx % 4u], deviations.x1[tx % 4u], tx >= 4u);
  }
}

fn lower_and_upper(x: array<f32, 8>) -> Pair {
  return Pair(vec4<f32>(x[0], x[1], x[2], x[3]), vec4<f32>(x[4], x[5], x[6], x[7]));
}

// Two vectors of a slice's sums.
fn keep_partial(m: u32, rows: Rows, slice: u32, n: u32, x0: vec4<f32>, x1: vec4<f32>) {
  if (m >= rows.end) {
    return;
  }
  let at = ((slice * PHASES + rows.phase) * p.rows + m) * p.n4 + n;
  if (n < p.n4) {
    out[at] = store_out(x0);
  }
  if (n + 1u < p.n4) {
    out[at + 1u] = store_out(x1);
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let slice = select(0u, group.z, SLICES > 1u);
  let tile = group.y + origin.y + select(group.z * p.groups_y, 0u, SLICES > 1u);
  let rows = rows_of(tile, ROWS);
  let n0 = group.x * W_STRIDE;
  let channels = p.c1 + p.c2;
  let chunks = (channels + CHUNK - 1u) / CHUNK;
  let steps = KERNEL * KERNEL * chunks;
  let first = min(slice * ((steps + SLICES - 1u) / SLICES), steps);
  let last = min(first + (steps + SLICES - 1u) / SLICES, steps);
  // What a thread computes: row `y` of its part and every eighth after it, vectors `n` and n + 1.
  let part = t / 64u;
  let y = part / (COLUMNS / 64u) * 64u + t % 64u / 8u;
  let part_n = part % (COLUMNS / 64u) * 16u;
  if (NORMAL) {
    for (var i = t; i < ROWS; i += THREADS) {
      row_norms[i] = row_norm(min(rows.first + i, p.rows - 1u));
    }
    workgroupBarrier();
  }

  // Sixteen sums, by name: what is indexed may end up in memory.
  var r00 = vec4<f32>(); var r01 = vec4<f32>(); var r10 = vec4<f32>(); var r11 = vec4<f32>();
  var r20 = vec4<f32>(); var r21 = vec4<f32>(); var r30 = vec4<f32>(); var r31 = vec4<f32>();
  var r40 = vec4<f32>(); var r41 = vec4<f32>(); var r50 = vec4<f32>(); var r51 = vec4<f32>();
  var r60 = vec4<f32>(); var r61 = vec4<f32>(); var r70 = vec4<f32>(); var r71 = vec4<f32>();
  // Input pixels of the rows that a thread brings.
  var at0 = -1; var at1 = -1; var at2 = -1; var at3 = -1; var at4 = -1; var at5 = -1; var at6 = -1; var at7 = -1;
  for (var step = first; step < last; step++) {
    let tap = step / chunks;
    let c0 = step % chunks * CHUNK;
    if (c0 == 0u || step == first) {
      let ky = tap / KERNEL;
      let kx = tap % KERNEL;
      at0 = pixel(rows.first + row_of(t, 0u), rows, ky, kx);
      at1 = pixel(rows.first + row_of(t, 1u), rows, ky, kx);
      if (A_LOADS > 2u) {
        at2 = pixel(rows.first + row_of(t, 2u), rows, ky, kx);
        at3 = pixel(rows.first + row_of(t, 3u), rows, ky, kx);
      }
      if (A_LOADS > 4u) {
        at4 = pixel(rows.first + row_of(t, 4u), rows, ky, kx);
        at5 = pixel(rows.first + row_of(t, 5u), rows, ky, kx);
        at6 = pixel(rows.first + row_of(t, 6u), rows, ky, kx);
        at7 = pixel(rows.first + row_of(t, 7u), rows, ky, kx);
      }
    }
    // Loads go out before the barrier, so that they overlap with the last products.
    let c = c0 + t % CHUNK;
    let s0 = fetch_a(at0, c);
    let s1 = fetch_a(at1, c);
    var s2 = elem4(); var s3 = elem4(); var s4 = elem4(); var s5 = elem4(); var s6 = elem4(); var s7 = elem4();
    if (A_LOADS > 2u) {
      s2 = fetch_a(at2, c); s3 = fetch_a(at3, c);
    }
    if (A_LOADS > 4u) {
      s4 = fetch_a(at4, c); s5 = fetch_a(at5, c); s6 = fetch_a(at6, c); s7 = fetch_a(at7, c);
    }
    let k0 = ((rows.phase * KERNEL * KERNEL + tap) * channels + c0) * 4u;
    let depth = (channels - c0) * 4u;
    let v0 = fetch_w(t, 0u, k0, depth, n0);
    let v1 = fetch_w(t, 1u, k0, depth, n0);
    var v2 = elem4(); var v3 = elem4(); var v4 = elem4(); var v5 = elem4(); var v6 = elem4(); var v7 = elem4();
    if (W_LOADS > 2u) {
      v2 = fetch_w(t, 2u, k0, depth, n0); v3 = fetch_w(t, 3u, k0, depth, n0);
    }
    if (W_LOADS > 4u) {
      v4 = fetch_w(t, 4u, k0, depth, n0); v5 = fetch_w(t, 5u, k0, depth, n0);
      v6 = fetch_w(t, 6u, k0, depth, n0); v7 = fetch_w(t, 7u, k0, depth, n0);
    }
    workgroupBarrier();
    put_a(t, 0u, c, s0);
    put_a(t, 1u, c, s1);
    put_w(t, 0u, v0);
    put_w(t, 1u, v1);
    if (A_LOADS > 2u) {
      put_a(t, 2u, c, s2); put_a(t, 3u, c, s3);
    }
    if (A_LOADS > 4u) {
      put_a(t, 4u, c, s4); put_a(t, 5u, c, s5); put_a(t, 6u, c, s6); put_a(t, 7u, c, s7);
    }
    if (W_LOADS > 2u) {
      put_w(t, 2u, v2); put_w(t, 3u, v3);
    }
    if (W_LOADS > 4u) {
      put_w(t, 4u, v4); put_w(t, 5u, v5); put_w(t, 6u, v6); put_w(t, 7u, v7);
    }
    workgroupBarrier();
    for (var q = 0u; q < CHUNK; q++) {
      let b = 4u * q * W_STRIDE + part_n + t % 8u;
      let w00 = get_w(b);                    let w01 = get_w(b + 8u);
      let w10 = get_w(b + W_STRIDE);         let w11 = get_w(b + W_STRIDE + 8u);
      let w20 = get_w(b + 2u * W_STRIDE);    let w21 = get_w(b + 2u * W_STRIDE + 8u);
      let w30 = get_w(b + 3u * W_STRIDE);    let w31 = get_w(b + 3u * W_STRIDE + 8u);
      let x0 = get_a(y * A_STRIDE + q);
      r00 += x0.x * w00 + x0.y * w10 + x0.z * w20 + x0.w * w30;
      r01 += x0.x * w01 + x0.y * w11 + x0.z * w21 + x0.w * w31;
      let x1 = get_a((y + 8u) * A_STRIDE + q);
      r10 += x1.x * w00 + x1.y * w10 + x1.z * w20 + x1.w * w30;
      r11 += x1.x * w01 + x1.y * w11 + x1.z * w21 + x1.w * w31;
      let x2 = get_a((y + 16u) * A_STRIDE + q);
      r20 += x2.x * w00 + x2.y * w10 + x2.z * w20 + x2.w * w30;
      r21 += x2.x * w01 + x2.y * w11 + x2.z * w21 + x2.w * w31;
      let x3 = get_a((y + 24u) * A_STRIDE + q);
      r30 += x3.x * w00 + x3.y * w10 + x3.z * w20 + x3.w * w30;
      r31 += x3.x * w01 + x3.y * w11 + x3.z * w21 + x3.w * w31;
      let x4 = get_a((y + 32u) * A_STRIDE + q);
      r40 += x4.x * w00 + x4.y * w10 + x4.z * w20 + x4.w * w30;
      r41 += x4.x * w01 + x4.y * w11 + x4.z * w21 + x4.w * w31;
      let x5 = get_a((y + 40u) * A_STRIDE + q);
      r50 += x5.x * w00 + x5.y * w10 + x5.z * w20 + x5.w * w30;
      r51 += x5.x * w01 + x5.y * w11 + x5.z * w21 + x5.w * w31;
      let x6 = get_a((y + 48u) * A_STRIDE + q);
      r60 += x6.x * w00 + x6.y * w10 + x6.z * w20 + x6.w * w30;
      r61 += x6.x * w01 + x6.y * w11 + x6.z * w21 + x6.w * w31;
      let x7 = get_a((y + 56u) * A_STRIDE + q);
      r70 += x7.x * w00 + x7.y * w10 + x7.z * w20 + x7.w * w30;
      r71 += x7.x * w01 + x7.y * w11 + x7.z * w21 + x7.w * w31;
    }
  }

  var sums = Sums(r00, r01, r10, r11, r20, r21, r30, r31, r40, r41, r50, r51, r60, r61, r70, r71);
  let n = n0 + part_n + t % 8u * 2u;
  for (var r = 0u; r < 8u; r++) {
    let m = rows.first + y + 8u * r;
    if (SLICES > 1u) {
      keep_partial(m, rows, slice, n, sums[2u * r], sums[2u * r + 1u]);
    } else {
      let stored = finish(m, rows, n, Pair(sums[2u * r], sums[2u * r + 1u]));
      sums[2u * r] = stored.x0;
      sums[2u * r + 1u] = stored.x1;
    }
  }
  let m0 = rows.first + y / 64u * 64u;
  if (MEASURE == 1u) {
    measure_channels(t, sums, m0, rows, n, rows.measured + y / 64u);
  }
  if (MEASURE == 2u) {
    measure_rows(t, sums, m0, rows, n0 + part_n);
  }
}
