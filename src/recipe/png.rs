//! Texts in PNG files: tEXt, zTXt, iTXt, and EXIF.

use std::io::Read;

use super::exif;
use super::images::{Texts, offer_exif};
use crate::error::{Code, Error, Result};

/// The first bytes of every PNG.
pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// PNG's rule for keywords.
const LONGEST_KEYWORD: usize = 79;

struct Chunk<'a> {
    kind: &'a [u8],
    data: &'a [u8],
    /// With its length, kind and checksum.
    whole: &'a [u8],
}

impl Chunk<'_> {
    fn is_text(&self) -> bool {
        matches!(self.kind, b"tEXt" | b"zTXt" | b"iTXt")
    }

    fn is_sound(&self) -> bool {
        let stored = self.whole.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
        stored == Some(crc32fast::hash(&self.whole[4..self.whole.len() - 4]))
    }
}

/// The chunks, as far as they are complete.
fn chunks(picture: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = picture.get(SIGNATURE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
        let (whole, after) = rest.split_at_checked(length.checked_add(12)?)?;
        rest = after;
        Some(Chunk { kind: &whole[4..8], data: &whole[8..8 + length], whole })
    })
}

/// Offers every text of a PNG, wherever it stands.
pub fn read(picture: &[u8], texts: &mut Texts) {
    for chunk in chunks(picture) {
        match chunk.kind {
            b"eXIf" => offer_exif(chunk.data, texts),
            b"tEXt" | b"zTXt" | b"iTXt" => read_text(&chunk, texts),
            _ => {}
        }
    }
}

fn read_text(chunk: &Chunk<'_>, texts: &mut Texts) {
    let Some((keyword, content)) = split_at_zero(chunk.data) else { return };
    let keyword = latin1(&keyword[..keyword.len().min(LONGEST_KEYWORD)]);
    if !texts.wants(&keyword) {
        return;
    }
    let room = texts.room();
    // Nothing that is too long is decoded, copied or summed up.
    if content.len() > room + 1024 {
        return texts.too_long(&keyword);
    }
    let text = match chunk.kind {
        b"tEXt" => Some(Ok(text_of_latin1(content))),
        b"zTXt" => content.strip_prefix(&[0]).map(|packed| inflate(packed, room).map(|bytes| text_of_latin1(&bytes))),
        _ => international(content, room),
    };
    match text {
        Some(Ok(text)) => {
            if !chunk.is_sound() {
                texts.notes.push(format!(
                    "The checksum of the text \u{201c}{keyword}\u{201d} is wrong: the picture was damaged, and the recipe may be too."
                ));
            }
            texts.offer(&keyword, text);
        }
        Some(Err(TooLong)) => texts.too_long(&keyword),
        None => texts.notes.push(format!("The text \u{201c}{keyword}\u{201d} in the picture is damaged.")),
    }
}

/// The text of an iTXt chunk after its keyword: compression flag and method, language, translated keyword, text.
fn international(content: &[u8], room: usize) -> Option<Result<String, TooLong>> {
    let (flags, rest) = content.split_at_checked(2)?;
    let (_language, rest) = split_at_zero(rest)?;
    let (_translated, text) = split_at_zero(rest)?;
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match flags[0] {
        0 => Some(Ok(utf8(text))),
        _ => Some(inflate(text, room).map(|bytes| utf8(&bytes))),
    }
}

/// More bytes than a text may have.
struct TooLong;

/// Unpacks at most `most` bytes; of a damaged stream, what comes before the damage.
fn inflate(packed: &[u8], most: usize) -> Result<Vec<u8>, TooLong> {
    let mut bytes = Vec::new();
    let mut stream = flate2::read::ZlibDecoder::new(packed).take(most as u64 + 1);
    // The error of a damaged stream says nothing that the text does not show.
    let _ = stream.read_to_end(&mut bytes);
    if bytes.len() > most { Err(TooLong) } else { Ok(bytes) }
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// PNG says Latin-1, and programs in JavaScript write UTF-8 all the same. What is valid as UTF-8 hardly ever makes sense
/// as Latin-1.
fn text_of_latin1(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| latin1(bytes), str::to_string)
}

/// A PNG with texts before its pixels, see [`super::images::embed_in_png`].
pub fn embed(picture: &[u8], texts: &[(&str, String)]) -> Result<Vec<u8>> {
    // Whatever our reader would take for one of them goes, or it would be read in their place.
    let named = |keyword: &str| texts.iter().any(|(new, _)| new.eq_ignore_ascii_case(keyword));
    let replaced = |chunk: &Chunk| match chunk.kind {
        b"eXIf" => exif::texts(chunk.data).iter().any(|(keyword, _)| named(keyword)),
        _ => chunk.is_text() && split_at_zero(chunk.data).is_some_and(|(keyword, _)| named(&latin1(keyword))),
    };
    rewritten(picture, texts, replaced)
}

/// A PNG without texts, see [`super::images::bare_png`].
pub fn bare(picture: &[u8]) -> Result<Vec<u8>> {
    rewritten(picture, &[], |chunk| chunk.is_text() || chunk.kind == b"eXIf")
}

/// The picture without some chunks, and with texts before its pixels.
fn rewritten(picture: &[u8], texts: &[(&str, String)], dropped: impl Fn(&Chunk) -> bool) -> Result<Vec<u8>> {
    if !picture.starts_with(SIGNATURE) {
        return Err(Error::new(Code::UnknownFormat, "These bytes are no PNG picture; expected one to put texts into."));
    }
    let written: Vec<Vec<u8>> = texts.iter().map(|(keyword, text)| text_chunk(keyword, text)).collect::<Result<_>>()?;
    let mut out = SIGNATURE.to_vec();
    let mut is_in = false;
    for chunk in chunks(picture) {
        if chunk.kind == b"IDAT" && !is_in {
            written.iter().for_each(|chunk| out.extend(chunk));
            is_in = true;
        }
        if !dropped(&chunk) {
            out.extend_from_slice(chunk.whole);
        }
    }
    if is_in { Ok(out) } else { Err(Error::new(Code::Truncated, "This PNG picture ends before its pixels begin.")) }
}

/// A text as Pillow, and so A1111, writes it: Latin-1 where that can hold it, UTF-8 elsewhere; never compressed, which
/// ComfyUI's reader does not expect.
fn text_chunk(keyword: &str, text: &str) -> Result<Vec<u8>> {
    let is_keyword =
        (1..=LONGEST_KEYWORD).contains(&keyword.len()) && keyword.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_keyword {
        let shown = crate::files::clipped(keyword, 80);
        let message = format!(
            "\u{201c}{shown}\u{201d} is no keyword of a PNG text; expected 1 to {LONGEST_KEYWORD} ASCII letters."
        );
        return Err(Error::new(Code::BadOption, message));
    }
    let latin1: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
    // Latin-1 that could be taken for UTF-8 is written as UTF-8, so that no reader has to guess; the format forbids zeros.
    let latin1 =
        latin1.filter(|bytes| !bytes.contains(&0) && (bytes.is_ascii() || std::str::from_utf8(bytes).is_err()));
    let mut data = keyword.as_bytes().to_vec();
    data.push(0);
    let kind = match latin1 {
        Some(bytes) => {
            data.extend(bytes);
            b"tEXt"
        }
        None => {
            // Not compressed, no language, no translated keyword.
            data.extend([0; 4]);
            data.extend(text.bytes());
            b"iTXt"
        }
    };
    let length =
        u32::try_from(data.len()).map_err(|_| Error::new(Code::TooLarge, "A text for a PNG is over 4 GiB."))?;
    let mut chunk = length.to_be_bytes().to_vec();
    chunk.extend(kind);
    chunk.extend(data);
    let checksum = crc32fast::hash(&chunk[4..]);
    chunk.extend(checksum.to_be_bytes());
    Ok(chunk)
}
