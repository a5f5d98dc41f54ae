//! What a product leaves behind for the normalisation after it.

use crate::gpu::Tensor;

use super::repeat;

/// Rows and columns of the tiles whose statistics are kept.
pub(super) const TILE: usize = 64;

/// Of what a product keeps the mean and the squared deviations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Of each channel, for a group normalisation.
    Channels,
    /// Of each row, for a layer normalisation.
    Rows,
}

/// A tensor and, where the product that made it kept them, its statistics.
#[derive(Clone)]
pub struct Measured {
    /// The tensor.
    pub tensor: Tensor,
    pub(super) moments: Option<Moments>,
}

/// Statistics in tiles, f32: of `Channels` in tiles of 64 rows, (B · tiles, 2, N); of `Rows` in tiles of 64 channels,
/// (tiles, 2, rows).
#[derive(Clone)]
pub(super) struct Moments {
    pub of: Measure,
    pub tensor: Tensor,
    /// Rows that follow each other without a tile that holds others too: those of a batch item, or of one parity.
    pub run: usize,
}

impl From<Tensor> for Measured {
    fn from(tensor: Tensor) -> Self {
        Self { tensor, moments: None }
    }
}

impl Measured {
    /// The same under another shape of as many channels.
    pub fn reshape(&self, shape: &[usize]) -> Self {
        Self { tensor: self.tensor.reshape(shape), moments: self.moments.clone() }
    }

    /// The batch, `times` over; statistics of its channels come along.
    pub fn repeat(&self, times: usize) -> Self {
        let moments = self
            .moments(Measure::Channels)
            .map(|moments| Moments { tensor: repeat(&moments.tensor, times), ..moments.clone() });
        Self { tensor: repeat(&self.tensor, times), moments }
    }

    /// The statistics, if they are of this kind.
    pub(super) fn moments(&self, of: Measure) -> Option<&Moments> {
        self.moments.as_ref().filter(|moments| moments.of == of)
    }

    /// The statistics of its rows are there.
    pub fn has_rows(&self) -> bool {
        self.moments(Measure::Rows).is_some()
    }
}
