// Classifier-free guidance (Ho and Salimans 2022) and one update of the sampler, in f32:
//   ε = ε_uncond + cfg · (ε_cond − ε_uncond);   denoised = x − σ ε;   x ← keep · x + toward · denoised

@group(0) @binding(0) var<storage, read> eps: array<vec4<f32>>;        // (B, pixels, 4): unconditional first
@group(0) @binding(1) var<storage, read> step: array<vec4<f32>>;       // (8): index, scale, σ, cfg; keep, toward
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;    // (pixels, 4)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.pixels) {
    return;
  }
  var e = eps[id.x];
  if (GUIDED) {
    e += step[0].w * (eps[p.pixels + id.x] - e);
  }
  let denoised = x[id.x] - step[0].z * e;
  x[id.x] = step[1].x * x[id.x] + step[1].y * denoised;
}
