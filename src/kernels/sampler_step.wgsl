// Classifier-free guidance (Ho and Salimans 2022), and one instruction of a sampler's program, in f32:
//   ε = ε₀ + Σ wᵢ · (εᵢ − ε₀);   denoised = skip · x + out · ε;   registers ← matrix · registers
// or, with its contrast brought back, k = 1/(1 + σ²):   denoised = (k + f · (skip − k)) · x + f · out · ε
// where ε₀ is without the prompt and wᵢ is the guidance times the weight of the i-th part of the prompt. Register 0 is x,
// register 1 the denoised latents, 2 noise if there is any, then what the sampler keeps.

@group(0) @binding(0) var<storage, read> eps: array<vec4<f32>>;               // (B, pixels, 4)
@group(0) @binding(1) var<storage, read> step: array<vec4<f32>>;              // index, scale, skip, out; σ; wᵢ; (R, 8)
@group(0) @binding(2) var<storage, read> repaint: array<vec4<f32>>;           // (3, pixels, 4)
@group(0) @binding(3) var<storage, read> factors: array<vec4<f32>>;           // (n): f, of the n pictures in a row
@group(0) @binding(4) var<storage, read_write> registers: array<vec4<f32>>;   // (R, pixels, 4)

fn denoised(pixel: u32, x: vec4<f32>) -> vec4<f32> {
  let base = eps[pixel];
  var e = base;
  for (var i = 1u; i < p.batch; i++) {
    e += step[2u + i / 4u][i % 4u] * (eps[i * p.pixels + pixel] - base);
  }
  var skip = step[0].z;
  var out = step[0].w;
  if (RESCALED) {
    let f = factors[pixel / p.picture].x;
    let k = step[0].y * step[0].y;
    skip = k + f * (skip - k);
    out *= f;
  }
  let found = skip * seen(x, pixel) + out * e;
  if (REPAINT) {
    return mix(repaint[pixel], found, repaint[2u * p.pixels + pixel].y);
  }
  return found;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.pixels) {
    return;
  }
  var old: array<vec4<f32>, REGISTERS>;
  for (var r = 0u; r < REGISTERS; r++) {
    old[r] = registers[r * p.pixels + id.x];
  }
  if (EVALUATED) {
    old[1] = denoised(id.x, old[0]);
  }
  let matrix = 2u + (p.batch + 3u) / 4u;
  for (var r = 0u; r < REGISTERS; r++) {
    var sum = vec4<f32>();
    for (var i = 0u; i < REGISTERS; i++) {
      sum += step[matrix + 2u * r + i / 4u][i % 4u] * old[i];
    }
    registers[r * p.pixels + id.x] = sum;
  }
}
