// out[m, n] = Σ_k a[m, k] · w[k, n], then the epilogue. What all tile shapes share: bindings, addresses, epilogue.
//
// A convolution is the same product: row m is an output pixel (b, y, x), and k runs over the filter's taps and the
// input's channels. Nothing is unfolded in memory, the addresses are computed here (implicit GEMM). A second input
// `a2` continues the channels of the first, so that concatenation costs nothing.

@group(0) @binding(0) var<storage, read> a: array<elem4>;             // (B, in_h, in_w, 4·c1)
@group(0) @binding(1) var<storage, read> a2: array<elem4>;            // (B, in_h, in_w, 4·c2)
@group(0) @binding(2) var<storage, read> w: array<elem4>;             // (PHASES, KERNEL, KERNEL, 4·(c1 + c2), 4·n4)
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // (4·n4)
@group(0) @binding(4) var<storage, read> row_bias: array<elem4>;      // (steps, 4·n4)
@group(0) @binding(5) var<storage, read> step: array<vec4<f32>>;      // step[0].x = index of the current step
@group(0) @binding(6) var<storage, read> residual: array<elem4>;      // as out, or an equal part of its batch
@group(0) @binding(7) var<storage, read> row_moments: array<f32>;     // of a: as `moments` of its rows
@group(0) @binding(8) var<storage, read> affine: array<vec4<f32>>;    // (2, 4·c1): gamma, beta
@group(0) @binding(9) var<storage, read> partials: array<vec4<f32>>;  // (slices, PHASES, rows, 4·n4): the product in parts
@group(0) @binding(10) var<storage, read_write> out: array<out4>;     // (B, out_h, out_w, 4·n4), or half of that with GEGLU
// Mean and sum of squared deviations of parts of the result: of each channel in a tile of 64 rows, (row tiles, 2, 4·n4), or
// of each row in a tile of 64 channels, (column tiles, 2, rows).
@group(0) @binding(11) var<storage, read_write> moments: array<f32>;

// Rows come in runs: all there are, or those of a batch item, whose statistics must not mix with another's. With four
// phases every run comes four times, once for each parity of the pixels of a picture that is doubled.
// `measured` is the tile of 64 rows whose statistics begin with them.
struct Rows { first: u32, end: u32, phase: u32, measured: u32 }

// The rows of a workgroup that computes `height` of them.
fn rows_of(tile: u32, height: u32) -> Rows {
  let tiles = (p.run_rows + height - 1u) / height;
  let run = tile / tiles;
  let first = run / PHASES * p.run_rows;
  let above = tile % tiles * height;
  let measured = run * ((p.run_rows + 63u) / 64u) + above / 64u;
  return Rows(first + above, min(first + p.run_rows, p.rows), run % PHASES, measured);
}

// Columns and rows of zeros before the input. A phase's filter of 2×2 begins a pixel before it where its own is the even row or column.
fn padding(phase: u32) -> vec2<u32> {
  return select(vec2<u32>(p.pad), vec2<u32>(1u - phase % 2u, 1u - phase / 2u), PHASES == 4u);
}

// Where the filter of output row m lies: picture, row and column of its first tap, counted from the padding's corner; below all pictures
// where there is no such row. Divisions are dear, and all taps need the same.
fn corner(m: u32, rows: Rows) -> vec3<u32> {
  if (m >= rows.end) {
    return vec3<u32>(0u, 0x40000000u, 0u);
  }
  if (POINTWISE) {
    return vec3<u32>(m, 0u, 0u);
  }
  let line = m / p.run_w;
  let b = line / p.run_h;
  return vec3<u32>(b, (line - b * p.run_h) * p.stride + p.above, (m - line * p.run_w) * p.stride);
}

// Index of the input pixel under tap (ky, kx) of a filter, or -1 in the padding.
fn under(corner: vec3<u32>, rows: Rows, ky: u32, kx: u32) -> i32 {
  if (POINTWISE) {
    return select(i32(corner.x), -1, corner.y > 0u);
  }
  let pad = padding(rows.phase);
  // In the padding these are very large.
  var y = corner.y + ky - pad.y;
  var x = corner.z + kx - pad.x;
  // up_h × up_w is the size the input is stretched to (nearest neighbour) before the convolution.
  if (y >= p.up_h || x >= p.up_w) {
    return -1;
  }
  if (STRETCHED) {
    y = y * p.in_h / p.up_h;
    x = x * p.in_w / p.up_w;
  }
  return i32((corner.x * p.in_h + y) * p.in_w + x);
}

// The same of output row m.
fn pixel(m: u32, rows: Rows, ky: u32, kx: u32) -> i32 {
  return under(corner(m, rows), rows, ky, kx);
}

// Where row m lies in the result.
fn place(m: u32, phase: u32) -> u32 {
  if (PHASES == 1u) {
    return m;
  }
  let b = m / (p.run_h * p.run_w);
  let y = (m / p.run_w) % p.run_h * 2u + phase / 2u;
  let x = m % p.run_w * 2u + phase % 2u;
  return (b * p.run_h * 2u + y) * p.run_w * 2u + x;
}

// Four channels of an input pixel, as they are stored.
fn fetch_a(at: i32, c: u32) -> elem4 {
  if (at < 0 || c >= p.c1 + p.c2) {
    return elem4();
  }
  if (TWO_INPUTS) {
    if (c >= p.c1) {
      return a2[u32(at) * p.c2 + c - p.c1];
    }
  }
  return a[u32(at) * p.c1 + c];
}

// The Gaussian error function, Abramowitz and Stegun 7.1.26: within 1.5e-7 everywhere.
fn erf4(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - poly * exp(-x * x));
}

fn gelu4(x: vec4<f32>) -> vec4<f32> {
  return 0.5 * x * (1.0 + erf4(x * 0.70710678));
}

fn activate(x: vec4<f32>) -> vec4<f32> {
  if (ACTIVATION == 1u) {
    return x / (1.0 + exp(-x));          // SiLU
  }
  if (ACTIVATION == 2u) {
    return x / (1.0 + exp(-1.702 * x));  // quick GELU, as OpenAI's CLIP
  }
  return x;
}

fn shift(x: vec4<f32>, n: u32) -> vec4<f32> {
  var y = x;
  if (BIAS) {
    y += bias[n];
  }
  if (ROW_BIAS) {
    y += load4(row_bias[u32(step[0].x) * p.n4 + n]);
  }
  return y;
}

// Stores four numbers and returns them as they are stored.
fn store_one(at: u32, value: vec4<f32>) -> vec4<f32> {
  var y = value;
  if (RESIDUAL) {
    y += load4(residual[at % p.residuals]);
  }
  if (ADD) {
    y += load_out(out[at]);
  }
  if (ACTIVATION == 3u) {
    y = max(y, vec4<f32>());             // ReLU
  }
  let stored = store_out(y);
  out[at] = stored;
  return load_out(stored);
}

// Two neighbouring vectors of a row of the product, or one where VECTORS is 1.
struct Pair { x0: vec4<f32>, x1: vec4<f32> }

// The epilogue of row m from column 4·n on: what is stored, zero outside the result.
fn finish(m: u32, rows: Rows, n: u32, x: Pair) -> Pair {
  var y = Pair();
  if (m >= rows.end || n >= p.n4) {
    return y;
  }
  let row = place(m, rows.phase);
  if (GEGLU) {
    // Columns are interleaved at loading: four values, then their four gates.
    y.x0 = store_one(row * (p.n4 / 2u) + n / 2u, shift(x.x0, n) * gelu4(shift(x.x1, n + 1u)));
    return y;
  }
  y.x0 = store_one(row * p.n4 + n, activate(shift(x.x0, n)));
  if (VECTORS == 2u && n + 1u < p.n4) {
    y.x1 = store_one(row * p.n4 + n + 1u, activate(shift(x.x1, n + 1u)));
  }
  return y;
}
