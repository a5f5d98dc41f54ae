// Picks rows of the encoded windows and weighs them against the empty prompt, as ComfyUI does:
// y = empty + w · (x − empty), where `empty` is the same position of the encoded empty window.

@group(0) @binding(0) var<storage, read> x: array<elem4>;          // (windows · 77, 4·c)
@group(0) @binding(1) var<storage, read> rows: array<vec4<f32>>;   // (results): source row (-1: zeros), empty row, weight
@group(0) @binding(2) var<storage, read_write> y: array<out4>;     // (results, 4·c)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let id = (group.y * p.groups_x + group.x) * 64u + t;
  if (id >= p.c * p.results) {
    return;
  }
  let row = rows[id / p.c];
  let c = id % p.c;
  var value = vec4<f32>();
  if (row.x >= 0.0) {
    value = load4(x[u32(row.x) * p.c + c]);
    // Weight 1 takes the row as it is: not a bit may change.
    if (row.z != 1.0) {
      let empty = load4(x[u32(row.y) * p.c + c]);
      value = empty + row.z * (value - empty);
    }
  }
  y[id] = store_out(value);
}
