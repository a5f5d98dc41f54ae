// One thread computes one query row, and reads keys and values straight from memory: for software adapters whose threads read each
// other's registers. A workgroup is one subgroup, of which every thread brings another key and value and hands them round.

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let first = (group.x + origin.x) * LANES;
  let head = group.y;
  let b = group.z;
  // Who has no row computes the last one beside the others, which need its keys.
  let row = min(first + lane, p.queries - 1u);
  var query: array<vec4<f32>, D4>;
  var sum: array<vec4<f32>, D4>;
  let q0 = q_at(b, row, head);
  for (var i = 0u; i < D4; i++) {
    query[i] = load4(q[q0 + i]) * p.scale;
  }
  var largest = -3.0e38;
  var total = 0.0;
  let keys = visible(b, row);
  let all = visible(b, min(first + LANES, p.queries) - 1u);
  for (var start = 0u; start < all; start += LANES) {
    let key = min(start + lane, all - 1u);
    let k0 = k_at(b, key, head);
    let v0 = v_at(b, key, head);
    // Zeros by name: in Chromium on SwiftShader what has no initialiser keeps its numbers from turn to turn.
    var scores = array<f32, LANES>();
    for (var i = 0u; i < D4; i++) {
      let x = load4(k[k0 + i]);
      let y = query[i];
      @unroll for (var l = 0u; l < LANES; l++) {
        scores[l] += dot(y, subgroupBroadcast(x, l));
      }
    }
    var top = largest;
    @unroll for (var l = 0u; l < LANES; l++) {
      scores[l] = select(-3.0e38, scores[l], start + l < keys);
      top = max(top, scores[l]);
    }
    let fade = exp(largest - top);
    largest = top;
    total *= fade;
    @unroll for (var l = 0u; l < LANES; l++) {
      scores[l] = exp(scores[l] - top);
      total += scores[l];
    }
    for (var i = 0u; i < D4; i++) {
      let x = load4(v[v0 + i]);
      var y = sum[i] * fade;
      @unroll for (var l = 0u; l < LANES; l++) {
        y += scores[l] * subgroupBroadcast(x, l);
      }
      sum[i] = y;
    }
  }
  if (first + lane < p.queries) {
    let o0 = out_at(b, row, head);
    for (var i = 0u; i < D4; i++) {
      out[o0 + i] = store_out(sum[i] / total);
    }
  }
}
