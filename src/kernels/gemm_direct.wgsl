// Without workgroup memory, for adapters that are programs on a CPU and have no subgroups: there a barrier costs more than a load.
// One thread computes four rows by eight columns.

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let n = (group.x * 8u + local.x) * 2u;
  let rows = rows_of(group.y + origin.y + group.z * p.groups_y, ROWS);
  let m = rows.first + local.y * 4u;
  if (n >= p.n4 || m >= rows.end) {
    return;
  }
  let n1 = min(n + 1u, p.n4 - 1u);
  let channels = p.c1 + p.c2;
  var r00 = vec4<f32>(); var r01 = vec4<f32>();
  var r10 = vec4<f32>(); var r11 = vec4<f32>();
  var r20 = vec4<f32>(); var r21 = vec4<f32>();
  var r30 = vec4<f32>(); var r31 = vec4<f32>();
  for (var tap = 0u; tap < KERNEL * KERNEL; tap++) {
    let ky = tap / KERNEL;
    let kx = tap % KERNEL;
    let at0 = pixel(m, rows, ky, kx);
    let at1 = pixel(m + 1u, rows, ky, kx);
    let at2 = pixel(m + 2u, rows, ky, kx);
    let at3 = pixel(m + 3u, rows, ky, kx);
    for (var c = 0u; c < channels; c++) {
      let x0 = load4(fetch_a(at0, c));
      let x1 = load4(fetch_a(at1, c));
      let x2 = load4(fetch_a(at2, c));
      let x3 = load4(fetch_a(at3, c));
      let k = ((rows.phase * KERNEL * KERNEL + tap) * channels + c) * 4u * p.n4;
      let w00 = load4(w[k + n]);              let w01 = load4(w[k + n1]);
      let w10 = load4(w[k + p.n4 + n]);       let w11 = load4(w[k + p.n4 + n1]);
      let w20 = load4(w[k + 2u * p.n4 + n]);  let w21 = load4(w[k + 2u * p.n4 + n1]);
      let w30 = load4(w[k + 3u * p.n4 + n]);  let w31 = load4(w[k + 3u * p.n4 + n1]);
      r00 += x0.x * w00 + x0.y * w10 + x0.z * w20 + x0.w * w30;
      r01 += x0.x * w01 + x0.y * w11 + x0.z * w21 + x0.w * w31;
      r10 += x1.x * w00 + x1.y * w10 + x1.z * w20 + x1.w * w30;
      r11 += x1.x * w01 + x1.y * w11 + x1.z * w21 + x1.w * w31;
      r20 += x2.x * w00 + x2.y * w10 + x2.z * w20 + x2.w * w30;
      r21 += x2.x * w01 + x2.y * w11 + x2.z * w21 + x2.w * w31;
      r30 += x3.x * w00 + x3.y * w10 + x3.z * w20 + x3.w * w30;
      r31 += x3.x * w01 + x3.y * w11 + x3.z * w21 + x3.w * w31;
    }
  }
  finish(m, rows, n, Pair(r00, r01));
  finish(m + 1u, rows, n, Pair(r10, r11));
  finish(m + 2u, rows, n, Pair(r20, r21));
  finish(m + 3u, rows, n, Pair(r30, r31));
}
