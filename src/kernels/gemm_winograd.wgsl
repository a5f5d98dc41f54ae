// Winograd's F(2×2, 3×3) (Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"): 16 multiplications for
// four output pixels instead of 36. A part of 4×4 input pixels and the filter are transformed, BᵀdB and GgGᵀ, multiplied
// position by position and summed over the channels; the sums are transformed back, AᵀmA. Both transforms are made on the way
// into workgroup memory, so that weights lie on the device as for every other tile shape: 32 parts share a filter's.
//
// A workgroup computes 32 parts of 2×2 pixels by 32 columns. Each of the 16 positions has 16 threads, a thread computes eight
// parts by eight columns. "Row" m of the product is pixel m % 4 of part m / 4, parts being counted along the picture's rows.

const THREADS: u32 = 256u;
const CHUNK: u32 = DEPTH / 4u;     // vectors of channels that pass through workgroup memory at once
const PARTS: u32 = 32u;
const WIDTH: u32 = 8u;             // vectors of columns
const INPUTS: u32 = 16u * PARTS * CHUNK;
const FILTERS: u32 = 16u * DEPTH * WIDTH;

// Inputs (16, PARTS, DEPTH), then filters (16, DEPTH, 4·WIDTH); after the last of them sums (8 parts, 16, 4·WIDTH).
var<workgroup> memory: array<vec4<f32>, INPUTS + FILTERS>;

// Where a part of the result lies.
struct Part { b: u32, y: u32, x: u32, inside: bool }

fn part_of(rows: Rows, i: u32) -> Part {
  let m = rows.first + 4u * i;
  let across = p.run_w / 2u;
  let all = p.run_h / 2u * across;
  let part = m / 4u;
  return Part(part / all, part % all / across * 2u, part % across * 2u, m < rows.end);
}

// Four channels of pixel (i, j) of a part's input.
fn fetch_d(part: Part, i: u32, j: u32, c: u32) -> vec4<f32> {
  let y = i32(part.y + i + p.above) - i32(p.pad);
  let x = i32(part.x + j) - i32(p.pad);
  if (!part.inside || y < 0 || x < 0 || y >= i32(p.in_h) || x >= i32(p.in_w)) {
    return vec4<f32>();
  }
  return load4(fetch_a((i32(part.b * p.in_h) + y) * i32(p.in_w) + x, c));
}

// Column v of a part's BᵀdB.
fn bring_input(part: Part, i: u32, v: u32, q: u32, c: u32) {
  let j0 = select(min(v, 1u), 2u, v == 2u);
  let j1 = select(select(2u, 3u, v == 3u), 1u, v == 2u);
  let plus = select(-1.0, 1.0, v == 1u);
  let d0 = fetch_d(part, 0u, j0, c) + plus * fetch_d(part, 0u, j1, c);
  let d1 = fetch_d(part, 1u, j0, c) + plus * fetch_d(part, 1u, j1, c);
  let d2 = fetch_d(part, 2u, j0, c) + plus * fetch_d(part, 2u, j1, c);
  let d3 = fetch_d(part, 3u, j0, c) + plus * fetch_d(part, 3u, j1, c);
  let at = (v * PARTS + i) * CHUNK + q;
  let row = 4u * PARTS * CHUNK;
  memory[at] = d0 - d2;
  memory[at + row] = d1 + d2;
  memory[at + 2u * row] = d2 - d1;
  memory[at + 3u * row] = d1 - d3;
}

// Four columns of one tap of the filter for input channel k.
fn fetch_g(i: u32, j: u32, k: u32, n: u32) -> vec4<f32> {
  let channels = (p.c1 + p.c2) * 4u;
  if (k >= channels || n >= p.n4) {
    return vec4<f32>();
  }
  return load4(w[((i * 3u + j) * channels + k) * p.n4 + n]);
}

// Column j of row u of Gg.
fn half_g(u: u32, j: u32, k: u32, n: u32) -> vec4<f32> {
  if (u == 0u || u == 3u) {
    return fetch_g(u / 3u * 2u, j, k, n);
  }
  let middle = fetch_g(1u, j, k, n);
  return 0.5 * (fetch_g(0u, j, k, n) + fetch_g(2u, j, k, n) + select(middle, -middle, u == 2u));
}

// Row u of GgGᵀ, of k, which is the chunk's `depth`-th.
fn bring_filter(u: u32, depth: u32, k: u32, n: u32, n0: u32) {
  let g0 = half_g(u, 0u, k, n0 + n);
  let g1 = half_g(u, 1u, k, n0 + n);
  let g2 = half_g(u, 2u, k, n0 + n);
  let at = INPUTS + (4u * u * DEPTH + depth) * WIDTH + n;
  memory[at] = g0;
  memory[at + DEPTH * WIDTH] = 0.5 * (g0 + g1 + g2);
  memory[at + 2u * DEPTH * WIDTH] = 0.5 * (g0 - g1 + g2);
  memory[at + 3u * DEPTH * WIDTH] = g2;
}

// Puts two of a thread's eight parts into workgroup memory; returns a pixel's vector of one of the eight parts that are there
// then: pixel t / 8 % 4 of part t / 32, columns t % 8.
fn transform_back(t: u32, first: Pair, second: Pair) -> vec4<f32> {
  let position = t / 16u;
  let at = (t % 16u / 4u * 16u + position) * WIDTH + t % 4u;
  workgroupBarrier();
  memory[at] = first.x0;
  memory[at + 4u] = first.x1;
  memory[at + 64u * WIDTH] = second.x0;
  memory[at + 64u * WIDTH + 4u] = second.x1;
  workgroupBarrier();
  let y = t / 16u % 2u;
  let x = t / 8u % 2u;
  var sum = vec4<f32>();
  for (var i = 0u; i < 3u; i++) {
    for (var j = 0u; j < 3u; j++) {
      let plus = (y == 1u && i > 0u) == (x == 1u && j > 0u);
      let value = memory[(t / 32u * 16u + 4u * (y + i) + x + j) * WIDTH + t % 8u];
      sum += select(-value, value, plus);
    }
  }
  return sum;
}

// The epilogue of a pixel: what is stored, zero outside the result.
fn finish_pixel(rows: Rows, i: u32, pixel: u32, n: u32, value: vec4<f32>) -> vec4<f32> {
  let part = part_of(rows, i);
  if (!part.inside || n >= p.n4) {
    return vec4<f32>();
  }
  let row = (part.b * p.run_h + part.y + pixel / 2u) * p.run_w + part.x + pixel % 2u;
  return store_one(row * p.n4 + n, activate(shift(value, n)));
}

// The sum over the 32 threads that have the same columns.
fn sum_over(t: u32, value: vec4<f32>) -> vec4<f32> {
  workgroupBarrier();
  memory[t] = value;
  workgroupBarrier();
  var sum = vec4<f32>();
  for (var i = 0u; i < THREADS; i += WIDTH) {
    sum += memory[i + t % WIDTH];
  }
  return sum;
}

// Mean and squared deviations of each channel in 64 pixels from row m0 on, of which a thread has one in part i and one in part i + 8.
fn measure_channels(t: u32, rows: Rows, i: u32, n: u32, y0: vec4<f32>, y1: vec4<f32>) {
  let m0 = rows.first + i / 16u * 64u;
  let count = f32(max(min(64u, rows.end - min(m0, rows.end)), 1u));
  let mean = sum_over(t, y0 + y1) / count;
  let d0 = select(vec4<f32>(), y0 - mean, part_of(rows, i).inside);
  let d1 = select(vec4<f32>(), y1 - mean, part_of(rows, i + 8u).inside);
  let deviations = sum_over(t, d0 * d0 + d1 * d1);
  if (t < WIDTH && n < p.n4 && m0 < rows.end) {
    let at = ((rows.measured + i / 16u) * 2u * p.n4 + n) * 4u;
    for (var lane = 0u; lane < 4u; lane++) {
      moments[at + lane] = mean[lane];
      moments[at + p.n4 * 4u + lane] = deviations[lane];
    }
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let rows = rows_of(group.y + origin.y + group.z * p.groups_y, ROWS);
  let n0 = group.x * WIDTH;
  let channels = p.c1 + p.c2;
  let mine = part_of(rows, t % PARTS);
  // Where the thread's part and its columns lie in the chunk, at its position.
  let a = (t / 16u * PARTS + t % 16u / 4u) * CHUNK;
  let b = INPUTS + t / 16u * DEPTH * WIDTH + t % 4u;

  // Sixteen sums, by name: what is indexed may end up in memory.
  var r00 = vec4<f32>(); var r01 = vec4<f32>(); var r10 = vec4<f32>(); var r11 = vec4<f32>();
  var r20 = vec4<f32>(); var r21 = vec4<f32>(); var r30 = vec4<f32>(); var r31 = vec4<f32>();
  var r40 = vec4<f32>(); var r41 = vec4<f32>(); var r50 = vec4<f32>(); var r51 = vec4<f32>();
  var r60 = vec4<f32>(); var r61 = vec4<f32>(); var r70 = vec4<f32>(); var r71 = vec4<f32>();
  for (var c0 = 0u; c0 < channels; c0 += CHUNK) {
    workgroupBarrier();
    // Half of the threads bring inputs, the others filters.
    for (var q = 0u; q < CHUNK; q++) {
      if (t < THREADS / 2u) {
        bring_input(mine, t % PARTS, t / PARTS, q, c0 + q);
      } else {
        let depth = 4u * q + t / 32u % 4u;
        bring_filter(t / 8u % 4u, depth, 4u * c0 + depth, t % 8u, n0);
      }
    }
    workgroupBarrier();
    for (var q = 0u; q < CHUNK; q++) {
      let k = b + 4u * q * WIDTH;
      let w00 = memory[k];              let w01 = memory[k + 4u];
      let w10 = memory[k + WIDTH];      let w11 = memory[k + WIDTH + 4u];
      let w20 = memory[k + 2u * WIDTH]; let w21 = memory[k + 2u * WIDTH + 4u];
      let w30 = memory[k + 3u * WIDTH]; let w31 = memory[k + 3u * WIDTH + 4u];
      let x0 = memory[a + q];
      r00 += x0.x * w00 + x0.y * w10 + x0.z * w20 + x0.w * w30;
      r01 += x0.x * w01 + x0.y * w11 + x0.z * w21 + x0.w * w31;
      let x1 = memory[a + 4u * CHUNK + q];
      r10 += x1.x * w00 + x1.y * w10 + x1.z * w20 + x1.w * w30;
      r11 += x1.x * w01 + x1.y * w11 + x1.z * w21 + x1.w * w31;
      let x2 = memory[a + 8u * CHUNK + q];
      r20 += x2.x * w00 + x2.y * w10 + x2.z * w20 + x2.w * w30;
      r21 += x2.x * w01 + x2.y * w11 + x2.z * w21 + x2.w * w31;
      let x3 = memory[a + 12u * CHUNK + q];
      r30 += x3.x * w00 + x3.y * w10 + x3.z * w20 + x3.w * w30;
      r31 += x3.x * w01 + x3.y * w11 + x3.z * w21 + x3.w * w31;
      let x4 = memory[a + 16u * CHUNK + q];
      r40 += x4.x * w00 + x4.y * w10 + x4.z * w20 + x4.w * w30;
      r41 += x4.x * w01 + x4.y * w11 + x4.z * w21 + x4.w * w31;
      let x5 = memory[a + 20u * CHUNK + q];
      r50 += x5.x * w00 + x5.y * w10 + x5.z * w20 + x5.w * w30;
      r51 += x5.x * w01 + x5.y * w11 + x5.z * w21 + x5.w * w31;
      let x6 = memory[a + 24u * CHUNK + q];
      r60 += x6.x * w00 + x6.y * w10 + x6.z * w20 + x6.w * w30;
      r61 += x6.x * w01 + x6.y * w11 + x6.z * w21 + x6.w * w31;
      let x7 = memory[a + 28u * CHUNK + q];
      r70 += x7.x * w00 + x7.y * w10 + x7.z * w20 + x7.w * w30;
      r71 += x7.x * w01 + x7.y * w11 + x7.z * w21 + x7.w * w31;
    }
  }

  // What a thread finishes: one pixel of the eighth, and of each eighth part after it.
  let i = t / 32u;
  let pixel = t / 8u % 4u;
  let n = n0 + t % 8u;
  let y0 = finish_pixel(rows, i, pixel, n, transform_back(t, Pair(r00, r01), Pair(r10, r11)));
  let y1 = finish_pixel(rows, i + 8u, pixel, n, transform_back(t, Pair(r20, r21), Pair(r30, r31)));
  let y2 = finish_pixel(rows, i + 16u, pixel, n, transform_back(t, Pair(r40, r41), Pair(r50, r51)));
  let y3 = finish_pixel(rows, i + 24u, pixel, n, transform_back(t, Pair(r60, r61), Pair(r70, r71)));
  if (MEASURE == 1u) {
    measure_channels(t, rows, i, n, y0, y1);
    measure_channels(t, rows, i + 16u, n, y2, y3);
  }
}
