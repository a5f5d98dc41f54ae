//! JSON as ComfyUI's tools leave it in pictures: with Python's NaN and Infinity, half surrogates, and strings that hold
//! JSON in turn. Writing it in ASCII.

use serde_json::Value;

/// The longest text that is read at all.
pub const LONGEST: usize = 4 << 20;
/// Deeper nesting is no workflow.
const DEEPEST: usize = 64;
/// How often a string may hold JSON that is a string that holds JSON.
const MOST_WRAPPINGS: usize = 3;

/// Reads JSON; what is no number in JSON becomes null.
///
/// # Errors
/// A sentence.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut value = parse_once(text)?;
    for _ in 0..MOST_WRAPPINGS {
        let Value::String(inner) = &value else { break };
        value = parse_once(inner)?;
    }
    Ok(value)
}

fn parse_once(text: &str) -> Result<Value, String> {
    if text.len() > LONGEST {
        return Err(format!("The JSON text has {} bytes, the most is {LONGEST}.", text.len()));
    }
    let text = mended(text.trim_start_matches('\u{feff}'))?;
    serde_json::from_str(&text).map_err(|e| format!("The JSON text is damaged: {e}."))
}

/// The text without what Python writes and JSON does not have; a text nested too deeply is refused.
fn mended(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut rest) = (0_usize, text);
    while let Some(at) = rest.find(['"', '{', '[', '}', ']', 'N', 'I', '-']) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        match from.as_bytes()[0] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("The JSON text is nested deeper than {DEEPEST} levels."));
        }
        let not_json = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| from.starts_with(word));
        rest = if from.starts_with('"') {
            string(from, &mut out)
        } else if let Some(word) = not_json {
            out.push_str("null");
            &from[word.len()..]
        } else {
            out.push_str(&from[..1]);
            &from[1..]
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// Copies the string that `text` begins with and gives what follows it. Half a surrogate pair, which Python passes on
/// and JSON readers refuse, becomes U+FFFD.
fn string<'t>(text: &'t str, out: &mut String) -> &'t str {
    out.push('"');
    let mut rest = &text[1..];
    while let Some(at) = rest.find(['"', '\\']) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        if let Some(after) = from.strip_prefix('"') {
            out.push('"');
            return after;
        }
        let unit = |from: &str| from.strip_prefix("\\u").and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok());
        let next_is_low = || from.get(6..).and_then(unit).is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
        let length = match unit(from) {
            Some(0xd800..0xdc00) if next_is_low() => 12,
            Some(0xd800..0xe000) => {
                out.push_str("\\ufffd");
                rest = &from[6..];
                continue;
            }
            // The backslash and what it escapes.
            _ => 1 + from[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&from[..length]);
        rest = &from[length..];
    }
    out.push_str(rest);
    ""
}

/// JSON in ASCII, as Python's `json.dumps` writes it: it passes through every reader of PNG text unharmed.
pub fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for letter in value.to_string().chars() {
        if letter.is_ascii() {
            out.push(letter);
        } else {
            // Outside strings JSON is ASCII, so this is inside one.
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_leaves_words_and_half_surrogates() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, -1], "c": "NaN \" Infinity \\", "d": "\ud800x\udc00 \ud83d\ude00"}"#;
        let value = parse(text).expect("it is read");
        assert_eq!(value["a"], Value::Null);
        assert_eq!(value["b"], serde_json::json!([null, null, -1]));
        assert_eq!(value["c"], "NaN \" Infinity \\");
        assert_eq!(value["d"], "\u{fffd}x\u{fffd} \u{1f600}");
    }

    #[test]
    fn wrapped_and_deep() {
        let mut text = r#"{"a":"é😀"}"#.to_string();
        for _ in 0..3 {
            text = Value::from(text).to_string();
        }
        let value = parse(&text).expect("three wrappings");
        assert_eq!(ascii(&value), r#"{"a":"\u00e9\ud83d\ude00"}"#);
        assert!(parse(&"[".repeat(65)).is_err_and(|sentence| sentence.contains("deeper")));
        assert!(parse(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
        for broken in ["", "\"", "\"\\", "\"\\u", "\"\\ud8", "{\"a\": N}", "-", "\"\\ud800\\u", "\"\\é"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }
}
