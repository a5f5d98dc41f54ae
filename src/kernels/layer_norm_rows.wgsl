// As layer_norm.wgsl, for adapters that are programs on a CPU: a thread has a row to itself, so that nothing is summed over threads.

@group(0) @binding(0) var<storage, read> x: array<elem4>;          // (rows, 4·c)
@group(0) @binding(1) var<storage, read> affine: array<vec4<f32>>; // (2, 4·c): gamma, beta
@group(0) @binding(2) var<storage, read_write> y: array<out4>;     // (rows, 4·c)

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = (group.y * p.groups_x + group.x) * 16u + t;
  if (row >= p.rows) {
    return;
  }
  let at = row * p.c;
  var sum = vec4<f32>();
  for (var c = 0u; c < p.c; c++) {
    sum += load4(x[at + c]);
  }
  let count = f32(p.c * 4u);
  let mean = dot(sum, vec4<f32>(1.0)) / count;
  var deviations = 0.0;
  for (var c = 0u; c < p.c; c++) {
    let deviation = load4(x[at + c]) - mean;
    deviations += dot(deviation, deviation);
  }
  let scale = inverseSqrt(deviations / count + p.epsilon);
  for (var c = 0u; c < p.c; c++) {
    y[at + c] = store_out((load4(x[at + c]) - mean) * scale * affine[c] + affine[p.c + c]);
  }
}
