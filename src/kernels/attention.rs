//! Scaled dot-product attention without stored scores.

use crate::gpu::{Kernel, Tensor};

/// Rows of a tensor that holds queries, keys or values, perhaps beside each other.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// (B, tokens, stride).
    pub tensor: &'a Tensor,
    /// First channel of the part that is meant.
    pub offset: usize,
}

/// Of which keys each batch item sees how many, where they are prompts: item b those of prompt `first + b / each`, so
/// that pictures made at once share theirs.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// (prompts, padded to a multiple of four), f32: how many keys of each count.
    pub lengths: &'a Tensor,
    /// The first item's prompt.
    pub first: usize,
    /// How many items see one prompt.
    pub each: usize,
    /// The items of the queries are that many times in the batch, one time after the other: what does not depend on the
    /// prompt is computed once for all of them.
    pub times: usize,
}

/// One attention.
pub struct Attention<'a> {
    /// Queries.
    pub q: Rows<'a>,
    /// Keys.
    pub k: Rows<'a>,
    /// Values.
    pub v: Rows<'a>,
    /// Number of heads.
    pub heads: usize,
    /// Numbers per head and row.
    pub head_dim: usize,
    /// What is seen of the keys; if `None`, all those of the item itself.
    pub seen: Option<Seen<'a>>,
    /// Row i sees only keys 0..=i.
    pub causal: bool,
}

/// How the work is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// A query row per thread, no workgroup memory: for software adapters.
    Rows,
    /// A query row per thread, keys and values through workgroup memory.
    Tiled,
    /// Four query rows per workgroup: for wide heads.
    Wide,
}

const SHARED: &str = wgsl!("attention.wgsl");
const ROWS: &str = wgsl!("attention_rows.wgsl");
const TILED: &str = wgsl!("attention_tiled.wgsl");
const WIDE: &str = wgsl!("attention_wide.wgsl");

/// The widest head whose row a thread can hold.
const WIDEST_ROW: usize = 160;

/// Attention, split as suits the adapter: (B, queries, heads · head_dim).
pub fn attention(args: &Attention) -> Tensor {
    let software = args.q.tensor.gpu().adapter().software;
    let split = match args.head_dim {
        dim if dim > WIDEST_ROW => Split::Wide,
        _ if software => Split::Rows,
        _ => Split::Tiled,
    };
    attention_on(split, args)
}

/// Attention, split as given.
pub fn attention_on(split: Split, args: &Attention) -> Tensor {
    let Attention { q, k, v, heads, head_dim, causal, .. } = *args;
    assert_eq!(head_dim % 4, 0, "attention: heads of {head_dim}");
    let &[q_items, queries, q_stride] = q.tensor.shape() else { panic!("attention: q is {:?}", q.tensor.shape()) };
    let &[prompts, key_rows, k_stride] = k.tensor.shape() else { panic!("attention: k is {:?}", k.tensor.shape()) };
    let &[_, v_rows, v_stride] = v.tensor.shape() else { panic!("attention: v is {:?}", v.tensor.shape()) };
    assert_eq!(key_rows, v_rows, "attention: {key_rows} keys, {v_rows} values");
    let (first, each, times) = args.seen.map_or((0, 1, 1), |seen| (seen.first, seen.each, seen.times));
    let batch = q_items * times;
    assert!(
        first + batch.div_ceil(each) <= prompts,
        "attention: {batch} items, from {first}, {each} each, of {prompts}"
    );
    assert!(args.seen.is_none_or(|seen| seen.lengths.len() >= prompts), "attention: lengths of {prompts} prompts");

    let gpu = q.tensor.gpu();
    let out = gpu.result(&[batch, queries, heads * head_dim], q.tensor.storage());
    let d4 = head_dim / 4;
    let (wgsl, rows_per_group) = match split {
        Split::Rows => (ROWS, 32),
        Split::Tiled => (TILED, 64),
        Split::Wide => (WIDE, 4),
    };
    // Two tiles of f32 in the 16 KiB of workgroup memory that every adapter has.
    let tile = (512 / d4 / 4 * 4).clamp(4, 32);
    gpu.run(Kernel {
        name: "attention",
        class: if args.seen.is_some() { "cross-attention" } else { "self-attention" },
        wgsl: &[SHARED, wgsl],
        constants: &[
            ("D4", d4.into()),
            ("CAUSAL", causal.into()),
            ("PROMPTS", args.seen.is_some().into()),
            ("KEYS", tile.into()),
        ],
        params: &[
            ("q_items", q_items.into()),
            ("queries", queries.into()),
            ("key_rows", key_rows.into()),
            ("first", first.into()),
            ("each", each.into()),
            ("heads", heads.into()),
            ("q_stride", (q_stride / 4).into()),
            ("q_offset", (q.offset / 4).into()),
            ("k_stride", (k_stride / 4).into()),
            ("k_offset", (k.offset / 4).into()),
            ("v_stride", (v_stride / 4).into()),
            ("v_offset", (v.offset / 4).into()),
            ("scale", (1.0 / (head_dim as f32).sqrt()).into()),
        ],
        uniform: false,
        read: &[Some(q.tensor), Some(k.tensor), Some(v.tensor), args.seen.map(|seen| seen.lengths)],
        write: &[Some(&out)],
        workgroups: [queries.div_ceil(rows_per_group), heads, batch],
        flops: 4 * (batch * queries) as u64 * (key_rows * heads * head_dim) as u64,
    });
    out
}
