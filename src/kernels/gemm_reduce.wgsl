// What follows a product whose k was cut into slices: their sums are added in their order, and the epilogue is done. A
// thread has two neighbouring vectors of a row; a workgroup has a tile of which it can take the statistics: 64 rows by 16
// columns, or 16 rows by 64 columns where those of rows are wanted.

const PAIRS: u32 = select(2u, 8u, MEASURE == 2u);
const THREADS: u32 = 128u;
const HEIGHT: u32 = THREADS / PAIRS;

var<workgroup> lanes: array<vec4<f32>, select(1u, 2u * THREADS, MEASURE != 0u)>;

// The sum of the threads' vectors over the rows of the tile, or (in all of its elements) over its columns.
fn sum_over(t: u32, value: Pair) -> Pair {
  workgroupBarrier();
  lanes[2u * t] = value.x0;
  lanes[2u * t + 1u] = value.x1;
  workgroupBarrier();
  var sum = Pair();
  let count = select(HEIGHT, PAIRS, MEASURE == 2u);
  for (var i = 0u; i < count; i++) {
    let other = select(t % PAIRS + i * PAIRS, t / PAIRS * PAIRS + i, MEASURE == 2u);
    sum.x0 += lanes[2u * other];
    sum.x1 += lanes[2u * other + 1u];
  }
  if (MEASURE == 2u) {
    let all = vec4<f32>(dot(sum.x0 + sum.x1, vec4<f32>(1.0)));
    return Pair(all, all);
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let rows = rows_of(group.y + group.z * p.groups_y, HEIGHT);
  let m = rows.first + t / PAIRS;
  let n0 = group.x * PAIRS * 2u;
  let n = n0 + t % PAIRS * 2u;
  var sum = Pair();
  if (m < rows.end) {
    for (var slice = 0u; slice < SLICES; slice++) {
      let at = ((slice * PHASES + rows.phase) * p.rows + m) * p.n4 + n;
      if (n < p.n4) {
        sum.x0 += partials[at];
      }
      if (n + 1u < p.n4) {
        sum.x1 += partials[at + 1u];
      }
    }
  }
  let stored = finish(m, rows, n, sum);
  if (MEASURE == 0u) {
    return;
  }
  // First the mean, then the deviations from it, so that nothing cancels.
  let count = select(f32(min(HEIGHT, rows.end - min(rows.first, rows.end))), f32(min(64u, (p.n4 - n0) * 4u)), MEASURE == 2u);
  let all = sum_over(t, stored);
  let mean = Pair(all.x0 / count, all.x1 / count);
  let there = m < rows.end;
  let d0 = select(vec4<f32>(), stored.x0 - mean.x0, there && n < p.n4);
  let d1 = select(vec4<f32>(), stored.x1 - mean.x1, there && n + 1u < p.n4);
  let deviations = sum_over(t, Pair(d0 * d0, d1 * d1));
  if (MEASURE == 2u) {
    if (there && t % PAIRS == 0u) {
      let at = n0 / 16u * 2u * p.moment_rows + m;
      moments[at] = mean.x0.x;
      moments[at + p.moment_rows] = deviations.x0.x;
    }
    return;
  }
  if (t / PAIRS < 4u && rows.first < rows.end) {
    let i = t / PAIRS;
    let at = rows.measured * 2u * p.n4 * 4u + n * 4u + i;
    if (n < p.n4) {
      moments[at] = mean.x0[i];
      moments[at + p.n4 * 4u] = deviations.x0[i];
    }
    if (n + 1u < p.n4) {
      moments[at + 4u] = mean.x1[i];
      moments[at + 4u + p.n4 * 4u] = deviations.x1[i];
    }
  }
}
