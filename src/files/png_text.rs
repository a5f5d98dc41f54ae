//! The text chunks of a PNG: where programs write an embedding or a recipe beside the pixels.

use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;

use super::shown;
use crate::error::{Code, Error, Result};

/// The bytes before the first chunk.
pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The content of the first text chunk (`tEXt`, `zTXt`, `iTXt`) with this keyword; unpacked, `most` bytes at most.
///
/// What is wrong with other chunks does not matter, and neither do the pixels.
///
/// # Errors
/// [`Code::BadPicture`] when that chunk is damaged, [`Code::TooLarge`] when its content is longer than `most`.
pub fn find(file: &str, png: &[u8], keyword: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let mut rest = png.strip_prefix(SIGNATURE).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        // The checksum covers the chunk's type and its content.
        let Some((covered, after)) = after.split_at_checked(length.saturating_add(4)) else { return Ok(None) };
        let Some((checksum, after)) = after.split_first_chunk::<4>() else { return Ok(None) };
        rest = after;
        let (kind, content) = covered.split_at(4);
        let named = content.strip_prefix(keyword.as_bytes()).and_then(|content| content.strip_prefix(b"\0"));
        let (Some(content), b"tEXt" | b"zTXt" | b"iTXt") = (named, kind) else { continue };
        let mut crc = Crc::new();
        crc.update(covered);
        if crc.sum() != u32::from_be_bytes(*checksum) {
            return Err(bad(file, keyword, "its checksum is wrong"));
        }
        let (packed, text) = match (kind, content) {
            (b"tEXt", text) => (false, text),
            (b"zTXt", [0, text @ ..]) => (true, text),
            (b"iTXt", [packed @ (0 | 1), 0, rest @ ..]) => (*packed == 1, after_two_texts(rest).unwrap_or_default()),
            _ => return Err(bad(file, keyword, "it is packed in an unknown way")),
        };
        if packed {
            return unpack(text, most).map(Some).ok_or_else(|| {
                let message = format!(
                    "{}: its text \"{}\" cannot be unpacked, or not into {most} bytes.",
                    shown(file),
                    shown(keyword)
                );
                Error::new(Code::BadPicture, message)
            });
        }
        if text.len() as u64 > most {
            let message = format!(
                "{}: its text \"{}\" has {} bytes, the most is {most}.",
                shown(file),
                shown(keyword),
                text.len()
            );
            return Err(Error::new(Code::TooLarge, message));
        }
        return Ok(Some(text.to_vec()));
    }
    Ok(None)
}

/// Inflates a zlib stream that may have other bytes behind it; `None` when it is damaged or longer than `most`.
pub fn unpack(zlib: &[u8], most: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    ZlibDecoder::new(zlib).take(most.saturating_add(1)).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= most).then_some(content)
}

/// `iTXt` has a language and a translated keyword before the text.
fn after_two_texts(content: &[u8]) -> Option<&[u8]> {
    let mut parts = content.splitn(3, |byte| *byte == 0);
    parts.nth(2)
}

fn bad(file: &str, keyword: &str, what: &str) -> Error {
    Error::new(Code::BadPicture, format!("{} is damaged: of its text \"{}\", {what}.", shown(file), shown(keyword)))
}
