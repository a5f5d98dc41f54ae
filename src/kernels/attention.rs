//! Scaled dot-product attention without stored scores.

use std::fmt;

use crate::gpu::{Gpu, Kernel, Tensor, Vendor};

use super::choice::SAMPLE_FLOPS;

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
    /// A query row per thread, no workgroup memory: for software adapters without subgroups.
    Rows,
    /// The same where the threads of a subgroup hand each other what they read: for those with subgroups of at least so many.
    Lanes(usize),
    /// Keys and values through workgroup memory.
    Tiled {
        /// Query rows that a thread has: what it reads serves so many.
        each: usize,
        /// Threads that share a query row: 1, 2 or 4, of which each has that part of the head.
        team: usize,
    },
    /// The same where the threads of a row read each other's registers: for adapters with subgroups of as many threads.
    Shuffled {
        /// Query rows that a thread has.
        each: usize,
        /// Threads that share a query row: 2 or 4.
        team: usize,
    },
    /// Four query rows per workgroup: for wide heads.
    Wide,
}

impl Split {
    /// Those through workgroup memory.
    pub const TILED: [Split; 6] = [
        Split::Tiled { each: 1, team: 1 },
        Split::Tiled { each: 2, team: 1 },
        Split::Tiled { each: 1, team: 2 },
        Split::Tiled { each: 2, team: 2 },
        Split::Tiled { each: 1, team: 4 },
        Split::Tiled { each: 2, team: 4 },
    ];

    /// Those within subgroups.
    pub const SHUFFLED: [Split; 4] = [
        Split::Shuffled { each: 1, team: 2 },
        Split::Shuffled { each: 2, team: 2 },
        Split::Shuffled { each: 1, team: 4 },
        Split::Shuffled { each: 2, team: 4 },
    ];

    /// The device has what it needs of subgroups.
    pub fn runs_on(self, gpu: &Gpu) -> bool {
        match self {
            Split::Lanes(threads) => threads <= gpu.adapter().subgroups,
            Split::Shuffled { team, .. } => team <= gpu.adapter().subgroups,
            Split::Rows | Split::Tiled { .. } | Split::Wide => true,
        }
    }

    /// A thread's registers have room for its rows of such heads. A vector of a row takes eight: four of the query, four of the sum.
    pub fn fits(self, head_dim: usize) -> bool {
        match self {
            Split::Rows => head_dim <= WIDEST_ROW,
            Split::Tiled { each, team } | Split::Shuffled { each, team } => {
                head_dim / 4 % team == 0 && head_dim / 4 / team * each <= MOST_VECTORS
            }
            Split::Wide => true,
            // What does not fit them lies in a CPU's cache.
            Split::Lanes(_) => true,
        }
    }

    /// What [`to_string`](fmt::Display) made; `None` for what is none through workgroup memory.
    pub fn named(name: &str) -> Option<Split> {
        Split::TILED.into_iter().chain(Split::SHUFFLED).find(|split| split.to_string() == name)
    }
}

/// As in `2 rows by teams of 1`.
impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Split::Rows => write!(f, "rows"),
            Split::Lanes(threads) => write!(f, "rows on {threads} lanes"),
            Split::Tiled { each, team } => write!(f, "{each} rows by teams of {team}"),
            Split::Shuffled { each, team } => write!(f, "{each} rows by teams of {team}, shuffled"),
            Split::Wide => write!(f, "wide"),
        }
    }
}

const SHARED: &str = wgsl!("attention.wgsl");
const ROWS: &str = wgsl!("attention_rows.wgsl");
const LANES: &str = wgsl!("attention_lanes.wgsl");
const TILED: &str = wgsl!("attention_tiled.wgsl");
const PARTS: &str = wgsl!("attention_parts.wgsl");
const SHUFFLED: &str = wgsl!("attention_shuffled.wgsl");
const WIDE: &str = wgsl!("attention_wide.wgsl");

/// The widest head whose row a thread can hold.
const WIDEST_ROW: usize = 160;

/// Vectors of rows that a thread has at most, in 160 registers: a thread of NVIDIA's has 255, for all that it does.
const MOST_VECTORS: usize = 20;

/// What of an attention decides how fast a split is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    /// B, queries, keys.
    pub tokens: [usize; 3],
    pub heads: usize,
    pub head_dim: usize,
    /// To prompts, of which some keys are seen.
    pub cross: bool,
}

impl Heads {
    fn of(args: &Attention) -> Self {
        let (q, k) = (args.q.tensor.shape(), args.k.tensor.shape());
        let batch = q[0] * args.seen.map_or(1, |seen| seen.times);
        let Attention { heads, head_dim, seen, .. } = *args;
        Self { tokens: [batch, q[1], k[1]], heads, head_dim, cross: seen.is_some() }
    }

    pub fn flops(&self) -> u64 {
        let [batch, queries, keys] = self.tokens;
        4 * (batch * queries) as u64 * (keys * self.heads * self.head_dim) as u64
    }

    /// A part of it that is as fast per row, for measuring: fewer queries where there are very many.
    pub fn sample(self) -> Self {
        let [batch, queries, keys] = self.tokens;
        let fewer = (queries as u64 * SAMPLE_FLOPS / self.flops().max(1)).max(1) as usize;
        Self { tokens: [batch, fewer.next_multiple_of(128).min(queries), keys], ..self }
    }

    /// What [`to_string`](fmt::Display) made.
    pub fn named(name: &str) -> Option<Self> {
        let numbers = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        let numbers: Vec<usize> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[batch, queries, keys, heads, head_dim] = &numbers[..] else { return None };
        let cross = name.starts_with(CROSS);
        (cross || name.starts_with(SELF)).then_some(Self { tokens: [batch, queries, keys], heads, head_dim, cross })
    }
}

const SELF: &str = "self-attention";
const CROSS: &str = "cross-attention";

/// As in `self-attention 2×4096×4096, 8 heads of 40`.
impl fmt::Display for Heads {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { tokens: [batch, queries, keys], heads, head_dim, cross } = self;
        let class = if *cross { CROSS } else { SELF };
        write!(f, "{class} {batch}×{queries}×{keys}, {heads} heads of {head_dim}")
    }
}

/// Attention, split as suits the adapter: (B, queries, heads · head_dim).
pub fn attention(args: &Attention) -> Tensor {
    let gpu = args.q.tensor.gpu();
    if let Some(threads) = gpu.adapter().lanes() {
        return attention_on(Split::Lanes(threads), args);
    }
    let split = match args.head_dim {
        dim if dim > WIDEST_ROW => Split::Wide,
        _ if gpu.adapter().software => Split::Rows,
        dim => {
            let heads = Heads::of(args);
            let measured = gpu.fastest(&heads.to_string(), heads.flops()).and_then(|name| Split::named(&name));
            measured.filter(|split| split.fits(dim) && split.runs_on(gpu)).unwrap_or_else(|| guess(gpu, &heads))
        }
    };
    attention_on(split, args)
}

/// A split for an adapter that was not measured: as few threads for a row as have room for it; two rows where registers are many and
/// there are rows enough to keep the adapter busy.
pub(super) fn guess(gpu: &Gpu, heads: &Heads) -> Split {
    let vectors = heads.head_dim / 4;
    let roomy = |team: &usize| vectors % team == 0 && vectors / team <= 16;
    let team = [1, 2, 4].into_iter().find(roomy).unwrap_or(1);
    let many = matches!(gpu.adapter().vendor, Vendor::Nvidia | Vendor::Amd) && heads.tokens[1] >= 1024;
    let two = Split::Tiled { each: 2, team };
    if many && two.fits(heads.head_dim) { two } else { Split::Tiled { each: 1, team } }
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
    let (wgsl, rows_per_group, rows_each, team): (&[&str], usize, usize, usize) = match split {
        Split::Rows => (&[SHARED, ROWS], 32, 1, 1),
        Split::Lanes(threads) => (&[SHARED, LANES], threads, 1, 1),
        Split::Tiled { each, team } => (&[SHARED, TILED, PARTS], 64 / team * each, each, team),
        Split::Shuffled { each, team } => (&[SHARED, TILED, SHUFFLED], 64 / team * each, each, team),
        Split::Wide => (&[SHARED, WIDE], 4, 1, 1),
    };
    assert!(split.runs_on(gpu), "attention: {split} on subgroups of {}", gpu.adapter().subgroups);
    assert_eq!(d4 % team, 0, "attention: {split} for heads of {head_dim}");
    // Two tiles of f32, and a team's parts of scores, in the 16 KiB of workgroup memory that every adapter has.
    let parts = if matches!(split, Split::Tiled { .. }) && team > 1 { 16 * rows_each } else { 0 };
    let tile = (1024 / (2 * d4 + parts) / 4 * 4).clamp(4, 32);
    gpu.run(Kernel {
        name: "attention",
        class: if args.seen.is_some() { CROSS } else { SELF },
        wgsl,
        constants: &[
            ("D4", d4.into()),
            ("CAUSAL", causal.into()),
            ("PROMPTS", args.seen.is_some().into()),
            ("KEYS", tile.into()),
            ("EACH", rows_each.into()),
            ("TEAM", team.into()),
            ("LANES", if let Split::Lanes(threads) = split { threads } else { 1 }.into()),
            ("OWN", if split == Split::Wide { d4.div_ceil(64) } else { d4 / team }.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let heads = Heads { tokens: [2, 4096, 77], heads: 8, head_dim: 40, cross: true };
        for heads in [heads, Heads { cross: false, ..heads }] {
            assert_eq!(Heads::named(&heads.to_string()), Some(heads));
        }
        for wrong in ["", "attention 1×2×3, 4 heads of 5", "self-attention 1×2×3, 4 heads", "1×8×8×(64+0)→64"]
        {
            assert_eq!(Heads::named(wrong), None, "{wrong}");
        }
        assert_eq!(Split::TILED.map(|split| Split::named(&split.to_string())), Split::TILED.map(Some));
        assert_eq!(Split::SHUFFLED.map(|split| Split::named(&split.to_string())), Split::SHUFFLED.map(Some));
        assert_eq!([Split::named("rows"), Split::named("9 rows by teams of 9")], [None; 2]);
    }

    #[test]
    fn what_is_measured_is_a_part_of_what_is_large() {
        let heads = Heads { tokens: [2, 4096, 4096], heads: 8, head_dim: 40, cross: false };
        assert_eq!(heads.sample().tokens, [2, 1536, 4096]);
        assert_eq!(Heads { tokens: [2, 64, 64], ..heads }.sample().tokens, [2, 64, 64]);
    }

    #[test]
    fn wide_heads_are_shared_by_threads() {
        let split = |each, team| Split::Tiled { each, team };
        let fitting = |dim| Split::TILED.into_iter().filter(|split| split.fits(dim)).collect::<Vec<_>>();
        assert_eq!(fitting(160), [split(1, 2), split(1, 4), split(2, 4)]);
        assert_eq!(fitting(80), [split(1, 1), split(1, 2), split(2, 2), split(1, 4), split(2, 4)][..]);
        assert!(fitting(260).is_empty() && Split::Wide.fits(512));
    }
}
