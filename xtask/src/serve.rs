//! A static server for the repository, on this machine only.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use crate::tools::{self, Outcome};

/// Serves the repository's root on 127.0.0.1 until the process ends.
pub fn serve(port: u16) -> Outcome {
    let server = Server::http(("127.0.0.1", port)).map_err(|error| {
        format!("port {port} cannot be used ({error}); choose another with `cargo xtask serve --port 8081`")
    })?;
    let address = server.server_addr().to_ip().ok_or("the server has no address")?;
    println!("\nWordbrush is at http://{address}/   (Ctrl+C stops it)");
    let server = Arc::new(server);
    // A model file is read in many ranges at once with the page's own files: a few threads keep them from waiting for each other.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    answer(request);
                }
            })
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn answer(request: Request) {
    // A browser that goes away in the middle of an answer is no fault of ours.
    let _ = match Reply::to(&request, tools::root()) {
        Reply::File { file, length, range, kind } => send(request, file, length, range, kind),
        Reply::Redirect(to) => request.respond(Response::empty(302).with_header(header("Location", &to))),
        Reply::Refuse(status, sentence) => request.respond(Response::from_string(sentence).with_status_code(status)),
        Reply::OutOfRange(length) => {
            request.respond(Response::empty(416).with_header(header("Content-Range", &format!("bytes */{length}"))))
        }
    };
}

fn send(request: Request, mut file: File, length: u64, range: Option<(u64, u64)>, kind: &str) -> std::io::Result<()> {
    let (start, end) = range.unwrap_or((0, length));
    file.seek(SeekFrom::Start(start))?;
    let mut headers = vec![
        header("Content-Type", kind),
        header("Accept-Ranges", "bytes"),
        header("Cache-Control", "no-cache"),
        header("X-Content-Type-Options", "nosniff"),
    ];
    if range.is_some() {
        headers.push(header("Content-Range", &format!("bytes {start}-{}/{length}", end - 1)));
    }
    let status = StatusCode(if range.is_some() { 206 } else { 200 });
    let body = file.take(end - start);
    let size = usize::try_from(end - start).ok();
    // Without a threshold tiny_http answers in chunks, and the length stays unknown to the page.
    request.respond(Response::new(status, headers, body, size, None).with_chunked_threshold(usize::MAX))
}

enum Reply {
    File { file: File, length: u64, range: Option<(u64, u64)>, kind: &'static str },
    Redirect(String),
    Refuse(u16, &'static str),
    OutOfRange(u64),
}

impl Reply {
    fn to(request: &Request, root: &Path) -> Self {
        if !matches!(request.method(), Method::Get | Method::Head) {
            return Self::Refuse(405, "only GET and HEAD");
        }
        let path = request.url().split(['?', '#']).next().unwrap_or_default();
        if path == "/" {
            return Self::Redirect("/www/".into());
        }
        let Some(found) = locate(root, path) else {
            return Self::Refuse(404, "not found");
        };
        if found.is_dir() {
            if !path.ends_with('/') {
                return Self::Redirect(format!("{path}/"));
            }
            return Self::file(request, &found.join("index.html"));
        }
        Self::file(request, &found)
    }

    fn file(request: &Request, path: &Path) -> Self {
        let Ok(file) = File::open(path) else {
            return Self::Refuse(404, "not found");
        };
        let Ok(metadata) = file.metadata() else {
            return Self::Refuse(404, "not found");
        };
        if !metadata.is_file() {
            return Self::Refuse(404, "not found");
        }
        let length = metadata.len();
        let asked = request.headers().iter().find(|header| header.field.equiv("Range"));
        match asked.map(|header| parse_range(header.value.as_str(), length)) {
            Some(Range::Beyond) => Self::OutOfRange(length),
            Some(Range::Part(start, end)) => Self::File { file, length, range: Some((start, end)), kind: mime(path) },
            Some(Range::Whole) | None => Self::File { file, length, range: None, kind: mime(path) },
        }
    }
}

/// The file or folder under `root` that the path of a URL names; nothing hidden, nothing outside.
fn locate(root: &Path, path: &str) -> Option<PathBuf> {
    let relative = PathBuf::from(decode(path.trim_start_matches('/'))?);
    let plain = relative.components().all(|component| match component {
        Component::Normal(part) => !part.to_string_lossy().starts_with('.'),
        _ => false,
    });
    let found = plain.then(|| root.join(relative))?.canonicalize().ok()?;
    found.starts_with(root.canonicalize().ok()?).then_some(found)
}

/// Percent-decoding; `None` for what is not UTF-8 or holds a NUL or a backslash.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|decoded| !decoded.contains(['\0', '\\']))
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// No single range of bytes: the whole file is the answer (RFC 9110 §14.2).
    Whole,
    /// From the first number up to, not including, the second.
    Part(u64, u64),
    /// Starts past the end.
    Beyond,
}

fn parse_range(value: &str, length: u64) -> Range {
    let Some((first, last)) = value.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Range::Whole;
    };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(start), _) if start >= length => Range::Beyond,
        (Ok(start), Ok(end)) if end >= start => Range::Part(start, end.saturating_add(1).min(length)),
        (Ok(start), Err(_)) if last.trim().is_empty() => Range::Part(start, length),
        (Err(_), Ok(0)) if first.trim().is_empty() => Range::Beyond,
        (Err(_), Ok(count)) if first.trim().is_empty() && length > 0 => {
            Range::Part(length.saturating_sub(count), length)
        }
        _ => Range::Whole,
    }
}

fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json; charset=utf-8",
        "md" | "txt" | "ts" | "rs" | "wgsl" | "toml" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        _ => "application/octet-stream",
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("our headers are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("bytes=0-0", 10), Range::Part(0, 1));
        assert_eq!(parse_range("bytes=3-", 10), Range::Part(3, 10));
        assert_eq!(parse_range("bytes=3-99", 10), Range::Part(3, 10));
        assert_eq!(parse_range("bytes=-4", 10), Range::Part(6, 10));
        assert_eq!(parse_range("bytes=-40", 10), Range::Part(0, 10));
        assert_eq!(parse_range("bytes=10-", 10), Range::Beyond);
        assert_eq!(parse_range("bytes=-0", 10), Range::Beyond);
        assert_eq!(parse_range("bytes=5-2", 10), Range::Whole);
        assert_eq!(parse_range("bytes=0-1,4-5", 10), Range::Whole);
        assert_eq!(parse_range("lines=0-1", 10), Range::Whole);
        assert_eq!(parse_range(&format!("bytes=1-{}", u64::MAX), 10), Range::Part(1, 10));
    }

    #[test]
    fn nothing_outside_the_root_and_nothing_hidden() {
        let root = tools::root();
        assert!(locate(root, "/xtask/src/serve.rs").is_some());
        assert!(locate(root, "/xtask%2Fsrc/serve.rs").is_some());
        for path in
            ["/../etc/passwd", "/%2e%2e/x", "/xtask/../../x", "/.git/config", "/xtask/%00", "//etc/passwd%", "/..%5cx"]
        {
            assert_eq!(locate(root, path), None, "{path}");
        }
    }
}
