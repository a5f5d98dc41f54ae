// A slice of a file's weights (N, C, taps), as f32, f16 or bf16, into the kernels' order (taps, C, N), four columns
// of N at a time; or into four filters of 2×2 (PHASED, see `gemm`). The slice begins at row `first` of the file and holds `rows` of them, a multiple of four except at
// the end.

@group(0) @binding(0) var<storage, read> file: array<vec4<u32>>;       // the slice's bytes
@group(0) @binding(1) var<storage, read_write> packed: array<out4>;    // (packed_taps, 4·c4, 4·n4)

fn number(at: u32) -> f32 {
  if (DTYPE == 0u) {
    return bitcast<f32>(file[at / 4u][at % 4u]);
  }
  let pair = file[at / 8u][at / 2u % 4u];
  let bits = select(pair & 0xffffu, pair >> 16u, at % 2u == 1u);
  if (DTYPE == 1u) {
    return unpack2x16float(bits).x;
  }
  return bitcast<f32>(bits << 16u);
}

// Element (row, c, tap) of the slice, 0 past its end (N and C are padded to multiples of four).
fn element(row: u32, c: u32, tap: u32) -> f32 {
  if (row >= p.rows || c >= p.channels) {
    return 0.0;
  }
  return number((row * p.channels + c) * p.taps + tap);
}

// Four rows of channel c under a tap of the result.
fn elements(row: u32, c: u32, tap: u32) -> vec4<f32> {
  return vec4<f32>(element(row, c, tap), element(row + 1u, c, tap), element(row + 2u, c, tap), element(row + 3u, c, tap));
}

// The same for a tap of a phase. Of a doubled picture an even row sees the row before its own once and its own twice, an
// odd row its own twice and the next one once: so many rows of the filter are summed. So it is with columns.
fn phase_elements(row: u32, c: u32, tap: u32) -> vec4<f32> {
  let odd = vec2<u32>(tap / 8u, tap / 4u % 2u);
  let second = vec2<u32>(tap / 2u % 2u, tap % 2u);
  let first = second * (1u + odd);
  let last = select(odd, vec2<u32>(2u), second == vec2<u32>(1u));
  var sum = vec4<f32>();
  for (var y = first.x; y <= last.x; y++) {
    for (var x = first.y; x <= last.y; x++) {
      sum += elements(row, c, y * 3u + x);
    }
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let blocks = (p.rows + 3u) / 4u;
  let id = (group.y * p.groups_x + group.x) * 64u + t;
  if (id >= blocks * p.padded_channels * p.packed_taps) {
    return;
  }
  let block = id % blocks;
  let c = id / blocks % p.padded_channels;
  let tap = id / blocks / p.padded_channels;
  let row = block * 4u;
  var value: vec4<f32>;
  if (PHASED) {
    value = phase_elements(row, c, tap);
  } else {
    value = elements(row, c, tap);
  }
  var column = p.first / 4u + block;
  if (p.half_columns > 0u) {
    // GEGLU: four values, then their four gates. Tint refuses to divide by a constant zero even where it never happens.
    let half = max(p.half_columns, 1u);
    column = column % half * 2u + column / half;
  }
  packed[(tap * p.padded_channels + c) * p.n4 + p.column + column] = store_out(value);
}
