// A workgroup of 64 threads computes 64 rows by 64 columns, a thread eight by eight. Each chunk of sixteen k passes
// through workgroup memory, from which every number is read eight times.

const CHUNK: u32 = 4u;             // vectors of k in a chunk
const A_STRIDE: u32 = CHUNK + 1u;  // one more than needed: rows then fall into different banks

var<workgroup> tile_a: array<vec4<f32>, 64u * A_STRIDE>;    // (64 rows, 16 k)
var<workgroup> tile_w: array<vec4<f32>, 16u * 16u>;         // (16 k, 64 columns)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let tx = t % 8u;
  let ty = t / 8u;
  let m0 = (group.y + group.z * p.groups_y) * 64u;
  let n0 = group.x * 16u;
  let channels = p.c1 + p.c2;
  var sum: array<vec4<f32>, 16>;

  for (var tap = 0u; tap < KERNEL * KERNEL; tap++) {
    var at: array<i32, 4>;
    for (var i = 0u; i < 4u; i++) {
      at[i] = pixel(m0 + t / 4u + 16u * i, tap / KERNEL, tap % KERNEL);
    }
    for (var c = 0u; c < channels; c += CHUNK) {
      // Loads go out before the barrier, so that they overlap with the last products.
      var next_a: array<vec4<f32>, 4>;
      var next_w: array<vec4<f32>, 4>;
      for (var i = 0u; i < 4u; i++) {
        next_a[i] = load_a(at[i], c + t % 4u);
        let k = t / 16u + 4u * i;
        let n = n0 + t % 16u;
        if (c + k / 4u < channels && n < p.n4) {
          next_w[i] = load4(w[((tap * channels + c) * 4u + k) * p.n4 + n]);
        }
      }
      workgroupBarrier();
      for (var i = 0u; i < 4u; i++) {
        tile_a[(t / 4u + 16u * i) * A_STRIDE + t % 4u] = next_a[i];
        tile_w[(t / 16u + 4u * i) * 16u + t % 16u] = next_w[i];
      }
      workgroupBarrier();
      for (var q = 0u; q < CHUNK; q++) {
        let w00 = tile_w[q * 64u + tx * 2u];        let w01 = tile_w[q * 64u + tx * 2u + 1u];
        let w10 = tile_w[q * 64u + 16u + tx * 2u];  let w11 = tile_w[q * 64u + 17u + tx * 2u];
        let w20 = tile_w[q * 64u + 32u + tx * 2u];  let w21 = tile_w[q * 64u + 33u + tx * 2u];
        let w30 = tile_w[q * 64u + 48u + tx * 2u];  let w31 = tile_w[q * 64u + 49u + tx * 2u];
        for (var r = 0u; r < 8u; r++) {
          let x = tile_a[(ty + 8u * r) * A_STRIDE + q];
          sum[2u * r] += x.x * w00 + x.y * w10 + x.z * w20 + x.w * w30;
          sum[2u * r + 1u] += x.x * w01 + x.y * w11 + x.z * w21 + x.w * w31;
        }
      }
    }
  }
  for (var r = 0u; r < 8u; r++) {
    finish(m0 + ty + 8u * r, n0 + tx * 2u, sum[2u * r], sum[2u * r + 1u]);
  }
}
