// The UNet's last convolution, guidance and an instruction of the sampler's program at once: what the network says of a pixel goes from
// one thread's sums into the registers. A convolution is linear, so guidance mixes its inputs, h = h₀ + Σ wᵢ · (hᵢ − h₀), and
// one is made instead of one for each prompt; a tile shape of `gemm` would compute 64 columns for the four there are. LANES threads
// share a pixel, each with every LANES-th vector of the channels; alone a thread needs no barrier, which is what software
// adapters want.

@group(0) @binding(0) var<storage, read> h: array<elem4>;                     // (prompts, pictures, height, width, 4·c4)
@group(0) @binding(1) var<storage, read> w: array<elem4>;                     // (3, 3, 4·c4, 4)
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;              // (4)
@group(0) @binding(3) var<storage, read> step: array<vec4<f32>>;              // index, scale, skip, out; σ; wᵢ; (R, 8)
@group(0) @binding(4) var<storage, read> repaint: array<vec4<f32>>;           // (3, pixels, 4)
@group(0) @binding(5) var<storage, read> factors: array<vec4<f32>>;           // never there: contrast needs all of ε first
@group(0) @binding(6) var<storage, read_write> registers: array<vec4<f32>>;   // (R, pixels, 4)

var<workgroup> sums: array<vec4<f32>, select(1u, 64u, LANES > 1u)>;

// Four channels of a pixel of the input, as guidance mixes them.
fn guided(at: u32) -> vec4<f32> {
  let base = load4(h[at]);
  var x = base;
  for (var i = 1u; i < p.prompts; i++) {
    x += guidance(i) * (load4(h[i * p.pixels * p.c4 + at]) - base);
  }
  return x;
}

// What every LANES-th vector of the channels, from the `lane`-th on, gives for ε of a pixel.
fn part_of_eps(pixel: u32, lane: u32) -> vec4<f32> {
  let y = pixel % p.picture / p.width;
  let x = pixel % p.width;
  var sum = vec4<f32>();
  for (var ky = 0u; ky < 3u; ky++) {
    for (var kx = 0u; kx < 3u; kx++) {
      // One before the pixel's own row and column; zeros lie around the picture.
      if (y + ky < 1u || y + ky > p.height || x + kx < 1u || x + kx > p.width) {
        continue;
      }
      let first = pixel + ky * p.width + kx - p.width - 1u;
      for (var c = lane; c < p.c4; c += LANES) {
        let value = guided(first * p.c4 + c);
        let k = ((ky * 3u + kx) * p.c4 + c) * 4u;
        sum += value.x * load4(w[k]) + value.y * load4(w[k + 1u]) + value.z * load4(w[k + 2u]) + value.w * load4(w[k + 3u]);
      }
    }
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let pixel = group.x * (64u / LANES) + t / LANES;
  let there = pixel < p.pixels;
  var e = vec4<f32>();
  if (there) {
    e = part_of_eps(pixel, t % LANES);
  }
  if (LANES > 1u) {
    sums[t] = e;
    workgroupBarrier();
    e = vec4<f32>();
    for (var i = 0u; i < LANES; i++) {
      e += sums[t / LANES * LANES + i];
    }
  }
  if (there && t % LANES == 0u) {
    advance(pixel, e + bias[0]);
  }
}
