//! What a file is, by its first bytes; its name is never trusted (a `.pt` may be safetensors, and the reverse).

use super::shown;
use crate::error::{Code, Error};

/// How many of the first bytes [`sniff`] wants to see.
pub const HEAD: usize = 512;

/// The longest header another safetensors reader would accept; ours is stricter, but recognises these.
const LONGEST_HEADER: u64 = 100_000_000;

/// The pickled magic number that opens a torch file from before torch 1.6.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No bytes at all.
    Empty,
    /// A safetensors file, whole or cut short.
    Safetensors,
    /// A zip container: a torch file since 1.6.
    Zip,
    /// A torch file from before 1.6: pickles, then bytes.
    TorchLegacy,
    /// A torch file from before 0.1.10: a tar archive.
    TorchTar,
    /// A pickle that torch did not frame.
    Pickle,
    /// A web page.
    Html,
    /// The text that Git-LFS keeps in a file's place.
    LfsPointer,
    /// JSON text.
    Json,
    /// A PNG picture.
    Png,
    /// A WebP picture.
    Webp,
    /// A JPEG picture, whose pixels are never what they were.
    Jpeg,
    /// A picture in a format we do not read.
    OtherPicture,
    /// Weights of llama.cpp and its kin.
    Gguf,
    /// None of these.
    Unknown,
}

impl Kind {
    /// Whether it is a picture of some format.
    pub fn is_picture(self) -> bool {
        matches!(self, Kind::Png | Kind::Webp | Kind::Jpeg | Kind::OtherPicture)
    }
}

/// What a file is, from its first bytes (at least [`HEAD`], or all of a shorter file).
pub fn sniff(head: &[u8]) -> Kind {
    if head.is_empty() {
        return Kind::Empty;
    }
    let header = head.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    if header.is_some_and(|length| length <= LONGEST_HEADER) && head.get(8) == Some(&b'{') {
        return Kind::Safetensors;
    }
    let magics: [(&[u8], Kind); 9] = [
        (b"PK\x03\x04", Kind::Zip),
        (b"PK\x05\x06", Kind::Zip),
        (LEGACY_MAGIC, Kind::TorchLegacy),
        (b"\x89PNG\r\n\x1a\n", Kind::Png),
        (b"\xff\xd8\xff", Kind::Jpeg),
        (b"GIF8", Kind::OtherPicture),
        (b"\xff\x0a", Kind::OtherPicture),
        (b"GGUF", Kind::Gguf),
        (b"version https://git-lfs", Kind::LfsPointer),
    ];
    if let Some((_, kind)) = magics.into_iter().find(|(magic, _)| head.starts_with(magic)) {
        return kind;
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Kind::Webp;
    }
    let boxed: [&[u8]; 4] = [b"JXL ", b"ftypavif", b"ftypheic", b"ftypmif1"];
    if head.get(4..).is_some_and(|after| boxed.iter().any(|name| after.starts_with(name))) {
        return Kind::OtherPicture;
    }
    if head.get(257..262) == Some(b"ustar") {
        return Kind::TorchTar;
    }
    if head.first() == Some(&0x80) && head.get(1).is_some_and(|protocol| (2..=5).contains(protocol)) {
        return Kind::Pickle;
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'<') => Kind::Html,
        Some(b'{' | b'[') => Kind::Json,
        _ => Kind::Unknown,
    }
}

/// The sentence for a file of this kind where `wanted` was expected ("a .safetensors checkpoint").
pub fn refusal(kind: Kind, file: &str, wanted: &str) -> Error {
    let file = shown(file);
    let (code, found) = match kind {
        Kind::Empty => (Code::EmptyFile, "is empty (0 bytes); it may still be downloading, or the download failed"),
        Kind::Html => {
            (Code::HtmlPage, "is a web page, not the file itself; download it again with the site's download button")
        }
        Kind::LfsPointer => (
            Code::LfsPointer,
            "is a Git-LFS pointer, a few lines that stand for the file; fetch the file itself (`git lfs pull`, or download it from the site)",
        ),
        Kind::Safetensors => (Code::UnknownFormat, "is a safetensors file"),
        Kind::Zip => (Code::UnknownFormat, "is a zip or PyTorch file"),
        Kind::TorchLegacy => (Code::UnknownFormat, "is a PyTorch file in the format from before version 1.6"),
        Kind::TorchTar => (
            Code::UnknownFormat,
            "is a PyTorch file in the tar format from before 2017; load it in PyTorch and save it again",
        ),
        Kind::Pickle => (Code::UnknownFormat, "is a Python pickle that PyTorch did not write"),
        Kind::Json => {
            (Code::UnknownFormat, "is JSON text (a workflow, a configuration or an index), it holds no weights")
        }
        Kind::Png => (Code::UnknownFormat, "is a PNG picture"),
        Kind::Webp => (Code::UnknownFormat, "is a WebP picture"),
        Kind::Jpeg => (Code::UnknownFormat, "is a JPEG picture"),
        Kind::OtherPicture => (Code::UnknownFormat, "is a picture (GIF, AVIF, HEIC or JPEG XL)"),
        Kind::Gguf => (Code::UnknownFormat, "is a GGUF file (quantised weights), which Wordbrush does not read"),
        Kind::Unknown => (Code::UnknownFormat, "is in none of the formats Wordbrush reads; it may be damaged"),
    };
    Error::new(code, format!("{file} {found}. Expected {wanted}."))
}
