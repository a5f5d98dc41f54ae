// Classifier-free guidance (Ho and Salimans 2022), ε = ε₀ + Σ wᵢ · (εᵢ − ε₀), and what becomes of it: see `guidance.wgsl`. ε₀ is
// without the prompt and wᵢ is the guidance times the weight of the i-th part of the prompt.

@group(0) @binding(0) var<storage, read> eps: array<vec4<f32>>;               // (prompts, pixels, 4)
@group(0) @binding(1) var<storage, read> step: array<vec4<f32>>;              // index, scale, skip, out; σ; wᵢ; (R, 8)
@group(0) @binding(2) var<storage, read> repaint: array<vec4<f32>>;           // (3, pixels, 4)
@group(0) @binding(3) var<storage, read> factors: array<vec4<f32>>;           // (n): f, of the n pictures in a row
@group(0) @binding(4) var<storage, read_write> registers: array<vec4<f32>>;   // (R, pixels, 4)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.pixels) {
    return;
  }
  var e = vec4<f32>();
  if (EVALUATED) {
    let base = eps[id.x];
    e = base;
    for (var i = 1u; i < p.prompts; i++) {
      e += guidance(i) * (eps[i * p.pixels + id.x] - base);
    }
  }
  advance(id.x, e);
}
