// y = silu?((x − mean) / √(variance + ε) · gamma + beta). Each workgroup first merges the slabs' statistics of its
// batch item (Chan, Golub and LeVeque 1979), then normalises a run of vectors.

@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;  // (B, slabs, groups): count, mean, deviations
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;    // (4·(c1 + c2))
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;     // (4·(c1 + c2))
@group(0) @binding(5) var<storage, read_write> y: array<out4>;       // (B, pixels, 4·(c1 + c2))

var<workgroup> means: array<f32, GROUPS>;
var<workgroup> scales: array<f32, GROUPS>;

const EACH: u32 = 8u;  // vectors per thread

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let b = group.z;
  for (var g = t; g < GROUPS; g += 64u) {
    var all = partial[b * p.slabs * GROUPS + g];
    for (var slab = 1u; slab < p.slabs; slab++) {
      let more = partial[(b * p.slabs + slab) * GROUPS + g];
      let count = all.x + more.x;
      let delta = more.y - all.y;
      all = vec4<f32>(count, all.y + delta * more.x / count, all.z + more.z + delta * delta * all.x * more.x / count, 0.0);
    }
    means[g] = all.y;
    scales[g] = inverseSqrt(all.z / all.x + p.epsilon);
  }
  workgroupBarrier();

  let channels = p.c1 + p.c2;
  let start = (group.y * p.groups_x + group.x) * 64u * EACH;
  for (var i = 0u; i < EACH; i++) {
    let at = start + i * 64u + t;
    if (at < p.pixels * channels) {
      let pixel = b * p.pixels + at / channels;
      let c = at % channels;
      let value = load_x(pixel, c);
      let g = (vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u)) / p.group_channels;
      let mean = vec4<f32>(means[g.x], means[g.y], means[g.z], means[g.w]);
      let scale = vec4<f32>(scales[g.x], scales[g.y], scales[g.z], scales[g.w]);
      var normal = (value - mean) * scale * gamma[c] + beta[c];
      if (SILU) {
        normal = normal / (1.0 + exp(-normal));
      }
      y[pixel * channels + c] = store_out(normal);
    }
  }
}
