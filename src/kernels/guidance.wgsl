// What becomes of a prediction ε, guided already: an instruction of a sampler's program, in f32:
//   denoised = skip · x + out · ε;   registers ← matrix · registers
// or, with its contrast brought back, k = 1/(1 + σ²):   denoised = (k + f · (skip − k)) · x + f · out · ε
// Register 0 is x, register 1 the denoised latents, 2 noise if there is any, then what the sampler keeps. Shared by `sampler_step`
// and `conv_out_step`, which declare `step`, `repaint`, `factors` and `registers`.

// The guidance times the weight of the i-th part of the prompt.
fn guidance(i: u32) -> f32 {
  return step[2u + i / 4u][i % 4u];
}

fn denoised(pixel: u32, x: vec4<f32>, e: vec4<f32>) -> vec4<f32> {
  var skip = step[0].z;
  var out = step[0].w;
  if (RESCALED) {
    let f = factors[pixel / p.picture].x;
    let k = step[0].y * step[0].y;
    skip = k + f * (skip - k);
    out *= f;
  }
  let found = skip * seen(x, pixel) + out * e;
  if (REPAINT) {
    return mix(repaint[pixel], found, repaint[2u * p.pixels + pixel].y);
  }
  return found;
}

fn advance(pixel: u32, e: vec4<f32>) {
  var old: array<vec4<f32>, REGISTERS>;
  for (var r = 0u; r < REGISTERS; r++) {
    old[r] = registers[r * p.pixels + pixel];
  }
  if (EVALUATED) {
    old[1] = denoised(pixel, old[0], e);
  }
  let matrix = 2u + (p.prompts + 3u) / 4u;
  for (var r = 0u; r < REGISTERS; r++) {
    var sum = vec4<f32>();
    for (var i = 0u; i < REGISTERS; i++) {
      sum += step[matrix + 2u * r + i / 4u][i % 4u] * old[i];
    }
    registers[r * p.pixels + pixel] = sum;
  }
}
