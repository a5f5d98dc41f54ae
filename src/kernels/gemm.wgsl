// out[m, n] = Σ_k a[m, k] · w[k, n], then the epilogue. What both tile shapes share: bindings, addresses, epilogue.
//
// A convolution is the same product: row m is an output pixel (b, y, x), and k runs over the filter's taps and the
// input's channels. Nothing is unfolded in memory, the addresses are computed here (implicit GEMM). A second input
// `a2` continues the channels of the first, so that concatenation costs nothing.

@group(0) @binding(0) var<storage, read> a: array<elem4>;             // (B, in_h, in_w, 4·c1)
@group(0) @binding(1) var<storage, read> a2: array<elem4>;            // (B, in_h, in_w, 4·c2)
@group(0) @binding(2) var<storage, read> w: array<elem4>;             // (KERNEL, KERNEL, 4·(c1 + c2), 4·n4)
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // (4·n4)
@group(0) @binding(4) var<storage, read> row_bias: array<elem4>;      // (steps, 4·n4)
@group(0) @binding(5) var<storage, read> step: array<vec4<f32>>;      // step[0].x = index of the current step
@group(0) @binding(6) var<storage, read> residual: array<elem4>;      // as out
@group(0) @binding(7) var<storage, read_write> out: array<out4>;      // (B, out_h, out_w, 4·n4), or half of that with GEGLU

// Index of the input pixel under tap (ky, kx) of output row m, or -1 in the padding.
fn pixel(m: u32, ky: u32, kx: u32) -> i32 {
  if (POINTWISE) {
    return select(-1, i32(m), m < p.rows);
  }
  if (m >= p.rows) {
    return -1;
  }
  let b = m / (p.out_h * p.out_w);
  let y = (m / p.out_w) % p.out_h * p.stride + ky + p.above;
  let x = m % p.out_w * p.stride + kx;
  // up_h × up_w is the size the input is stretched to (nearest neighbour) before the convolution.
  if (y < p.pad || x < p.pad || y - p.pad >= p.up_h || x - p.pad >= p.up_w) {
    return -1;
  }
  let in_y = (y - p.pad) * p.in_h / p.up_h;
  let in_x = (x - p.pad) * p.in_w / p.up_w;
  return i32((b * p.in_h + in_y) * p.in_w + in_x);
}

// Four channels of an input pixel.
fn load_a(at: i32, c: u32) -> vec4<f32> {
  if (at < 0 || c >= p.c1 + p.c2) {
    return vec4<f32>();
  }
  if (TWO_INPUTS) {
    if (c >= p.c1) {
      return load4(a2[u32(at) * p.c2 + c - p.c1]);
    }
  }
  return load4(a[u32(at) * p.c1 + c]);
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

fn store_one(m: u32, n: u32, width: u32, value: vec4<f32>) {
  let at = m * width + n;
  var y = value;
  if (RESIDUAL) {
    y += load4(residual[at]);
  }
  if (ADD) {
    y += load_out(out[at]);
  }
  if (ACTIVATION == 3u) {
    y = max(y, vec4<f32>());             // ReLU
  }
  out[at] = store_out(y);
}

// Two neighbouring vectors of a row of the product.
fn finish(m: u32, n: u32, x0: vec4<f32>, x1: vec4<f32>) {
  if (m >= p.rows || n >= p.n4) {
    return;
  }
  if (GEGLU) {
    // Columns are interleaved at loading: four values, then their four gates.
    store_one(m, n / 2u, p.n4 / 2u, shift(x0, n) * gelu4(shift(x1, n + 1u)));
    return;
  }
  store_one(m, n, p.n4, activate(shift(x0, n)));
  if (n + 1u < p.n4) {
    store_one(m, n + 1u, p.n4, activate(shift(x1, n + 1u)));
  }
}
