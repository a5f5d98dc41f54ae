// Mean and sum of squared deviations of each group's numbers within a slab of pixels. One workgroup per
// (group, slab, batch item); two passes over the slab, so that nothing cancels.

@group(0) @binding(2) var<storage, read_write> partial: array<vec4<f32>>; // (B, slabs, groups): count, mean, deviations

var<workgroup> lanes: array<f32, 64>;

// Sum of one number per thread, in a fixed order.
fn sum_of(value: f32, t: u32) -> f32 {
  workgroupBarrier();
  lanes[t] = value;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (t < half) {
      lanes[t] += lanes[t + half];
    }
    workgroupBarrier();
  }
  return lanes[0];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let g = group.x;
  let slab = group.y;
  let b = group.z;
  let first = slab * p.slab_pixels;
  let pixels = min(p.slab_pixels, p.pixels - first);
  // The group's channels, and the vectors of four they touch.
  let low = g * p.group_channels;
  let high = low + p.group_channels;
  let c0 = low / 4u;
  let width = (high + 3u) / 4u - c0;
  let count = f32(pixels * p.group_channels);

  var sum = 0.0;
  for (var i = t; i < pixels * width; i += 64u) {
    let c = c0 + i % width;
    let lane = vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = (lane >= vec4<u32>(low)) & (lane < vec4<u32>(high));
    let value = load_x(b * p.pixels + first + i / width, c);
    sum += dot(select(vec4<f32>(), value, inside), vec4<f32>(1.0));
  }
  let mean = sum_of(sum, t) / count;
  var deviations = 0.0;
  for (var i = t; i < pixels * width; i += 64u) {
    let c = c0 + i % width;
    let lane = vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = (lane >= vec4<u32>(low)) & (lane < vec4<u32>(high));
    let value = load_x(b * p.pixels + first + i / width, c) - mean;
    let deviation = select(vec4<f32>(), value, inside);
    deviations += dot(deviation, deviation);
  }
  let total = sum_of(deviations, t);
  if (t == 0u) {
    partial[(b * p.slabs + p.first_slab + slab) * p.groups + g] = vec4<f32>(count, mean, total, 0.0);
  }
}
