// For wide heads (the VAE's single head of 512), whose rows do not fit a thread's registers. A workgroup computes
// four query rows: for the scores a thread owns a key, for the sum it owns every 64th vector of columns, OWN of them.

var<workgroup> query: array<vec4<f32>, 4u * D4>;    // (4 rows, D)
var<workgroup> score: array<vec4<f32>, 64>;         // (64 keys), one lane per row

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = (group.x + origin.x) * 4u;
  let head = group.y;
  let b = group.z;
  for (var i = t; i < 4u * D4; i += 64u) {
    let r = min(row + i / D4, p.queries - 1u);
    query[i] = load4(q[q_at(b, r, head) + i % D4]) * p.scale;
  }
  var sum: array<vec4<f32>, 4u * OWN>;
  var largest = vec4<f32>(-3.0e38);
  var total = vec4<f32>();
  let mine = vec4<u32>(visible(b, row), visible(b, row + 1u), visible(b, row + 2u), visible(b, row + 3u));
  let all = max(max(mine.x, mine.y), max(mine.z, mine.w));
  for (var start = 0u; start < all; start += 64u) {
    workgroupBarrier();
    let key = start + t;
    var s = vec4<f32>();
    if (key < all) {
      let k0 = k_at(b, key, head);
      for (var i = 0u; i < D4; i++) {
        let x = load4(k[k0 + i]);
        s += vec4<f32>(dot(query[i], x), dot(query[D4 + i], x), dot(query[2u * D4 + i], x), dot(query[3u * D4 + i], x));
      }
    }
    score[t] = select(vec4<f32>(-3.0e38), s, vec4<u32>(key) < mine);
    workgroupBarrier();
    var top = largest;
    for (var j = 0u; j < 64u; j++) {
      top = max(top, score[j]);
    }
    let fade = exp(largest - top);
    largest = top;
    total *= fade;
    @unroll for (var r = 0u; r < 4u; r++) {
      @unroll for (var o = 0u; o < OWN; o++) {
        sum[r * OWN + o] *= fade[r];
      }
    }
    for (var j = 0u; j < 64u && start + j < all; j++) {
      let weight = select(vec4<f32>(), exp(score[j] - top), vec4<u32>(start + j) < mine);
      total += weight;
      let v0 = v_at(b, start + j, head);
      @unroll for (var o = 0u; o < OWN; o++) {
        let column = t + o * 64u;
        if (column < D4) {
          let x = load4(v[v0 + column]);
          sum[o] += weight.x * x;
          sum[OWN + o] += weight.y * x;
          sum[2u * OWN + o] += weight.z * x;
          sum[3u * OWN + o] += weight.w * x;
        }
      }
    }
  }
  @unroll for (var r = 0u; r < 4u; r++) {
    @unroll for (var o = 0u; o < OWN; o++) {
      let column = t + o * 64u;
      if (row + r < p.queries && column < D4) {
        out[out_at(b, row + r, head) + column] = store_out(sum[r * OWN + o] / total[r]);
      }
    }
  }
}
