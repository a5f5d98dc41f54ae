//! Bytes hidden in a picture, as A1111 draws its embedding cards: the low halves of the colours in the strips left and
//! right of the picture proper are the halves of a zlib stream's bytes.

use super::png_text::unpack;

/// A picture's colours, three bytes a pixel, row by row.
pub struct Rgb {
    /// Pixels in a row.
    pub width: usize,
    /// The colours; as many rows as there are.
    pub colours: Vec<u8>,
}

/// The bytes that are hidden in a picture, unpacked, `most` at most; `None` when there are none.
pub fn reveal(picture: &Rgb, most: u64) -> Option<Vec<u8>> {
    let rows = cropped(picture)?;
    let empty = empty_columns(&rows)?;
    let low = scrambled(&rows, 0, empty.0);
    let high = scrambled(&rows, empty.1 + 1, rows.first()?.len() / 3);
    if low.is_empty() || low.len() != high.len() {
        return None;
    }
    let bytes: Vec<u8> = low.iter().zip(&high).map(|(low, high)| high << 4 | low).collect();
    unpack(&bytes, most)
}

/// The rows within the smallest rectangle around all pixels of which no colour is zero: black borders do not count.
fn cropped(picture: &Rgb) -> Option<Vec<&[u8]>> {
    let stride = picture.width.checked_mul(3).filter(|stride| *stride > 0)?;
    let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
    for (y, row) in picture.colours.chunks_exact(stride).enumerate() {
        let mut full = row.chunks_exact(3).map(|pixel| !pixel.contains(&0));
        let Some(first) = full.position(|full| full) else { continue };
        let mut full = row.chunks_exact(3).map(|pixel| !pixel.contains(&0));
        let last = full.rposition(|full| full).unwrap_or(first);
        (left, right) = (left.min(first), right.max(last));
        (top, bottom) = (top.min(y), y);
    }
    let rows = picture.colours.chunks_exact(stride).take(bottom + 1).skip(top);
    let rows: Vec<_> = rows.filter_map(|row| row.get(left * 3..(right + 1) * 3)).collect();
    (!rows.is_empty()).then_some(rows)
}

/// The first and the last column whose low halves are all zero: they part the strips from the picture.
fn empty_columns(rows: &[&[u8]]) -> Option<(usize, usize)> {
    let mut used = vec![0u8; rows.first()?.len()];
    for row in rows {
        used.iter_mut().zip(*row).for_each(|(used, colour)| *used |= colour & 15);
    }
    let empty = |pixel: &[u8]| pixel == [0; 3];
    let (first, last) = (used.chunks_exact(3).position(empty)?, used.chunks_exact(3).rposition(empty)?);
    (first < last).then_some((first, last))
}

/// The low halves of these columns, row by row, with the noise taken off that makes the strips look even.
fn scrambled(rows: &[&[u8]], start: usize, end: usize) -> Vec<u8> {
    let mut state = 0u32;
    let strips = rows.iter().filter_map(|row| row.get(start * 3..end * 3));
    let unscramble = |colour: &u8| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (colour ^ (state % 255) as u8) & 15
    };
    strips.flatten().map(unscramble).collect()
}
