// One thread computes one query row; keys and values pass through workgroup memory in tiles of KEYS, where all
// threads read the same address at once. Scores are taken four at a time, so that rescaling is rare.

var<workgroup> tile_k: array<vec4<f32>, KEYS * D4>;
var<workgroup> tile_v: array<vec4<f32>, KEYS * D4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = (group.x + origin.x) * 64u + t;
  let head = group.y;
  let b = group.z;
  var query: array<vec4<f32>, D4>;
  var sum: array<vec4<f32>, D4>;
  if (row < p.queries) {
    let q0 = q_at(b, row, head);
    for (var i = 0u; i < D4; i++) {
      query[i] = load4(q[q0 + i]) * p.scale;
    }
  }
  var largest = -3.0e38;
  var total = 0.0;
  let mine = visible(b, row);
  let all = visible(b, min((group.x + origin.x) * 64u + 63u, p.queries - 1u));
  for (var start = 0u; start < all; start += KEYS) {
    workgroupBarrier();
    for (var i = t; i < KEYS * D4; i += 64u) {
      let key = start + i / D4;
      if (key < all) {
        tile_k[i] = load4(k[k_at(b, key, head) + i % D4]);
        tile_v[i] = load4(v[v_at(b, key, head) + i % D4]);
      } else {
        tile_v[i] = vec4<f32>();
      }
    }
    workgroupBarrier();
    for (var j = 0u; j < KEYS; j += 4u) {
      var score = vec4<f32>();
      for (var i = 0u; i < D4; i++) {
        let at = j * D4 + i;
        score += vec4<f32>(dot(query[i], tile_k[at]), dot(query[i], tile_k[at + D4]),
                           dot(query[i], tile_k[at + 2u * D4]), dot(query[i], tile_k[at + 3u * D4]));
      }
      let key = vec4<u32>(start + j) + vec4<u32>(0u, 1u, 2u, 3u);
      score = select(vec4<f32>(-3.0e38), score, key < vec4<u32>(mine));
      let top = max(max(max(score.x, score.y), max(score.z, score.w)), largest);
      let fade = exp(largest - top);
      let weight = select(vec4<f32>(), exp(score - top), key < vec4<u32>(mine));
      largest = top;
      total = total * fade + dot(weight, vec4<f32>(1.0));
      for (var i = 0u; i < D4; i++) {
        let at = j * D4 + i;
        sum[i] = sum[i] * fade + weight.x * tile_v[at] + weight.y * tile_v[at + D4]
               + weight.z * tile_v[at + 2u * D4] + weight.w * tile_v[at + 3u * D4];
      }
    }
  }
  if (row < p.queries) {
    let o0 = out_at(b, row, head);
    for (var i = 0u; i < D4; i++) {
      out[o0 + i] = store_out(sum[i] / total);
    }
  }
}
