//! Embeddings that travel as pictures: A1111 writes them into a PNG's text, and into the pixels of any lossless picture.

use std::io::Cursor;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use image_webp::WebPDecoder;
use png::{ColorType, Decoder, Limits, Transformations};

use super::sniff::Kind;
use super::stego::{self, Rgb};
use super::ti_layout::Node;
use super::{clipped, png_text, shown, ti_json};
use crate::error::{Code, Error, Result};

const KEYWORD: &str = "sd-ti-embedding";
const LONGEST_JSON: u64 = 16 << 20;
/// A picture of this size takes 256 MiB with four channels.
const MOST_PIXELS: u64 = 64 << 20;
/// What is hidden in pixels is packed already, so a file with more pixels to a byte hides nothing. It may yet ask for memory:
/// a lossless WebP says 91 million bytes of one colour in 31.
const MOST_PIXELS_A_BYTE: u64 = 1024;
const LONGEST_NAME: usize = 120;

/// The embedding's dict in a picture.
///
/// # Errors
/// [`Code::NotAnEmbedding`] when the picture has none, [`Code::BadPicture`] when it or the embedding is damaged.
pub fn read(file: &str, bytes: &[u8], kind: Kind) -> Result<Node> {
    let json = match kind {
        Kind::Png => match png_text::find(file, bytes, KEYWORD, LONGEST_JSON * 2)? {
            Some(text) => Some(unarmoured(file, text)?),
            None => stego::reveal(&png_pixels(file, bytes)?, LONGEST_JSON),
        },
        Kind::Webp => stego::reveal(&webp_pixels(file, bytes)?, LONGEST_JSON),
        Kind::Jpeg => {
            return Err(none(
                file,
                "a JPEG picture cannot carry one, as its pixels change when it is saved; get the PNG it was made from",
            ));
        }
        _ => return Err(none(file, "embeddings are read from PNG and lossless WebP; save it as PNG without changes")),
    };
    let Some(json) = json else {
        return Err(none(
            file,
            "neither its text nor its pixels hold one; sites that resize or convert pictures remove it, and most \
             pictures beside an embedding only show what it does",
        ));
    };
    ti_json::parse(&json).map_err(|e| {
        // Python writes these words where JSON has no number.
        if json.windows(3).any(|word| word == b"NaN" || word == b"Inf") {
            let message =
                format!("{}: the embedding in this picture has NaN or infinite values; it is broken.", shown(file));
            return Error::new(Code::NotFinite, message);
        }
        bad(file, &format!("its embedding cannot be read: {}", clipped(&e, 120)))
    })
}

/// The name a picture gives its embedding: pictures are renamed, and A1111 goes by this one.
pub fn name(node: &Node) -> Option<String> {
    let Some(Node::Text(name)) = node.get("name") else { return None };
    let name = name.trim();
    let usable = !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control);
    usable.then(|| name.to_string())
}

fn none(file: &str, why: &str) -> Error {
    Error::new(Code::NotAnEmbedding, format!("{} is a picture without an embedding: {why}.", shown(file)))
}

fn bad(file: &str, what: &str) -> Error {
    Error::new(Code::BadPicture, format!("{} is damaged: {what}.", shown(file)))
}

/// Text chunks hold text only, so the JSON is in base64 there.
fn unarmoured(file: &str, mut text: Vec<u8>) -> Result<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    text.retain(|byte| !byte.is_ascii_whitespace());
    GeneralPurpose::new(&base64::alphabet::STANDARD, config)
        .decode(&text)
        .map_err(|e| bad(file, &format!("its text \"{KEYWORD}\" is no base64: {}", clipped(&e.to_string(), 80))))
}

/// Whether this many pixels in a file of this length are too plain to hide anything; more than we take is told as that.
fn plain((width, height): (u32, u32), bytes: &[u8]) -> bool {
    let pixels = u64::from(width) * u64::from(height);
    pixels <= MOST_PIXELS && pixels > MOST_PIXELS_A_BYTE * bytes.len() as u64
}

/// A picture that hides nothing.
fn nothing() -> Rgb {
    Rgb { width: 0, colours: Vec::new() }
}

/// Room for this many pixels, if that is reasonable.
fn canvas(file: &str, (width, height): (u32, u32), channels: usize) -> Result<Vec<u8>> {
    let pixels = u64::from(width) * u64::from(height);
    let mut canvas = Vec::new();
    let bytes = usize::try_from(pixels).ok().and_then(|pixels| pixels.checked_mul(channels));
    match bytes.filter(|_| pixels <= MOST_PIXELS) {
        Some(bytes) if canvas.try_reserve_exact(bytes).is_ok() => {
            canvas.resize(bytes, 0);
            Ok(canvas)
        }
        _ => {
            let most = MOST_PIXELS >> 20;
            let message = format!("{} has {width} × {height} pixels; the most is {most} million.", shown(file));
            Err(Error::new(Code::TooLarge, message))
        }
    }
}

fn png_pixels(file: &str, bytes: &[u8]) -> Result<Rgb> {
    let damaged = |e: png::DecodingError| match e {
        // On wasm32 a picture too large to be counted is refused here, before our own limit is asked.
        png::DecodingError::LimitsExceeded => {
            let sentence = format!("{} is a picture too large to be searched for an embedding.", shown(file));
            Error::new(Code::TooLarge, sentence)
        }
        other => bad(file, &clipped(&other.to_string(), 120)),
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: LONGEST_JSON as usize });
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let colour = reader.output_color_type().0;
    // Grey pictures hide nothing: the strips beside a picture are noise in three colours.
    if matches!(colour, ColorType::Grayscale | ColorType::GrayscaleAlpha) || plain((width, height), bytes) {
        return Ok(nothing());
    }
    let mut pixels = canvas(file, (width, height), colour.samples())?;
    let info = reader.next_frame(&mut pixels).map_err(damaged)?;
    pixels.truncate(info.buffer_size());
    Ok(rgb(width, pixels, info.color_type == ColorType::Rgba))
}

fn webp_pixels(file: &str, bytes: &[u8]) -> Result<Rgb> {
    let damaged = |e: image_webp::DecodingError| bad(file, &clipped(&e.to_string(), 120));
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    if decoder.is_animated() || decoder.is_lossy() {
        return Err(none(
            file,
            "a lossy or animated WebP cannot carry one, as its pixels change when it is saved; get the PNG it was made from",
        ));
    }
    decoder.set_memory_limit(LONGEST_JSON as usize);
    let (width, height) = decoder.dimensions();
    if plain((width, height), bytes) {
        return Ok(nothing());
    }
    let alpha = decoder.has_alpha();
    let mut pixels = canvas(file, (width, height), if alpha { 4 } else { 3 })?;
    decoder.read_image(&mut pixels).map_err(damaged)?;
    Ok(rgb(width, pixels, alpha))
}

/// Pixels without their alpha; in place, as a large picture should not be in memory twice.
fn rgb(width: u32, mut pixels: Vec<u8>, alpha: bool) -> Rgb {
    if alpha {
        let count = pixels.len() / 4;
        for i in 0..count {
            pixels.copy_within(i * 4..i * 4 + 3, i * 3);
        }
        pixels.truncate(count * 3);
    }
    Rgb { width: width as usize, colours: pixels }
}
