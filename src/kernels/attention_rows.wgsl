// One thread computes one query row and reads keys and values straight from memory: for software adapters without subgroups.

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = (group.x + origin.x) * 32u + t;
  let head = group.y;
  let b = group.z;
  if (row >= p.queries) {
    return;
  }
  var query: array<vec4<f32>, D4>;
  var sum: array<vec4<f32>, D4>;
  let q0 = q_at(b, row, head);
  for (var i = 0u; i < D4; i++) {
    query[i] = load4(q[q0 + i]) * p.scale;
  }
  var largest = -3.0e38;
  var total = 0.0;
  let keys = visible(b, row);
  for (var key = 0u; key < keys; key++) {
    let k0 = k_at(b, key, head);
    let v0 = v_at(b, key, head);
    var score = 0.0;
    for (var i = 0u; i < D4; i++) {
      score += dot(query[i], load4(k[k0 + i]));
    }
    let top = max(largest, score);
    let fade = exp(largest - top);
    let weight = exp(score - top);
    largest = top;
    total = total * fade + weight;
    for (var i = 0u; i < D4; i++) {
      sum[i] = sum[i] * fade + weight * load4(v[v0 + i]);
    }
  }
  let o0 = out_at(b, row, head);
  for (var i = 0u; i < D4; i++) {
    out[o0 + i] = store_out(sum[i] / total);
  }
}
