// The scores of a team through workgroup memory, where each of its threads puts what its vectors give for the whole tile.

var<workgroup> parts: array<vec4<f32>, select(1u, EACH * FOURS * 64u, TEAM > 1u)>;  // (EACH, FOURS, 64)

fn share_scores(query: ptr<function, Own>, t: u32) {
  if (TEAM == 1u) {
    return;
  }
  for (var four = 0u; four < FOURS; four++) {
    let score = dots(query, four, t % TEAM);
    @unroll for (var r = 0u; r < EACH; r++) {
      parts[(r * FOURS + four) * 64u + t] = score[r];
    }
  }
  workgroupBarrier();
}

// Scores of the tile's keys 4·four … 4·four + 3.
fn scores(query: ptr<function, Own>, four: u32, t: u32) -> Scores {
  if (TEAM == 1u) {
    return dots(query, four, 0u);
  }
  var score: Scores;
  @unroll for (var r = 0u; r < EACH; r++) {
    @unroll for (var i = 0u; i < TEAM; i++) {
      score[r] += parts[(r * FOURS + four) * 64u + t / TEAM * TEAM + i];
    }
  }
  return score;
}
