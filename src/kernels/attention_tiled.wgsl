// Keys and values pass through workgroup memory in tiles of KEYS, where the threads read the same addresses at once. TEAM threads
// share a query row, each with every TEAM-th vector of the head, so that wide heads fit a thread's registers; and each has EACH
// rows, so that what it reads serves several. A thread has OWN vectors of a row. Scores are taken four keys at a time, so that
// rescaling is rare. How the scores of a team's threads come together is in a file of its own, once through workgroup memory and once within a subgroup.

const TEAMS: u32 = 64u / TEAM;
const FOURS: u32 = KEYS / 4u;

var<workgroup> tile_k: array<vec4<f32>, KEYS * D4>;
var<workgroup> tile_v: array<vec4<f32>, KEYS * D4>;

alias Own = array<vec4<f32>, EACH * OWN>;
alias Scores = array<vec4<f32>, EACH>;

// Scores of the tile's keys 4·four … 4·four + 3 with the thread's vectors alone.
fn dots(query: ptr<function, Own>, four: u32, lane: u32) -> Scores {
  var score: Scores;
  @unroll for (var i = 0u; i < OWN; i++) {
    let at = 4u * four * D4 + i * TEAM + lane;
    let k0 = tile_k[at];
    let k1 = tile_k[at + D4];
    let k2 = tile_k[at + 2u * D4];
    let k3 = tile_k[at + 3u * D4];
    @unroll for (var r = 0u; r < EACH; r++) {
      let x = (*query)[r * OWN + i];
      score[r] += vec4<f32>(dot(x, k0), dot(x, k1), dot(x, k2), dot(x, k3));
    }
  }
  return score;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let first = (group.x + origin.x) * TEAMS * EACH;
  let head = group.y;
  let b = group.z;
  let lane = t % TEAM;
  var query: Own;
  var sum: Own;
  var largest: array<f32, EACH>;
  var total: array<f32, EACH>;
  var mine: array<u32, EACH>;
  @unroll for (var r = 0u; r < EACH; r++) {
    let row = first + r * TEAMS + t / TEAM;
    largest[r] = -3.0e38;
    mine[r] = visible(b, row);
    if (row < p.queries) {
      let q0 = q_at(b, row, head) + lane;
      @unroll for (var i = 0u; i < OWN; i++) {
        query[r * OWN + i] = load4(q[q0 + i * TEAM]) * p.scale;
      }
    }
  }
  let all = visible(b, min(first + TEAMS * EACH, p.queries) - 1u);
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
    share_scores(&query, t);
    for (var four = 0u; four < FOURS; four++) {
      var weight = scores(&query, four, t);
      let key = vec4<u32>(start + 4u * four) + vec4<u32>(0u, 1u, 2u, 3u);
      var fade = array<f32, EACH>();
      @unroll for (var r = 0u; r < EACH; r++) {
        let seen = key < vec4<u32>(mine[r]);
        let score = select(vec4<f32>(-3.0e38), weight[r], seen);
        let top = max(max(max(score.x, score.y), max(score.z, score.w)), largest[r]);
        fade[r] = exp(largest[r] - top);
        weight[r] = select(vec4<f32>(), exp(score - top), seen);
        largest[r] = top;
        total[r] = total[r] * fade[r] + dot(weight[r], vec4<f32>(1.0));
      }
      @unroll for (var i = 0u; i < OWN; i++) {
        let at = 4u * four * D4 + i * TEAM + lane;
        let v0 = tile_v[at];
        let v1 = tile_v[at + D4];
        let v2 = tile_v[at + 2u * D4];
        let v3 = tile_v[at + 3u * D4];
        @unroll for (var r = 0u; r < EACH; r++) {
          let x = weight[r];
          sum[r * OWN + i] = sum[r * OWN + i] * fade[r] + x.x * v0 + x.y * v1 + x.z * v2 + x.w * v3;
        }
      }
    }
  }
  @unroll for (var r = 0u; r < EACH; r++) {
    let row = first + r * TEAMS + t / TEAM;
    if (row < p.queries) {
      let o0 = out_at(b, row, head) + lane;
      @unroll for (var i = 0u; i < OWN; i++) {
        out[o0 + i * TEAM] = store_out(sum[r * OWN + i] / total[r]);
      }
    }
  }
}
