// The same numbers again and again.

@group(0) @binding(0) var<storage, read> x: array<elem4>;          // (vectors)
@group(0) @binding(1) var<storage, read_write> out: array<out4>;   // (times, vectors)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let at = (group.y * p.groups_x + group.x) * 64u + t;
  if (at < p.vectors * p.times) {
    out[at] = store_out(load4(x[at % p.vectors]));
  }
}
