// y = (x − mean) / √(variance + ε) · gamma + beta over the last axis. One workgroup per row, two passes.

@group(0) @binding(0) var<storage, read> x: array<elem4>;          // (rows, 4·c)
@group(0) @binding(1) var<storage, read> affine: array<vec4<f32>>; // (2, 4·c): gamma, beta
@group(0) @binding(2) var<storage, read_write> y: array<out4>;     // (rows, 4·c)

var<workgroup> lanes: array<f32, 32>;

// Sum of one number per thread, in a fixed order.
fn sum_of(value: f32, t: u32) -> f32 {
  workgroupBarrier();
  lanes[t] = value;
  workgroupBarrier();
  for (var half = 16u; half > 0u; half /= 2u) {
    if (t < half) {
      lanes[t] += lanes[t + half];
    }
    workgroupBarrier();
  }
  return lanes[0];
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = group.y * p.groups_x + group.x;
  let at = min(row, p.rows - 1u) * p.c;
  var sum = vec4<f32>();
  for (var c = t; c < p.c; c += 32u) {
    sum += load4(x[at + c]);
  }
  let count = f32(p.c * 4u);
  let mean = sum_of(dot(sum, vec4<f32>(1.0)), t) / count;
  var deviations = 0.0;
  for (var c = t; c < p.c; c += 32u) {
    let deviation = load4(x[at + c]) - mean;
    deviations += dot(deviation, deviation);
  }
  let scale = inverseSqrt(sum_of(deviations, t) / count + p.epsilon);
  if (row < p.rows) {
    for (var c = t; c < p.c; c += 32u) {
      y[at + c] = store_out((load4(x[at + c]) - mean) * scale * affine[c] + affine[p.c + c]);
    }
  }
}
