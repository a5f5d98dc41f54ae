// The scores of a team without workgroup memory: its threads are neighbours in a subgroup, which read each other's registers. All
// of them come to the same bits, as each adds the same pairs. That neighbours in a workgroup's only dimension are neighbours in a subgroup is
// promised nowhere, but so on every GPU that is known, and what others' kernels for browsers rely on too.

fn share_scores(query: ptr<function, Own>, t: u32) {}

// Scores of the tile's keys 4·four … 4·four + 3.
fn scores(query: ptr<function, Own>, four: u32, t: u32) -> Scores {
  var score = dots(query, four, t % TEAM);
  @unroll for (var r = 0u; r < EACH; r++) {
    score[r] += subgroupShuffleXor(score[r], 1u);
    if (TEAM > 2u) {
      score[r] += subgroupShuffleXor(score[r], 2u);
    }
  }
  return score;
}
