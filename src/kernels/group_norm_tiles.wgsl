// y = silu?((x − mean) / √(variance + ε) · gamma + beta), from the statistics that the products which made x and x2 left
// behind: mean and squared deviations of each channel in tiles of 64 pixels. A workgroup has some groups of a batch item
// and some of its pixels. It first merges what it needs of the tiles: the mean of the means, then the deviations and how
// far each tile's mean lies from it, so that nothing cancels.

@group(0) @binding(2) var<storage, read> moments: array<f32>;        // (B, tiles, 2, 4·c1): means, deviations
@group(0) @binding(3) var<storage, read> moments2: array<f32>;       // (B, tiles2, 2, 4·c2)
@group(0) @binding(4) var<storage, read> gamma: array<vec4<f32>>;    // (4·(c1 + c2))
@group(0) @binding(5) var<storage, read> beta: array<vec4<f32>>;     // (4·(c1 + c2))
@group(0) @binding(6) var<storage, read_write> y: array<out4>;       // (B, pixels, 4·(c1 + c2))

const THREADS: u32 = 256u;
const TEAM: u32 = THREADS / TEAMS;  // threads that merge one group

var<workgroup> lanes: array<f32, THREADS>;
var<workgroup> means: array<f32, TEAMS>;
var<workgroup> scales: array<f32, TEAMS>;

// How many pixels a tile has where they come in runs.
fn pixels_in(tile: u32, run: u32) -> f32 {
  return f32(min(64u, run - tile % ((run + 63u) / 64u) * 64u));
}

// Pixels, mean and squared deviations of a channel in a tile; no pixels where there is no such tile.
fn moments_of(b: u32, tile: u32, channel: u32) -> vec3<f32> {
  if (TWO_INPUTS && channel >= p.c1 * 4u) {
    let at = (b * p.tiles2 + tile) * 2u * p.c2 * 4u + channel - p.c1 * 4u;
    if (tile >= p.tiles2) {
      return vec3<f32>();
    }
    return vec3<f32>(pixels_in(tile, p.run2), moments2[at], moments2[at + p.c2 * 4u]);
  }
  let at = (b * p.tiles + tile) * 2u * p.c1 * 4u + channel;
  if (tile >= p.tiles) {
    return vec3<f32>();
  }
  return vec3<f32>(pixels_in(tile, p.run), moments[at], moments[at + p.c1 * 4u]);
}

// Sum of one number per thread of a team, in a fixed order.
fn sum_of(value: f32, t: u32) -> f32 {
  workgroupBarrier();
  lanes[t] = value;
  workgroupBarrier();
  for (var half = TEAM / 2u; half > 0u; half /= 2u) {
    if (t % TEAM < half) {
      lanes[t] += lanes[t + half];
    }
    workgroupBarrier();
  }
  return lanes[t - t % TEAM];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let b = group.z;
  let first_group = group.x * p.block_groups;
  let team = t / TEAM;
  let mine = first_group + team < p.groups && team < p.block_groups;
  let low = (first_group + team) * p.group_channels;
  let parts = select(0u, max(p.tiles, p.tiles2) * p.group_channels, mine);
  let all = f32(p.pixels * p.group_channels);
  var sum = 0.0;
  for (var i = t % TEAM; i < parts; i += TEAM) {
    let part = moments_of(b, i / p.group_channels, low + i % p.group_channels);
    sum += part.x * part.y;
  }
  let mean = sum_of(sum, t) / all;
  var deviations = 0.0;
  for (var i = t % TEAM; i < parts; i += TEAM) {
    let part = moments_of(b, i / p.group_channels, low + i % p.group_channels);
    deviations += part.z + part.x * (part.y - mean) * (part.y - mean);
  }
  let variance = sum_of(deviations, t) / all;
  if (t % TEAM == 0u) {
    means[team] = mean;
    scales[team] = inverseSqrt(variance + p.epsilon);
  }
  workgroupBarrier();

  let channels = p.c1 + p.c2;
  let first = first_group * p.group_channels / 4u;
  let width = min(p.block_groups * p.group_channels / 4u, channels - first);
  let pixels = min(p.block_pixels, p.pixels - group.y * p.block_pixels);
  for (var i = t; i < pixels * width; i += THREADS) {
    let pixel = b * p.pixels + group.y * p.block_pixels + i / width;
    let c = first + i % width;
    let value = load_x(pixel, c);
    let g = (vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u)) / p.group_channels - first_group;
    let mean = vec4<f32>(means[g.x], means[g.y], means[g.z], means[g.w]);
    let scale = vec4<f32>(scales[g.x], scales[g.y], scales[g.z], scales[g.w]);
    var normal = (value - mean) * scale * gamma[c] + beta[c];
    if (SILU) {
      normal = normal / (1.0 + exp(-normal));
    }
    y[pixel * channels + c] = store_out(normal);
  }
}
