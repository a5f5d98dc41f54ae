// The decoder's result in −1…1 (or 0…1) as 8-bit RGBA: (x + 1) / 2 · 255, clamped and truncated, as ComfyUI saves pictures.

@group(0) @binding(0) var<storage, read> x: array<elem4>;               // (pixels, 4): red, green, blue, nothing
@group(0) @binding(1) var<storage, read_write> rgba: array<vec4<u32>>;  // (pixels / 4)

fn pack(at: u32) -> u32 {
  // NaN would convert to anything: it becomes black here and is counted elsewhere.
  let value = load4(x[min(at, p.pixels - 1u)]);
  let v = clamp(select(value * 0.5 + 0.5, value, UNIT), vec4<f32>(0.0), vec4<f32>(1.0));
  let byte = vec3<u32>(v.xyz * 255.0);
  return byte.x | (byte.y << 8u) | (byte.z << 16u) | (255u << 24u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let at = (group.y * p.groups_x + group.x) * 64u + t;
  if (at < p.pixels / 4u) {
    rgba[at] = vec4<u32>(pack(at * 4u), pack(at * 4u + 1u), pack(at * 4u + 2u), pack(at * 4u + 3u));
  }
}
