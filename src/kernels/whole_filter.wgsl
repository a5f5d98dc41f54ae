// The filter of 3×3 whose sums the four phases' filters of 2×2 are. Its first row stands alone in the even phase's first,
// its last row in the odd phase's second, and the odd phase's first is the sum of the first and the middle one.

@group(0) @binding(0) var<storage, read> phases: array<elem4>;       // (2 · 2 phases, 2 · 2 taps, vectors)
@group(0) @binding(1) var<storage, read_write> filter9: array<out4>; // (3 · 3 taps, vectors)

fn tap(odd_y: u32, odd_x: u32, y: u32, x: u32, at: u32) -> vec4<f32> {
  return load4(phases[((odd_y * 2u + odd_x) * 4u + y * 2u + x) * p.vectors + at]);
}

// Column x of the filter, of the rows that a phase's row is.
fn column(odd_y: u32, y: u32, x: u32, at: u32) -> vec4<f32> {
  if (x == 0u) {
    return tap(odd_y, 0u, y, 0u, at);
  }
  if (x == 2u) {
    return tap(odd_y, 1u, y, 1u, at);
  }
  return tap(odd_y, 1u, y, 0u, at) - tap(odd_y, 0u, y, 0u, at);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let at = (group.y * p.groups_x + group.x) * 64u + t;
  if (at >= p.vectors) {
    return;
  }
  for (var x = 0u; x < 3u; x++) {
    let first = column(0u, 0u, x, at);
    filter9[x * p.vectors + at] = store_out(first);
    filter9[(3u + x) * p.vectors + at] = store_out(column(1u, 0u, x, at) - first);
    filter9[(6u + x) * p.vectors + at] = store_out(column(1u, 1u, x, at));
  }
}
