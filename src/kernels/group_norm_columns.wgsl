// As group_norm.wgsl, for adapters that are programs on a CPU: a thread has four channels of a run of pixels, so that what belongs to
// the channels is read once and nothing passes through workgroup memory.

@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;  // (B, slabs, groups): count, mean, deviations
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;    // (4·(c1 + c2))
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;     // (4·(c1 + c2))
@group(0) @binding(5) var<storage, read_write> y: array<out4>;       // (B, pixels, 4·(c1 + c2))

// Mean of a group, and what its deviations are multiplied with: the slabs' statistics merged (Chan, Golub and LeVeque 1979).
fn norm_of(b: u32, g: u32) -> vec2<f32> {
  var all = partial[b * p.slabs * GROUPS + g];
  for (var slab = 1u; slab < p.slabs; slab++) {
    let more = partial[(b * p.slabs + slab) * GROUPS + g];
    let count = all.x + more.x;
    let delta = more.y - all.y;
    all = vec4<f32>(count, all.y + delta * more.x / count, all.z + more.z + delta * delta * all.x * more.x / count, 0.0);
  }
  return vec2<f32>(all.y, inverseSqrt(all.z / all.x + p.epsilon));
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let b = group.z;
  let channels = p.c1 + p.c2;
  let id = (group.y * p.groups_x + group.x) * 32u + t;
  let c = id % channels;
  let first = id / channels * RUN;
  if (first >= p.pixels) {
    return;
  }
  var mean: vec4<f32>;
  var scale: vec4<f32>;
  var last = c * 4u / p.group_channels;
  var norm = norm_of(b, last);
  @unroll for (var i = 0u; i < 4u; i++) {
    let g = (c * 4u + i) / p.group_channels;
    if (g != last) {
      norm = norm_of(b, g);
      last = g;
    }
    mean[i] = norm.x;
    scale[i] = norm.y;
  }
  scale *= gamma[c];
  let shift = beta[c];
  for (var i = first; i < min(first + RUN, p.pixels); i++) {
    let pixel = b * p.pixels + i;
    let value = load_x(pixel, c);
    var normal = (value - mean) * scale + shift;
    if (SILU) {
      normal = normal / (1.0 + exp(-normal));
    }
    y[pixel * channels + c] = store_out(normal);
  }
}
