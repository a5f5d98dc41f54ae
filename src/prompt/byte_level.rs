//! How byte-level vocabularies write bytes as characters (GPT-2, `encoder.py`), and the tokens that CLIP's begins with. Also used by
//! `build.rs`.

/// What a token ends with that ends a word.
pub const END_OF_WORD: &str = "</w>";

/// The first 512 tokens: every byte, and every byte that ends a word.
pub fn byte_tokens() -> Vec<String> {
    let bytes: Vec<String> = byte_order().map(|byte| char_of(byte).to_string()).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}"));
    bytes.iter().cloned().chain(ends).collect()
}

/// The byte that a character stands for, if it is that of one.
pub fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => Some(byte),
        Err(_) => unprintable().nth((code - 256) as usize),
    }
}

/// Bytes that stand for themselves in byte-level vocabularies (GPT-2, `encoder.py`): the printable ones of Latin-1.
fn is_printable(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

/// The other bytes, which stand as the characters from U+0100 on.
fn unprintable() -> impl Iterator<Item = u8> {
    (0..=255).filter(|byte| !is_printable(*byte))
}

/// The bytes in the order of their ids.
fn byte_order() -> impl Iterator<Item = u8> {
    (0..=255).filter(|byte| is_printable(*byte)).chain(unprintable())
}

fn char_of(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    let place = unprintable().take_while(|other| *other != byte).count();
    char::from_u32(256 + place as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}
