// y[b] = x · step.y for every batch item: the latents as a network wants them, at unit variance.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // (pixels, 4)
@group(0) @binding(1) var<storage, read> step: array<vec4<f32>>;     // index, scale, …
@group(0) @binding(2) var<storage, read> repaint: array<vec4<f32>>;  // (3, pixels, 4)
@group(0) @binding(3) var<storage, read_write> y: array<out4>;       // (B, pixels, 4)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < p.pixels * p.batch) {
    let pixel = id.x % p.pixels;
    y[id.x] = store_out(seen(x[pixel], pixel) * step[0].y);
  }
}
