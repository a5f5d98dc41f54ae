//! A static server for the repository, on this machine only.
//!
//! One thread and one answer per connection. A pool of threads is not enough: browsers open six connections at once and keep
//! them, and with tiny_http's pool two of them now and then waited for ever for a thread, so that the first page never loaded.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::tools::{self, Outcome};

/// No request of a browser has a longer head.
const LONGEST_HEAD: usize = 64 * 1024;
/// A connection that asks nothing for so long is closed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves the repository's root on 127.0.0.1 until the process ends.
pub fn serve(port: u16) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
        format!("port {port} cannot be used ({error}); choose another with `cargo xtask serve --port 8081`")
    })?;
    let address = listener.local_addr().map_err(|error| format!("the server has no address: {error}"))?;
    println!("\nWordbrush is at http://{address}/   (Ctrl+C stops it)");
    accept(&listener);
    Ok(())
}

fn accept(listener: &TcpListener) {
    for connection in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A browser that goes away in the middle of an answer is no fault of ours.
            let _ = answer(connection);
        });
    }
}

/// What is asked.
struct Request {
    method: String,
    url: String,
    range: Option<String>,
}

impl Request {
    /// Reads the head of a request; `None` for what is none.
    fn read(connection: &mut TcpStream) -> std::io::Result<Option<Self>> {
        let mut head = Vec::new();
        let mut part = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = connection.read(&mut part)?;
            head.extend_from_slice(&part[..count]);
            if count == 0 || head.len() > LONGEST_HEAD {
                return Ok(None);
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&head).is_err() {
            return Ok(None);
        }
        let range = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("range"));
        Ok(Some(Self {
            method: request.method.unwrap_or_default().into(),
            url: request.path.unwrap_or_default().into(),
            range: range.map(|header| String::from_utf8_lossy(header.value).into_owned()),
        }))
    }
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let Some(request) = Request::read(&mut connection)? else { return Ok(()) };
    let with_body = request.method != "HEAD";
    let mut start = |status: &str, length: u64, headers: &[(&str, &str)]| {
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        connection.write_all((head + "\r\n").as_bytes())
    };
    match Reply::to(&request, tools::root()) {
        Reply::Redirect(to) => start("302 Found", 0, &[("Location", &to)]),
        Reply::Refuse(status, sentence) => {
            start(status, sentence.len() as u64, &[("Content-Type", "text/plain; charset=utf-8")])?;
            if with_body { connection.write_all(sentence.as_bytes()) } else { Ok(()) }
        }
        Reply::OutOfRange(length) => {
            start("416 Range Not Satisfiable", 0, &[("Content-Range", &format!("bytes */{length}"))])
        }
        Reply::File { mut file, length, range, kind } => {
            let (first, end) = range.unwrap_or((0, length));
            let part = format!("bytes {first}-{}/{length}", end.saturating_sub(1));
            let mut headers = vec![
                ("Content-Type", kind),
                ("Accept-Ranges", "bytes"),
                ("Cache-Control", "no-cache"),
                ("X-Content-Type-Options", "nosniff"),
            ];
            if range.is_some() {
                headers.push(("Content-Range", &part));
            }
            start(if range.is_some() { "206 Partial Content" } else { "200 OK" }, end - first, &headers)?;
            if with_body {
                file.seek(SeekFrom::Start(first))?;
                std::io::copy(&mut file.take(end - first), &mut connection)?;
            }
            Ok(())
        }
    }
}

enum Reply {
    File { file: File, length: u64, range: Option<(u64, u64)>, kind: &'static str },
    Redirect(String),
    Refuse(&'static str, &'static str),
    OutOfRange(u64),
}

impl Reply {
    fn to(request: &Request, root: &Path) -> Self {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Self::Refuse("405 Method Not Allowed", "only GET and HEAD");
        }
        let path = request.url.split(['?', '#']).next().unwrap_or_default();
        if path == "/" {
            return Self::Redirect("/www/".into());
        }
        let Some(found) = locate(root, path) else {
            return Self::Refuse("404 Not Found", "not found");
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
            return Self::Refuse("404 Not Found", "not found");
        };
        let Ok(metadata) = file.metadata() else {
            return Self::Refuse("404 Not Found", "not found");
        };
        if !metadata.is_file() {
            return Self::Refuse("404 Not Found", "not found");
        }
        let length = metadata.len();
        match request.range.as_deref().map(|range| parse_range(range, length)) {
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
        "webmanifest" => "application/manifest+json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        _ => "application/octet-stream",
    }
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

    /// As a browser does: more connections than a pool has threads, all open before the first is answered.
    #[test]
    fn many_connections_at_once_are_all_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || accept(&listener));
        let open = |_| {
            let connection = TcpStream::connect(address).expect("a connection");
            connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            connection
        };
        let connections: Vec<TcpStream> = (0..24).map(open).collect();
        let requests = [
            ("GET /xtask/Cargo.toml HTTP/1.1", "HTTP/1.1 200 OK", "[package]"),
            ("GET / HTTP/1.1", "HTTP/1.1 302 Found", "Location: /www/"),
            ("HEAD /xtask/Cargo.toml HTTP/1.1", "HTTP/1.1 200 OK", "Content-Length"),
            ("GET /xtask/Cargo.toml HTTP/1.1\r\nRange: bytes=1-7", "HTTP/1.1 206 Partial", "\r\n\r\npackage"),
            ("GET /nothing HTTP/1.1", "HTTP/1.1 404", "not found"),
            ("POST / HTTP/1.1", "HTTP/1.1 405", "GET"),
        ];
        for (mut connection, (request, status, part)) in connections.into_iter().zip(requests.into_iter().cycle()) {
            connection.write_all(format!("{request}\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
            let mut answer = String::new();
            connection.read_to_string(&mut answer).expect("answered");
            assert!(answer.starts_with(status) && answer.contains(part), "{request}: {answer}");
            assert!(!request.starts_with("HEAD") || answer.ends_with("\r\n\r\n"));
        }
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
