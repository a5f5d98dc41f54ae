// Through workgroup memory. Every 64 threads compute a part of 64 rows by 64 columns, a thread eight by eight; a workgroup
// has one, two or four such parts, and where it has teams each of them all of these. Each chunk of DEPTH k passes through workgroup memory, from which every number is read
// eight times in each part. With SLICES a workgroup sums only some of the chunks, and `gemm_reduce.wgsl` does the rest.

const A_STRIDE: u32 = CHUNK + 1u;  // one more than needed: rows then fall into different banks
const W_STRIDE: u32 = WIDTH;
// Rows that are normalised on their way in would be rounded once more.
const STORED_A: bool = STORED && !NORMAL;
const A_SIZE: u32 = ROWS * A_STRIDE;
const W_SIZE: u32 = DEPTH * W_STRIDE;

// (ROWS, DEPTH) and (DEPTH, COLUMNS), each as f32 or as it is stored; of the other there is one element.
var<workgroup> tile_a: array<vec4<f32>, select(A_SIZE, 1u, STORED_A)>;
var<workgroup> stored_a: array<elem4, select(1u, A_SIZE, STORED_A)>;
var<workgroup> tile_w: array<vec4<f32>, select(W_SIZE, 1u, STORED)>;
var<workgroup> stored_w: array<elem4, select(1u, W_SIZE, STORED)>;
// A vector of every thread, for the statistics and for the sums of teams; in `tile_w` where that is large enough.
var<workgroup> lanes: array<vec4<f32>, select(1u, THREADS, STORED && (MEASURE != 0u || TEAMS > 1u))>;

fn put_a(t: u32, i: u32, c: u32, value: elem4) {
  let row = row_of(t, i);
  let at = row * A_STRIDE + t % CHUNK;
  if (STORED_A) {
    stored_a[at] = value;
    return;
  }
  var x = load4(value);
  if (NORMAL && c < p.c1) {
    x = normalised(row, c, x);
  }
  tile_a[at] = x;
}

fn get_a(at: u32) -> vec4<f32> {
  if (STORED_A) {
    return load4(stored_a[at]);
  }
  return tile_a[at];
}

// The vectors of a part of 64 columns lie in the order 0, 2, 4 … 1, 3, 5 …: eight threads read the first and then the second
// of two neighbours each, and find them side by side.
fn put_w(t: u32, i: u32, value: elem4) {
  let n = t % W_STRIDE;
  let at = (t / W_STRIDE + i * (THREADS / W_STRIDE)) * W_STRIDE + n / 16u * 16u + n % 2u * 8u + n % 16u / 2u;
  if (STORED) {
    stored_w[at] = value;
  } else {
    tile_w[at] = load4(value);
  }
}

fn get_w(at: u32) -> vec4<f32> {
  if (STORED) {
    return load4(stored_w[at]);
  }
  return tile_w[at];
}

fn put_lane(at: u32, value: vec4<f32>) {
  if (STORED) {
    lanes[at] = value;
  } else {
    tile_w[at] = value;
  }
}

fn get_lane(at: u32) -> vec4<f32> {
  if (STORED) {
    return lanes[at];
  }
  return tile_w[at];
}

// What all teams together have of a vector.
fn over_teams(t: u32, value: vec4<f32>) -> vec4<f32> {
  if (TEAMS == 1u) {
    return value;
  }
  workgroupBarrier();
  put_lane(t, value);
  workgroupBarrier();
  var sum = vec4<f32>();
  @unroll for (var i = 0u; i < TEAMS; i++) {
    sum += get_lane(t % MEMBERS + i * MEMBERS);
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let slice = select(0u, group.z, SLICES > 1u);
  let tile = group.y + origin.y + select(group.z * p.groups_y, 0u, SLICES > 1u);
  let rows = rows_of(tile, ROWS);
  let n0 = group.x * W_STRIDE;
  let channels = p.c1 + p.c2;
  let chunks = (channels + CHUNK - 1u) / CHUNK;
  let steps = steps_of(slice, KERNEL * KERNEL * chunks);
  // What a thread computes: row `y` of its part and every eighth after it, vectors `n` and n + 1.
  let part = t % MEMBERS / 64u;
  let y = part / (COLUMNS / 64u) * 64u + t % 64u / 8u;
  let part_n = part % (COLUMNS / 64u) * 16u;
  if (NORMAL) {
    bring_row_norms(t, rows);
  }

  // Sixteen sums, by name: what is indexed may end up in memory.
  var r00 = vec4<f32>(); var r01 = vec4<f32>(); var r10 = vec4<f32>(); var r11 = vec4<f32>();
  var r20 = vec4<f32>(); var r21 = vec4<f32>(); var r30 = vec4<f32>(); var r31 = vec4<f32>();
  var r40 = vec4<f32>(); var r41 = vec4<f32>(); var r50 = vec4<f32>(); var r51 = vec4<f32>();
  var r60 = vec4<f32>(); var r61 = vec4<f32>(); var r70 = vec4<f32>(); var r71 = vec4<f32>();
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
    // A team's vectors of k.
    let q0 = t / MEMBERS * (CHUNK / TEAMS);
    for (var q = q0; q < q0 + CHUNK / TEAMS; q++) {
      let b = 4u * q * W_STRIDE + part_n + t % 8u;
      let w00 = get_w(b);                    let w01 = get_w(b + 8u);
      let w10 = get_w(b + W_STRIDE);         let w11 = get_w(b + W_STRIDE + 8u);
      let w20 = get_w(b + 2u * W_STRIDE);    let w21 = get_w(b + 2u * W_STRIDE + 8u);
      let w30 = get_w(b + 3u * W_STRIDE);    let w31 = get_w(b + 3u * W_STRIDE + 8u);
      let x0 = get_a(y * A_STRIDE + q);
      r00 += x0.x * w00 + x0.y * w10 + x0.z * w20 + x0.w * w30;
      r01 += x0.x * w01 + x0.y * w11 + x0.z * w21 + x0.w * w31;
      let x1 = get_a((y + 8u) * A_STRIDE + q);
      r10 += x1.x * w00 + x1.y * w10 + x1.z * w20 + x1.w * w30;
      r11 += x1.x * w01 + x1.y * w11 + x1.z * w21 + x1.w * w31;
      let x2 = get_a((y + 16u) * A_STRIDE + q);
      r20 += x2.x * w00 + x2.y * w10 + x2.z * w20 + x2.w * w30;
      r21 += x2.x * w01 + x2.y * w11 + x2.z * w21 + x2.w * w31;
      let x3 = get_a((y + 24u) * A_STRIDE + q);
      r30 += x3.x * w00 + x3.y * w10 + x3.z * w20 + x3.w * w30;
      r31 += x3.x * w01 + x3.y * w11 + x3.z * w21 + x3.w * w31;
      let x4 = get_a((y + 32u) * A_STRIDE + q);
      r40 += x4.x * w00 + x4.y * w10 + x4.z * w20 + x4.w * w30;
      r41 += x4.x * w01 + x4.y * w11 + x4.z * w21 + x4.w * w31;
      let x5 = get_a((y + 40u) * A_STRIDE + q);
      r50 += x5.x * w00 + x5.y * w10 + x5.z * w20 + x5.w * w30;
      r51 += x5.x * w01 + x5.y * w11 + x5.z * w21 + x5.w * w31;
      let x6 = get_a((y + 48u) * A_STRIDE + q);
      r60 += x6.x * w00 + x6.y * w10 + x6.z * w20 + x6.w * w30;
      r61 += x6.x * w01 + x6.y * w11 + x6.z * w21 + x6.w * w31;
      let x7 = get_a((y + 56u) * A_STRIDE + q);
      r70 += x7.x * w00 + x7.y * w10 + x7.z * w20 + x7.w * w30;
      r71 += x7.x * w01 + x7.y * w11 + x7.z * w21 + x7.w * w31;
    }
  }

  var sums = Sums(r00, r01, r10, r11, r20, r21, r30, r31, r40, r41, r50, r51, r60, r61, r70, r71);
  if (TEAMS > 1u) {
    @unroll for (var i = 0u; i < 16u; i++) {
      sums[i] = over_teams(t, sums[i]);
    }
  }
  finish_part(t, sums, rows, slice, finished_by_first(t, y), n0 + part_n);
}
