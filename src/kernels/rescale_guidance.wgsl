// Guidance makes pictures glare; Lin et al. (2024, section 3.4) give them back the contrast of the prompt alone:
//   f = m · std(u of the prompt alone) / std(u guided) + 1 − m,   u = (1/(1+σ²) − skip) · x − out · ε
// over the numbers of one picture. u is proportional to the velocity that v-prediction would give, whichever kind the
// network predicts, as in ComfyUI's node RescaleCFG. A workgroup has one picture.

@group(0) @binding(0) var<storage, read> eps: array<vec4<f32>>;               // (B, n·pixels, 4)
@group(0) @binding(1) var<storage, read> step: array<vec4<f32>>;              // index, scale, skip, out; σ; wᵢ
@group(0) @binding(2) var<storage, read> repaint: array<vec4<f32>>;           // (3, n·pixels, 4)
@group(0) @binding(3) var<storage, read> registers: array<vec4<f32>>;         // (R, n·pixels, 4)
@group(0) @binding(4) var<storage, read_write> factors: array<vec4<f32>>;     // (n): f, 0, 0, 0

const THREADS: u32 = 64u;
var<workgroup> partial: array<vec2<f32>, THREADS>;

// u of the prompt alone and u guided, of a pixel.
struct Pair {
  alone: vec4<f32>,
  guided: vec4<f32>,
}

fn outputs(pixel: u32) -> Pair {
  let base = eps[pixel];
  var toward = vec4<f32>();
  for (var i = 1u; i < p.batch; i++) {
    toward += step[2u + i / 4u][i % 4u] * (eps[i * p.pixels + pixel] - base);
  }
  let x = (step[0].y * step[0].y - step[0].z) * seen(registers[pixel], pixel);
  return Pair(x - step[0].w * (base + toward / p.cfg), x - step[0].w * (base + toward));
}

// The sum over all threads, in every thread.
fn total(t: u32, mine: vec2<f32>) -> vec2<f32> {
  workgroupBarrier();
  partial[t] = mine;
  workgroupBarrier();
  var sum = vec2<f32>();
  for (var i = 0u; i < THREADS; i++) {
    sum += partial[i];
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let first = group.x * p.picture;
  let one = vec4<f32>(1.0);
  var sum = vec2<f32>();
  for (var i = t; i < p.picture; i += THREADS) {
    let u = outputs(first + i);
    sum += vec2<f32>(dot(u.alone, one), dot(u.guided, one));
  }
  let mean = total(t, sum) / f32(4u * p.picture);
  // A second time around: the mean may be far from 0.
  var squares = vec2<f32>();
  for (var i = t; i < p.picture; i += THREADS) {
    let u = outputs(first + i);
    let alone = u.alone - mean.x;
    let guided = u.guided - mean.y;
    squares += vec2<f32>(dot(alone, alone), dot(guided, guided));
  }
  let spread = total(t, squares);
  if (t == 0u) {
    let ratio = select(1.0, sqrt(spread.x / spread.y), spread.y > 0.0);
    factors[group.x] = vec4<f32>(p.multiplier * ratio + 1.0 - p.multiplier, 0.0, 0.0, 0.0);
  }
}
