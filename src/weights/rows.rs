//! The token table: rows that stay on the CPU.

use half::{bf16, f16};

use crate::files::DType;

/// Rows that stay on the CPU: the token table, from which a prompt picks a few.
pub struct Rows {
    /// Numbers per row.
    pub width: usize,
    pub(super) dtype: DType,
    pub(super) keep_f32: bool,
    pub(super) halved: bool,
    pub(super) bytes: Vec<u8>,
}

impl Rows {
    /// Row `i` as f32; `None` past the end.
    pub fn row(&self, i: usize) -> Option<Vec<f32>> {
        let size = self.width * self.dtype.size();
        let bytes = self.bytes.get(i.checked_mul(size)?..)?.get(..size)?;
        Some(to_f32(self.dtype, bytes))
    }

    /// A row from elsewhere with the precision that this table's rows have, so that equal rows stay equal.
    pub fn alike(&self, row: &[f32]) -> Vec<f32> {
        if self.halved { row.iter().map(|&x| f16::from_f32(x).to_f32()).collect() } else { row.to_vec() }
    }

    /// Number of rows read so far.
    pub fn len(&self) -> usize {
        self.bytes.len() / (self.width * self.dtype.size()).max(1)
    }

    /// No rows yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next rows of the file. f32 is halved unless the GPU too keeps f32: 76 MB instead of 152.
    pub(super) fn push(&mut self, dtype: DType, bytes: &[u8]) {
        if dtype == DType::F32 && !self.keep_f32 {
            (self.dtype, self.halved) = (DType::F16, true);
            self.bytes.extend(to_f32(dtype, bytes).iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()));
        } else {
            self.dtype = dtype;
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// Numbers of a file as f32.
pub(super) fn to_f32(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}
