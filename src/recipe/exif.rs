//! Texts in an EXIF block: A1111 uses the user comment, ComfyUI the fields from Make downwards (`workflow:{…}`,
//! `prompt:{…}`).

use exif::{In, Reader, Tag, Value};

/// Keyword and text of everything that may be a recipe, in a TIFF block.
pub fn texts(block: &[u8]) -> Vec<(String, String)> {
    let read = Reader::new().continue_on_error(true).read_raw(block.to_vec());
    let Ok(fields) = read.or_else(|e| e.distill_partial_result(|_| {})) else { return Vec::new() };
    let mut texts = Vec::new();
    if let Some(field) = fields.get_field(Tag::UserComment, In::PRIMARY) {
        if let Value::Undefined(bytes, _) | Value::Byte(bytes) = &field.value {
            texts.push(("parameters".to_string(), user_comment(bytes)));
        } else if let Value::Ascii(lines) = &field.value {
            texts.push(("parameters".to_string(), ascii(lines)));
        }
    }
    for tag in [Tag::ImageDescription, Tag::Make, Tag::Model] {
        let Some(Value::Ascii(lines)) = fields.get_field(tag, In::PRIMARY).map(|field| &field.value) else { continue };
        let text = ascii(lines);
        match text.split_once(':') {
            Some((keyword, rest))
                if super::images::KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(keyword)) =>
            {
                texts.push((keyword.to_ascii_lowercase(), rest.to_string()));
            }
            // A description is mostly a caption, and the others name a camera: only a recipe counts.
            _ if super::from_text(&text).is_ok() => texts.push(("parameters".to_string(), text)),
            _ => {}
        }
    }
    texts
}

/// The field's lines are what lies between zero bytes.
fn ascii(lines: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&lines.join(&b'\n')).into_owned()
}

/// Eight bytes that name the encoding, then text.
fn user_comment(bytes: &[u8]) -> String {
    let text = match bytes.split_first_chunk::<8>() {
        Some((b"UNICODE\0", text)) => utf16(text),
        Some((b"ASCII\0\0\0" | b"JIS\0\0\0\0\0" | b"\0\0\0\0\0\0\0\0", text)) => {
            String::from_utf8_lossy(text).into_owned()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.trim_end_matches('\0').to_string()
}

/// The standard leaves the order of the bytes open and programs differ, whatever the block's own order is: a mark says
/// it, or else the zeros of the Latin letters and signs that every line of parameters is made of.
fn utf16(bytes: &[u8]) -> String {
    let zeros = |at: usize| bytes.chunks_exact(2).filter(|unit| unit[at] == 0).count();
    let (bytes, little) = match bytes {
        [0xff, 0xfe, text @ ..] => (text, true),
        [0xfe, 0xff, text @ ..] => (text, false),
        _ => (bytes, zeros(1) > zeros(0)),
    };
    let unit = |unit: &[u8]| {
        if little { u16::from_le_bytes([unit[0], unit[1]]) } else { u16::from_be_bytes([unit[0], unit[1]]) }
    };
    let units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
    String::from_utf16_lossy(&units)
}
