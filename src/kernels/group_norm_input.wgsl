// What is normalised: the channels of x, continued by those of x2 where there are two inputs.

@group(0) @binding(0) var<storage, read> x: array<elem4>;   // (B, pixels, 4·c1)
@group(0) @binding(1) var<storage, read> x2: array<elem4>;  // (B, pixels, 4·c2)

fn load_x(pixel: u32, c: u32) -> vec4<f32> {
  if (TWO_INPUTS) {
    if (c >= p.c1) {
      return load4(x2[pixel * p.c2 + c - p.c1]);
    }
  }
  return load4(x[pixel * p.c1 + c]);
}
