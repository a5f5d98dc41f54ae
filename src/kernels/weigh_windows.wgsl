// A1111's emphasis over encoded windows: y = x · m, then scaled so that the window's mean is what it was. One
// workgroup per window.

@group(0) @binding(0) var<storage, read> x: array<elem4>;              // (windows, 77, 4·c)
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;    // (windows · 77, 4): m, and three times nothing
@group(0) @binding(2) var<storage, read_write> y: array<out4>;         // (windows, 77, 4·c)

var<workgroup> lanes: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let tokens = group.x * 77u;
  let count = 77u * p.c;
  var sums = vec2<f32>();
  for (var i = t; i < count; i += 64u) {
    let value = dot(load4(x[tokens * p.c + i]), vec4<f32>(1.0));
    sums += vec2<f32>(value, value * weights[tokens + i / p.c].x);
  }
  lanes[t] = sums;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (t < half) {
      lanes[t] += lanes[t + half];
    }
    workgroupBarrier();
  }
  // Sums that cancel to nothing have no mean to restore.
  var scale = 1.0;
  if (lanes[0].y != 0.0) {
    scale = lanes[0].x / lanes[0].y;
  }
  for (var i = t; i < count; i += 64u) {
    let at = tokens * p.c + i;
    y[at] = store_out(load4(x[at]) * (weights[tokens + i / p.c].x * scale));
  }
}
