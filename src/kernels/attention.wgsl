// out = softmax(scale · q kᵀ) v, one head at a time, without ever holding the scores (Milakov and Gimelshein 2018;
// FlashAttention, Dao et al. 2022): the sum is rescaled whenever a larger score turns up.
// What all variants share: bindings and addresses. Rows are (batch, token), heads lie side by side in a row.

@group(0) @binding(0) var<storage, read> q: array<elem4>;         // (q_items, queries, q_stride): once more for each prompt
@group(0) @binding(1) var<storage, read> k: array<elem4>;         // (prompts, key_rows, k_stride)
@group(0) @binding(2) var<storage, read> v: array<elem4>;         // (prompts, key_rows, v_stride)
@group(0) @binding(3) var<storage, read> lengths: array<vec4<f32>>;  // (prompts): keys of each that count
@group(0) @binding(4) var<storage, read_write> out: array<out4>;  // (B, queries, heads · 4·D4)

// Whose keys batch item `b` sees: its own, or those of the prompt that some items share.
fn prompt(b: u32) -> u32 {
  if (PROMPTS) {
    return p.first + b / p.each;
  }
  return b;
}

// Keys that query row `row` of batch item `b` may see. The prompts may differ in length.
fn visible(b: u32, row: u32) -> u32 {
  var keys = p.key_rows;
  if (PROMPTS) {
    let item = prompt(b);
    keys = min(u32(lengths[item / 4u][item % 4u]), p.key_rows);
  }
  if (CAUSAL) {
    return min(keys, row + 1u);
  }
  return keys;
}

fn q_at(b: u32, row: u32, head: u32) -> u32 {
  return (b % p.q_items * p.queries + row) * p.q_stride + p.q_offset + head * D4;
}

fn k_at(b: u32, key: u32, head: u32) -> u32 {
  return (prompt(b) * p.key_rows + key) * p.k_stride + p.k_offset + head * D4;
}

fn v_at(b: u32, key: u32, head: u32) -> u32 {
  return (prompt(b) * p.key_rows + key) * p.v_stride + p.v_offset + head * D4;
}

fn out_at(b: u32, row: u32, head: u32) -> u32 {
  return ((b * p.queries + row) * p.heads + head) * D4;
}
