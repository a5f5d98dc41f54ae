//! Kernels' WGSL as it goes into the program: a page waits for every byte, and comments are for who reads the files.

/// A file's text without comments and indents; its lines keep their numbers.
macro_rules! wgsl {
    ($file:literal) => {{
        const TEXT: &str = include_str!($file);
        const BARE: [u8; $crate::kernels::source::bare_len(TEXT)] = $crate::kernels::source::bare(TEXT);
        const {
            match std::str::from_utf8(&BARE) {
                Ok(bare) => bare,
                Err(_) => panic!("what is cut out ends where letters end"),
            }
        }
    }};
}

/// Bytes of [`bare`].
pub(super) const fn bare_len(text: &str) -> usize {
    let (mut i, mut len) = (0, 0);
    while let Some(at) = next(text.as_bytes(), i) {
        (i, len) = (at + 1, len + 1);
    }
    len
}

/// The bytes that count.
pub(super) const fn bare<const LEN: usize>(text: &str) -> [u8; LEN] {
    let (mut i, mut len, mut bare) = (0, 0, [0; LEN]);
    while let Some(at) = next(text.as_bytes(), i) {
        bare[len] = text.as_bytes()[at];
        (i, len) = (at + 1, len + 1);
    }
    bare
}

/// Where the next byte that counts is, from `i` on.
const fn next(text: &[u8], mut i: usize) -> Option<usize> {
    while i < text.len() && (i == 0 || text[i - 1] == b'\n') && text[i] == b' ' {
        while i < text.len() && text[i] == b' ' {
            i += 1;
        }
    }
    if i + 1 < text.len() && text[i] == b'/' && text[i + 1] == b'/' {
        while i < text.len() && text[i] != b'\n' {
            i += 1;
        }
    }
    if i < text.len() { Some(i) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{bare, bare_len};

    #[test]
    fn code_stays_on_its_line() {
        const TEXT: &str = "// What it does: x².\nfn main() {\n    a = b / c; // why\n\n    // more\n}\n  ";
        let bare: [u8; bare_len(TEXT)] = bare(TEXT);
        assert_eq!(std::str::from_utf8(&bare), Ok("\nfn main() {\na = b / c; \n\n\n}\n"));
    }
}
