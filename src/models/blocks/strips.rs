//! Pictures that are too large to be held several times over, or to be bound at once, in strips of rows.
//!
//! A norm needs the statistics of the whole picture, so tiles that know nothing of each other give another picture. Here
//! every layer goes over all strips before the next norm begins, with the statistics gathered on the way; a convolution
//! reads a row more above and below from where the neighbours lie. The result is that of the whole up to the order of sums.
//! What is kept whole is one tensor a block, or two; what lies between is there for a strip at a time, and some of it is
//! computed twice.

use std::ops::Range;

use crate::gpu::Tensor;
use crate::kernels::{Gemm, Measured, Moments, Strip, gemm};
use crate::layers::Conv2d;

use super::ResnetBlock;

/// How much memory there is.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes to be taken at once, if that can be: strips, and what is computed twice, depend on it.
    pub most: u64,
    /// Bytes of the largest tensor that can exist.
    pub tensor: u64,
    /// Bytes of the largest that can be bound as a whole.
    pub binding: u64,
}

/// Bytes of a strip where memory is no concern: enough to keep a GPU busy.
const STRIP_BYTES: u64 = 32 << 20;
/// Tensors that are this many times smaller than all there is need no strips: three or four of them live at once, and what
/// they leave behind in the arena does not always fit what comes later.
const SMALL: u64 = 10;
/// Bindings begin at multiples of this.
const ALIGNMENT: usize = 256;

/// A picture by its rows: they lie in memory, or are made when they are asked for.
pub enum Picture<'a> {
    /// (1, H, W, C).
    Whole(Measured),
    /// Twice the size of `half`, then filtered.
    Doubled {
        /// (1, H/2, W/2, C').
        half: Tensor,
        /// From C' to C channels.
        conv: &'a Conv2d,
    },
}

/// The rows of a picture in strips of at most `most`.
pub fn split(height: usize, most: usize) -> Vec<Range<usize>> {
    (0..height).step_by(most).map(|first| first..(first + most).min(height)).collect()
}

/// `rows` and `more` on each side, as far as there are any.
pub fn around(rows: &Range<usize>, more: usize, height: usize) -> Range<usize> {
    rows.start.saturating_sub(more)..(rows.end + more).min(height)
}

impl Room {
    /// Rows of a strip, a multiple of four, where a row takes `bytes`, beside a tensor of `kept` bytes.
    ///
    /// A strip and its next make four or five tensors. The lower they are, the more often their edges are computed twice, so
    /// they are a 32nd of what is kept whole if that is more than a 64th of all there is.
    pub fn rows(&self, bytes: usize, kept: u64) -> usize {
        let strip = STRIP_BYTES.min((self.most / 64).max(kept / 32)) as usize;
        (strip / bytes / 4 * 4).max(4)
    }

    /// Layers on tensors like this need no strips. (Or cannot have any, but what has such rows is small.)
    pub fn is_enough_for(&self, [height, width, channels]: [usize; 3], size: usize) -> bool {
        let row = width * channels * size;
        let bytes = height as u64 * row as u64;
        row % ALIGNMENT != 0 || (bytes <= self.binding && bytes.saturating_mul(SMALL) <= self.most)
    }

    /// Two whole tensors, and strips besides.
    fn holds_both(&self, one: u64, other: u64) -> bool {
        one + other <= self.most / 8 * 7
    }

    /// As much as two tensors and strips besides take, if that is more.
    pub fn at_least(self, both: u64) -> Self {
        Self { most: self.most.max(both.saturating_mul(8) / 7 + 8), ..self }
    }

    /// `x` doubled and filtered, for a block that makes `channels` of it.
    pub fn double<'a>(&self, x: &Tensor, conv: &'a Conv2d, channels: usize) -> Picture<'a> {
        let size = x.storage().size();
        let doubled = Picture::Doubled { half: x.clone(), conv };
        let [height, width, wide] = doubled.size();
        let aligned = [x.row_bytes(), width * channels * size].iter().all(|row| row % ALIGNMENT == 0);
        if !aligned || self.is_enough_for(doubled.size(), size) {
            return Picture::Whole(conv.upsample(x, (height, width)));
        }
        let bytes = |channels: usize| height as u64 * (width * channels * size) as u64;
        if bytes(wide) > self.tensor || !self.holds_both(bytes(wide), bytes(channels)) {
            return doubled;
        }
        let whole = x.gpu().result(&[1, height, width, conv.channels()], x.storage());
        for rows in split(height, self.rows(whole.row_bytes(), whole.bytes())) {
            double(conv, x, &rows, &whole.rows(rows.clone()));
        }
        Picture::Whole(whole.into())
    }
}

impl Picture<'_> {
    /// H, W, C.
    fn size(&self) -> [usize; 3] {
        match self {
            Picture::Whole(Measured { tensor, .. }) => [tensor.shape()[1], tensor.shape()[2], tensor.shape()[3]],
            Picture::Doubled { half, conv } => [half.shape()[1] * 2, half.shape()[2] * 2, conv.channels()],
        }
    }

    /// One that has its storage and its GPU.
    fn like(&self) -> &Tensor {
        match self {
            Picture::Whole(x) => &x.tensor,
            Picture::Doubled { half, .. } => half,
        }
    }

    /// (1, rows, W, C).
    fn rows(&self, rows: &Range<usize>) -> Tensor {
        match self {
            Picture::Whole(x) => x.tensor.rows(rows.clone()),
            Picture::Doubled { half, conv } => {
                // Two rows are made of each of the half.
                let [_, width, channels] = self.size();
                let even = rows.start / 2 * 2..rows.end.next_multiple_of(2);
                let out = half.gpu().result(&[1, even.len(), width, channels], half.storage());
                double(conv, half, &even, &out);
                out.rows(rows.start - even.start..rows.end - even.start)
            }
        }
    }
}

/// `out` becomes `rows` of `half`, doubled and filtered; they begin and end with a row of the half.
fn double(conv: &Conv2d, half: &Tensor, rows: &Range<usize>, out: &Tensor) {
    let needed = around(rows, 1, half.shape()[1] * 2);
    let lower = needed.start / 2..needed.end.div_ceil(2);
    let input = half.rows(lower.clone());
    let strip = Strip { above: rows.start - lower.start * 2, out, add: false };
    gemm(&Gemm { strip: Some(strip), ..conv.product(&input) });
}

impl ResnetBlock {
    /// [`forward`](Self::forward) without skip and time embedding, in strips where `room` wants them.
    pub fn forward_in(&self, x: &Picture, room: &Room) -> Measured {
        let ([height, width, channels], size) = (x.size(), x.like().storage().size());
        let widest = channels.max(self.channels());
        if let Picture::Whole(x) = x {
            let aligned = (width * channels.min(self.channels()) * size) % ALIGNMENT == 0;
            if !aligned || room.is_enough_for([height, width, widest], size) {
                return self.forward(x, None, None);
            }
        }
        let out = height as u64 * (width * self.channels() * size) as u64;
        let rows = room.rows(width * widest * size, out);
        let strips = split(height, rows);
        let mut moments = self.norm1.moments(x.like().gpu(), height * width, rows * width);
        for rows in &strips {
            self.norm1.measure(&x.rows(rows), &mut moments);
        }
        let block = InStrips { block: self, x, moments, strips };
        let result = match x {
            Picture::Whole(Measured { tensor, .. })
                if self.conv_shortcut.is_none() && !room.holds_both(tensor.bytes(), out) =>
            {
                block.in_place(tensor)
            }
            _ => block.beside(),
        };
        result.into()
    }
}

/// A block at work on a picture.
struct InStrips<'a> {
    block: &'a ResnetBlock,
    x: &'a Picture<'a>,
    /// Of `x`.
    moments: Moments,
    strips: Vec<Range<usize>>,
}

impl InStrips<'_> {
    fn height(&self) -> usize {
        self.x.size()[0]
    }

    /// A tensor for so many rows of the result.
    fn room_for(&self, rows: usize) -> Tensor {
        let like = self.x.like();
        like.gpu().result(&[1, rows, self.x.size()[1], self.block.channels()], like.storage())
    }

    /// `out` becomes `rows` of what the first norm and convolution make.
    fn first(&self, rows: &Range<usize>, out: &Tensor) {
        let needed = around(rows, 1, self.height());
        let normal = self.block.norm1.silu_of(&self.x.rows(&needed), &self.moments);
        let strip = Strip { above: rows.start - needed.start, out, add: false };
        gemm(&Gemm { strip: Some(strip), ..self.block.conv1.product(&normal) });
    }

    /// The statistics of what the first convolution makes, which `of` gives.
    fn second_moments(&self, of: impl Fn(&Range<usize>) -> Tensor) -> Moments {
        let [height, width, _] = self.x.size();
        let strip = self.strips[0].len() * width;
        let mut moments = self.block.norm2.moments(self.x.like().gpu(), height * width, strip);
        for rows in &self.strips {
            self.block.norm2.measure(&of(rows), &mut moments);
        }
        moments
    }

    /// The second convolution of what `normal` gives for a strip and a row on each side, handed to `put`, the rows above it
    /// told. The next strip's rows are taken before this one is put, which may overwrite what they are made of.
    fn second(&self, normal: impl Fn(&Range<usize>) -> Tensor, put: impl Fn(&Range<usize>, Gemm, usize)) {
        let needed = |rows: &Range<usize>| around(rows, 1, self.height());
        let mut next = self.strips.first().map(|rows| normal(&needed(rows)));
        for (i, rows) in self.strips.iter().enumerate() {
            let Some(now) = next else { return };
            next = self.strips.get(i + 1).map(|rows| normal(&needed(rows)));
            put(rows, self.block.conv2.product(&now), rows.start - needed(rows).start);
        }
    }

    /// What the first convolution makes is kept whole, and the result takes its place.
    fn beside(&self) -> Tensor {
        let h = self.room_for(self.height());
        for rows in &self.strips {
            self.first(rows, &h.rows(rows.clone()));
        }
        let moments = self.second_moments(|rows| h.rows(rows.clone()));
        let normal = |rows: &Range<usize>| self.block.norm2.silu_of(&h.rows(rows.clone()), &moments);
        self.second(normal, |rows, product, above| {
            let x = self.x.rows(rows);
            let residual = match &self.block.conv_shortcut {
                Some(conv) => {
                    let out = self.room_for(rows.len());
                    gemm(&Gemm { strip: Some(Strip { above: 0, out: &out, add: false }), ..conv.product(&x) })
                }
                None => x,
            };
            let strip = Strip { above, out: &h.rows(rows.clone()), add: false };
            gemm(&Gemm { residual: Some(&residual), strip: Some(strip), ..product });
        });
        h
    }

    /// The result takes the place of `x`; the first convolution is computed twice.
    fn in_place(&self, x: &Tensor) -> Tensor {
        let first = |rows: &Range<usize>| {
            let out = self.room_for(rows.len());
            self.first(rows, &out);
            out
        };
        let moments = self.second_moments(first);
        let normal = |rows: &Range<usize>| self.block.norm2.silu_of(&first(rows), &moments);
        self.second(normal, |rows, product, above| {
            let strip = Strip { above, out: &x.rows(rows.clone()), add: true };
            gemm(&Gemm { strip: Some(strip), ..product });
        });
        x.clone()
    }
}
