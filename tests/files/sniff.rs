//! What files are, by their first bytes.

use wordbrush::error::Code;
use wordbrush::files::read_embeddings;
use wordbrush::files::sniff::{Kind, sniff};

use crate::writers::{plain_tensor, safetensors_raw, torch_legacy, zipped};

#[test]
fn content_decides_and_not_the_name() {
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let legacy = torch_legacy(&plain_tensor(1, 1).stop(), 1, &[0; 4]);
    let cases: [(&[u8], Kind); 19] = [
        (b"", Kind::Empty),
        (&safetensors_raw("{}", 0), Kind::Safetensors),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{", Kind::Unknown),
        (&zipped(&[("a", b"b")]), Kind::Zip),
        (&zipped(&[]), Kind::Zip),
        (&legacy, Kind::TorchLegacy),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", Kind::TorchLegacy),
        (&tar, Kind::TorchTar),
        (b"\x80\x04N.", Kind::Pickle),
        (b"\n <!DOCTYPE html>", Kind::Html),
        (b"\xef\xbb\xbf<html>", Kind::Html),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", Kind::LfsPointer),
        (b"{\"metadata\": {\"total_size\": 1}}", Kind::Json),
        (b"\x89PNG\r\n\x1a\n\0", Kind::Png),
        (b"RIFF\x10\0\0\0WEBPVP8L", Kind::Webp),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", Kind::Jpeg),
        (b"GIF89a", Kind::OtherPicture),
        (b"\0\0\0\x1cftypavif", Kind::OtherPicture),
        (b"GGUF\x03\0\0\0", Kind::Gguf),
    ];
    for (bytes, kind) in cases {
        assert_eq!(sniff(bytes), kind, "{:?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn the_sentence_says_what_the_file_is() {
    let cases: [(&[u8], Code, &str); 6] = [
        (b"", Code::EmptyFile, "is empty"),
        (b"<!DOCTYPE html><html>404</html>", Code::HtmlPage, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", Code::LfsPointer, "Git-LFS pointer"),
        (b"\x89PNG\r\n\x1a\n", Code::BadPicture, "damaged"),
        (b"\xff\xd8\xff\xe0", Code::NotAnEmbedding, "JPEG picture"),
        (b"garbage garbage", Code::UnknownFormat, "none of the formats"),
    ];
    for (bytes, code, words) in cases {
        let error = read_embeddings("dir/thing.pt", bytes).unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(words) && error.message.contains("thing.pt"), "{error}");
    }
}
