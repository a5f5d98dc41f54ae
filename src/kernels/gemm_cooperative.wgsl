// On matrix units (VK_KHR_cooperative_matrix): halves are multiplied and summed as 32-bit floats, by the threads of a subgroup
// together. A subgroup computes a block of 4·SIDE rows by 2·SIDE columns in eight matrices, for every thread 64 numbers as in the
// other tile shapes. How a matrix is spread over the threads is the device's own affair, so sums go through workgroup memory
// to those who finish them. `Left`, `Right` and `Sum` are the matrices of SIDE × SIDE that the device has.

const ACROSS: u32 = COLUMNS / (2u * SIDE);   // blocks beside each other
const BLOCKS: u32 = MEMBERS / (SIDE * SIDE / 8u);  // subgroups of a team, each with SIDE² / 8 threads
// Matrices are read faster from rows that begin in different banks; they must begin at multiples of 16 bytes.
const A_STRIDE: u32 = CHUNK + 2u;
const W_STRIDE: u32 = WIDTH + 2u;
const W_FIRST: u32 = ROWS * A_STRIDE;

// Of `a` (ROWS, A_STRIDE), then of the weights (DEPTH, W_STRIDE).
var<workgroup> chunk: array<vec4<f16>, W_FIRST + DEPTH * W_STRIDE>;
// A quarter of each team's sums of each part, (16 rows, 64 columns); later a vector of each thread.
var<workgroup> quarter: array<vec4<f32>, 4u * THREADS>;

fn put_a(t: u32, i: u32, c: u32, value: elem4) {
  let row = row_of(t, i);
  var x = value;
  if (NORMAL && c < p.c1) {
    x = store4(normalised(row, c, load4(value)));
  }
  chunk[row * A_STRIDE + t % CHUNK] = x;
}

fn put_w(t: u32, i: u32, value: elem4) {
  chunk[W_FIRST + (t / WIDTH + i * (THREADS / WIDTH)) * W_STRIDE + t % WIDTH] = value;
}

fn put_lane(at: u32, value: vec4<f32>) {
  quarter[at] = value;
}

fn get_lane(at: u32) -> vec4<f32> {
  return quarter[at];
}

// What all teams together have of a vector.
fn of_teams(at: u32) -> vec4<f32> {
  var sum = quarter[at];
  for (var i = 1u; i < TEAMS; i++) {
    sum += quarter[at + i * 4u * MEMBERS];
  }
  return sum;
}

// A thread's two rows of the quarter: row 0 … 15 of it are SIDE rows of each of the part's blocks.
fn take(t: u32, sums: ptr<function, Sums>, i: u32) {
  let at = t % MEMBERS / 64u * 256u + t % 64u / 8u * 16u + t % 8u * 2u;
  let first = select(2u * i, i, SIDE == 8u);
  let second = select(2u * i + 1u, i + 4u, SIDE == 8u);
  (*sums)[2u * first] = of_teams(at);
  (*sums)[2u * first + 1u] = of_teams(at + 1u);
  (*sums)[2u * second] = of_teams(at + 128u);
  (*sums)[2u * second + 1u] = of_teams(at + 129u);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  let slice = select(0u, group.z, SLICES > 1u);
  let tile = group.y + origin.y + select(group.z * p.groups_y, 0u, SLICES > 1u);
  let rows = rows_of(tile, ROWS);
  let n0 = group.x * WIDTH;
  let channels = p.c1 + p.c2;
  let chunks = (channels + CHUNK - 1u) / CHUNK;
  let steps = steps_of(slice, KERNEL * KERNEL * chunks);
  // The subgroup's block: its first row and column in the tile, and where its part of a quarter begins.
  let team = subgroup / BLOCKS;
  let block = subgroup % BLOCKS;
  let block_y = block / ACROSS * 4u * SIDE;
  let block_x = block % ACROSS * 2u * SIDE;
  let part = block_y / 64u * (COLUMNS / 64u) + block_x / 64u;
  let to = team * 4u * MEMBERS + part * 256u + block_y % 64u / (4u * SIDE) * SIDE * 16u + block_x % 64u / 4u;
  if (NORMAL) {
    bring_row_norms(t, rows);
  }

  var c00: Sum; var c01: Sum; var c10: Sum; var c11: Sum;
  var c20: Sum; var c21: Sum; var c30: Sum; var c31: Sum;
  var at: Pixels;
  var loaded_a: Loads;
  var loaded_w: Loads;
  if (AHEAD) {
    let c0 = steps.first % chunks * CHUNK;
    at = pixels_under(t, rows, steps.first / chunks);
    loaded_a = load_a(at, c0 + t % CHUNK);
    loaded_w = load_w(t, rows, steps.first / chunks, c0, n0);
  }
  for (var step = steps.first; step < steps.last; step++) {
    let c = step % chunks * CHUNK + t % CHUNK;
    if (!AHEAD) {
      // Loads go out before the barrier, so that they overlap with the last products.
      let tap = step / chunks;
      let c0 = step % chunks * CHUNK;
      if (c0 == 0u || step == steps.first) {
        at = pixels_under(t, rows, tap);
      }
      loaded_a = load_a(at, c);
      loaded_w = load_w(t, rows, tap, c0, n0);
    }
    put_chunk(t, c, loaded_a, loaded_w);
    if (AHEAD && step + 1u < steps.last) {
      let tap = (step + 1u) / chunks;
      let c0 = (step + 1u) % chunks * CHUNK;
      if (c0 == 0u) {
        at = pixels_under(t, rows, tap);
      }
      loaded_a = load_a(at, c0 + t % CHUNK);
      loaded_w = load_w(t, rows, tap, c0, n0);
    }
    // A team's k.
    let k0 = team * (DEPTH / TEAMS);
    for (var k = k0; k < k0 + DEPTH / TEAMS; k += SIDE) {
      let w = W_FIRST + k * W_STRIDE + block_x / 4u;
      let b0 = coopLoadT<Right>(&chunk[w], W_STRIDE);
      let b1 = coopLoadT<Right>(&chunk[w + SIDE / 4u], W_STRIDE);
      let x = block_y * A_STRIDE + k / 4u;
      let a0 = coopLoadT<Left>(&chunk[x], A_STRIDE);
      let a1 = coopLoadT<Left>(&chunk[x + SIDE * A_STRIDE], A_STRIDE);
      let a2 = coopLoadT<Left>(&chunk[x + 2u * SIDE * A_STRIDE], A_STRIDE);
      let a3 = coopLoadT<Left>(&chunk[x + 3u * SIDE * A_STRIDE], A_STRIDE);
      c00 = coopMultiplyAdd(a0, b0, c00);
      c01 = coopMultiplyAdd(a0, b1, c01);
      c10 = coopMultiplyAdd(a1, b0, c10);
      c11 = coopMultiplyAdd(a1, b1, c11);
      c20 = coopMultiplyAdd(a2, b0, c20);
      c21 = coopMultiplyAdd(a2, b1, c21);
      c30 = coopMultiplyAdd(a3, b0, c30);
      c31 = coopMultiplyAdd(a3, b1, c31);
    }
  }

  var sums: Sums;
  coopStoreT(c00, &quarter[to], 16u);
  coopStoreT(c01, &quarter[to + SIDE / 4u], 16u);
  workgroupBarrier();
  take(t, &sums, 0u);
  workgroupBarrier();
  coopStoreT(c10, &quarter[to], 16u);
  coopStoreT(c11, &quarter[to + SIDE / 4u], 16u);
  workgroupBarrier();
  take(t, &sums, 1u);
  workgroupBarrier();
  coopStoreT(c20, &quarter[to], 16u);
  coopStoreT(c21, &quarter[to + SIDE / 4u], 16u);
  workgroupBarrier();
  take(t, &sums, 2u);
  workgroupBarrier();
  coopStoreT(c30, &quarter[to], 16u);
  coopStoreT(c31, &quarter[to + SIDE / 4u], 16u);
  workgroupBarrier();
  take(t, &sums, 3u);

  let mine = t % MEMBERS / 64u;
  let y = mine / (COLUMNS / 64u) * 64u + t % 64u / 8u;
  finish_part(t, sums, rows, slice, finished_by_first(t, y), n0 + mine % (COLUMNS / 64u) * 16u);
}
