// As group_norm_stats.wgsl, for adapters that are programs on a CPU: a thread has a group of a slab to itself, so that nothing is
// summed over threads, and reads it once. It merges the statistics of eight vectors at a time (Chan, Golub and LeVeque 1979), so
// that nothing cancels.

@group(0) @binding(2) var<storage, read_write> partial: array<vec4<f32>>; // (B, slabs, groups): count, mean, deviations

const AT_ONCE: u32 = 8u;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let g = group.x * 32u + t;
  let slab = group.y;
  let b = group.z;
  if (g >= p.groups) {
    return;
  }
  let first = slab * p.slab_pixels;
  let pixels = min(p.slab_pixels, p.pixels - first);
  // The group's channels, and the vectors of four they touch.
  let low = g * p.group_channels;
  let high = low + p.group_channels;
  let c0 = low / 4u;
  let width = (high + 3u) / 4u - c0;
  var count = 0.0;
  var mean = 0.0;
  var deviations = 0.0;
  for (var start = 0u; start < pixels * width; start += AT_ONCE) {
    // Zeros by name, as in attention_lanes.wgsl.
    var values = array<vec4<f32>, AT_ONCE>();
    var inside = array<vec4<f32>, AT_ONCE>();
    var more = 0.0;
    var sum = 0.0;
    @unroll for (var i = 0u; i < 8u; i++) {
      let at = start + i;
      let c = c0 + at % width;
      let lane = vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
      if (at < pixels * width) {
        values[i] = load_x(b * p.pixels + first + at / width, c);
        inside[i] = select(vec4<f32>(), vec4<f32>(1.0), (lane >= vec4<u32>(low)) & (lane < vec4<u32>(high)));
      }
      more += dot(inside[i], vec4<f32>(1.0));
      sum += dot(inside[i], values[i]);
    }
    let centre = sum / more;
    @unroll for (var i = 0u; i < 8u; i++) {
      let apart = inside[i] * (values[i] - centre);
      deviations += dot(apart, apart);
    }
    let delta = centre - mean;
    let share = more / (count + more);
    deviations += delta * delta * count * share;
    mean += delta * share;
    count += more;
  }
  partial[(b * p.slabs + p.first_slab + slab) * p.groups + g] = vec4<f32>(count, mean, deviations, 0.0);
}
