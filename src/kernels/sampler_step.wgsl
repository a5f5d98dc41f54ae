// Classifier-free guidance (Ho and Salimans 2022) and one update of the sampler, in f32:
//   ε = ε₀ + Σ wᵢ · (εᵢ − ε₀);   denoised = x − σ ε;   x ← keep · x + toward · denoised
// where ε₀ is without the prompt and wᵢ is the guidance times the weight of the i-th part of the prompt.

@group(0) @binding(0) var<storage, read> eps: array<vec4<f32>>;        // (B, pixels, 4)
@group(0) @binding(1) var<storage, read> step: array<vec4<f32>>;       // (8 + B): index, scale, σ, –; keep, toward, –, –; wᵢ
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;    // (pixels, 4)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.pixels) {
    return;
  }
  let base = eps[id.x];
  var e = base;
  for (var i = 1u; i < p.batch; i++) {
    e += step[2u + i / 4u][i % 4u] * (eps[i * p.pixels + id.x] - base);
  }
  let denoised = x[id.x] - step[0].z * e;
  x[id.x] = step[1].x * x[id.x] + step[1].y * denoised;
}
