// What the tile shapes through workgroup memory share: every 64 threads compute a part of 64 rows by 64 columns, of which a thread
// finishes eight rows of eight columns. Where a product has too few tiles to keep a device busy, TEAMS teams of as many threads each sum
// their own part of every chunk's k; then there are few workgroups whose loads could hide behind each other's products, so that
// the next chunk is on its way AHEAD of the products with this one. How the product itself is made, and where `put_lane` keeps a
// vector of each thread, is in the file of the shape.

const MEMBERS: u32 = ROWS * COLUMNS / 64u;  // threads of a team
const THREADS: u32 = MEMBERS * TEAMS;
const CHUNK: u32 = DEPTH / 4u;     // vectors of k in a chunk
const WIDTH: u32 = COLUMNS / 4u;   // vectors of columns
const AHEAD: bool = TEAMS > 1u;
const A_LOADS: u32 = ROWS * CHUNK / THREADS;   // 1, 2, 4 or 8 vectors that a thread brings of a chunk
const W_LOADS: u32 = DEPTH * WIDTH / THREADS;  // the same

// Mean and scale of the input's rows. Two where there are none: what follows then begins at a multiple of 16 bytes, as matrix units want.
var<workgroup> row_norms: array<vec2<f32>, select(2u, ROWS, NORMAL)>;

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

// The rows of the input that a workgroup normalises.
fn bring_row_norms(t: u32, rows: Rows) {
  for (var i = t; i < ROWS; i += THREADS) {
    row_norms[i] = row_norm(min(rows.first + i, p.rows - 1u));
  }
  workgroupBarrier();
}

// Four channels of a row, normalised.
fn normalised(row: u32, c: u32, x: vec4<f32>) -> vec4<f32> {
  let norm = row_norms[row];
  return (x - norm.x) * norm.y * affine[c] + affine[p.c1 + c];
}

// The row and the vector of k that a thread brings of `a` in its i-th load.
fn row_of(t: u32, i: u32) -> u32 {
  return t / CHUNK + i * (THREADS / CHUNK);
}

// Four columns of row k of the chunk that begins at row `first` of the weights.
fn fetch_w(t: u32, i: u32, first: u32, rows: u32, n0: u32) -> elem4 {
  let k = t / WIDTH + i * (THREADS / WIDTH);
  let n = n0 + t % WIDTH;
  if (k >= rows || n >= p.n4) {
    return elem4();
  }
  return w[(first + k) * p.n4 + n];
}

// Input pixels of the rows that a thread brings. By name: what is indexed may end up in memory.
struct Pixels { at0: i32, at1: i32, at2: i32, at3: i32, at4: i32, at5: i32, at6: i32, at7: i32 }

fn pixels_under(t: u32, rows: Rows, tap: u32) -> Pixels {
  let ky = tap / KERNEL;
  let kx = tap % KERNEL;
  var at: Pixels;
  at.at0 = pixel(rows.first + row_of(t, 0u), rows, ky, kx);
  if (A_LOADS > 1u) {
    at.at1 = pixel(rows.first + row_of(t, 1u), rows, ky, kx);
  }
  if (A_LOADS > 2u) {
    at.at2 = pixel(rows.first + row_of(t, 2u), rows, ky, kx);
    at.at3 = pixel(rows.first + row_of(t, 3u), rows, ky, kx);
  }
  if (A_LOADS > 4u) {
    at.at4 = pixel(rows.first + row_of(t, 4u), rows, ky, kx);
    at.at5 = pixel(rows.first + row_of(t, 5u), rows, ky, kx);
    at.at6 = pixel(rows.first + row_of(t, 6u), rows, ky, kx);
    at.at7 = pixel(rows.first + row_of(t, 7u), rows, ky, kx);
  }
  return at;
}

// What a thread brings of a chunk, on its way.
struct Loads { v0: elem4, v1: elem4, v2: elem4, v3: elem4, v4: elem4, v5: elem4, v6: elem4, v7: elem4 }

fn load_a(at: Pixels, c: u32) -> Loads {
  var x: Loads;
  x.v0 = fetch_a(at.at0, c);
  if (A_LOADS > 1u) {
    x.v1 = fetch_a(at.at1, c);
  }
  if (A_LOADS > 2u) {
    x.v2 = fetch_a(at.at2, c);
    x.v3 = fetch_a(at.at3, c);
  }
  if (A_LOADS > 4u) {
    x.v4 = fetch_a(at.at4, c);
    x.v5 = fetch_a(at.at5, c);
    x.v6 = fetch_a(at.at6, c);
    x.v7 = fetch_a(at.at7, c);
  }
  return x;
}

// Of the weights under a tap, from channel 4·c0 on.
fn load_w(t: u32, rows: Rows, tap: u32, c0: u32, n0: u32) -> Loads {
  let channels = p.c1 + p.c2;
  let first = ((rows.phase * KERNEL * KERNEL + tap) * channels + c0) * 4u;
  let depth = (channels - c0) * 4u;
  var x: Loads;
  x.v0 = fetch_w(t, 0u, first, depth, n0);
  if (W_LOADS > 1u) {
    x.v1 = fetch_w(t, 1u, first, depth, n0);
  }
  if (W_LOADS > 2u) {
    x.v2 = fetch_w(t, 2u, first, depth, n0);
    x.v3 = fetch_w(t, 3u, first, depth, n0);
  }
  if (W_LOADS > 4u) {
    x.v4 = fetch_w(t, 4u, first, depth, n0);
    x.v5 = fetch_w(t, 5u, first, depth, n0);
    x.v6 = fetch_w(t, 6u, first, depth, n0);
    x.v7 = fetch_w(t, 7u, first, depth, n0);
  }
  return x;
}

// Puts a chunk into workgroup memory, where it is then for all.
fn put_chunk(t: u32, c: u32, from_a: Loads, from_w: Loads) {
  workgroupBarrier();
  put_a(t, 0u, c, from_a.v0);
  if (A_LOADS > 1u) {
    put_a(t, 1u, c, from_a.v1);
  }
  if (A_LOADS > 2u) {
    put_a(t, 2u, c, from_a.v2);
    put_a(t, 3u, c, from_a.v3);
  }
  if (A_LOADS > 4u) {
    put_a(t, 4u, c, from_a.v4);
    put_a(t, 5u, c, from_a.v5);
    put_a(t, 6u, c, from_a.v6);
    put_a(t, 7u, c, from_a.v7);
  }
  put_w(t, 0u, from_w.v0);
  if (W_LOADS > 1u) {
    put_w(t, 1u, from_w.v1);
  }
  if (W_LOADS > 2u) {
    put_w(t, 2u, from_w.v2);
    put_w(t, 3u, from_w.v3);
  }
  if (W_LOADS > 4u) {
    put_w(t, 4u, from_w.v4);
    put_w(t, 5u, from_w.v5);
    put_w(t, 6u, from_w.v6);
    put_w(t, 7u, from_w.v7);
  }
  workgroupBarrier();
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

// The chunks of k that a workgroup sums: all, or those of its slice.
struct Steps { first: u32, last: u32 }

fn steps_of(slice: u32, steps: u32) -> Steps {
  let each = (steps + SLICES - 1u) / SLICES;
  let first = min(slice * each, steps);
  return Steps(first, min(first + each, steps));
}

// The first of a thread's rows in its tile, as the first team's: the others have none, or rather such as no product has.
fn finished_by_first(t: u32, y: u32) -> u32 {
  return select(1u << 28u, y, t < MEMBERS);
}

// Everything that follows the product: `y` is the thread's first row of the tile, `n0` the first vector of its part.
fn finish_part(t: u32, product: Sums, rows: Rows, slice: u32, y: u32, n0: u32) {
  var sums = product;
  let n = n0 + t % 8u * 2u;
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
    measure_rows(t, sums, m0, rows, n0);
  }
}
