//! Texts in WebP files: the EXIF chunk (A1111, ComfyUI).

use super::images::{Texts, offer_exif};

/// Offers the texts of the EXIF chunk.
pub fn read(picture: &[u8], texts: &mut Texts) {
    let mut rest = picture.get(12..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [.., a, b, c, d] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((content, next)) = after.split_at_checked(length) else { return };
        if head.starts_with(b"EXIF") {
            // JPEG's prefix has no place here, and some programs write it.
            offer_exif(content.strip_prefix(b"Exif\0\0").unwrap_or(content), texts);
        }
        // A chunk of odd length is followed by a byte of nothing.
        rest = next.get(length % 2..).unwrap_or_default();
    }
}
