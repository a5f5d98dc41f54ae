//! Texts in JPEG files: EXIF (A1111) and comments.

use super::images::{Texts, offer_exif};

/// The first bytes of every JPEG: its start, and the next marker's.
pub const SIGNATURE: &[u8] = b"\xff\xd8\xff";

const START_OF_SCAN: u8 = 0xda;
const END: u8 = 0xd9;
const APP1: u8 = 0xe1;
const COMMENT: u8 = 0xfe;

/// Offers the texts in the segments before the pixels. EXIF comes first, wherever it stands.
pub fn read(picture: &[u8], texts: &mut Texts) {
    let mut comments = Vec::new();
    for (marker, content) in segments(picture) {
        match (marker, content.strip_prefix(b"Exif\0\0")) {
            (APP1, Some(block)) => offer_exif(block, texts),
            (COMMENT, _) => comments.push(content),
            _ => {}
        }
    }
    for comment in comments {
        let text = String::from_utf8_lossy(comment);
        // Comments are mostly an encoder's name; only a recipe counts.
        if super::from_text(text.trim_end_matches('\0')).is_ok() {
            texts.offer("parameters", text.trim_end_matches('\0').to_string());
        }
    }
}

fn segments(picture: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = picture.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // Any number of fill bytes may stand before a marker.
        rest = &rest[rest.iter().position(|byte| *byte != 0xff).filter(|at| *at > 0)?..];
        let (marker, after) = rest.split_first()?;
        if [START_OF_SCAN, END].contains(marker) {
            return None;
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk::<2>()?));
        let (segment, next) = after.split_at_checked(length)?;
        rest = next;
        Some((*marker, segment.get(2..)?))
    })
}
