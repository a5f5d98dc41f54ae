//! ComfyUI's grammar: its own golden vectors, and what the specification says beyond them.

use serde_json::Value;
use wordbrush::prompt::{Parsed, Syntax, parse};

use super::{GOLDEN, clip, codes, embedding, lengths, library_of, read, shown, words};

/// Where we deliberately differ from ComfyUI: the prompt, our tokens, why. Any other difference fails.
const DEVIATIONS: [(&str, &str, &str); 4] = [
    ("embedding:foo,a car", "<foo#0> <foo#1> 267 320 1615", "a name ends at a comma; ComfyUI loses the word"),
    ("embedding:", "", "ComfyUI raises IndexError; here nothing, and a warning"),
    ("Embedding:foo", "<foo#0> <foo#1>", "`embedding:` may be in any case; in ComfyUI it is then plain text"),
    ("embedding:foo) x", "<foo#0> <foo#1> 264 343", "a name ends at `)`; ComfyUI loses the word"),
];

fn comfy(text: &str) -> Parsed {
    read(text, Syntax::Comfy)
}

/// What ComfyUI would print.
fn log(parsed: &Parsed) -> String {
    let missing = parsed.warnings.iter().filter(|warning| warning.code == "UNKNOWN_EMBEDDING");
    let line = |about: &String| format!("warning, embedding:{about} does not exist, ignoring");
    missing.map(|warning| line(&warning.about)).collect::<Vec<_>>().join("\n")
}

#[test]
fn golden_vectors() {
    let mut deviations = 0;
    for line in include_str!("../golden/prompt/comfy_tokens.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a JSON line");
        let prompt = case["prompt"].as_str().expect("a prompt");
        let parsed = comfy(prompt);
        if let Some((_, ours, why)) = DEVIATIONS.iter().find(|(deviating, _, _)| *deviating == prompt) {
            assert_eq!(words(&parsed), *ours, "{prompt:?}: {why}");
            deviations += 1;
            continue;
        }
        let windows = case["windows"].as_array().unwrap_or_else(|| panic!("{prompt:?} fails in ComfyUI"));
        assert_eq!(parsed.windows.len(), windows.len(), "{prompt:?}");
        for (ours, theirs) in parsed.windows.iter().zip(windows) {
            let theirs = theirs["toks"].as_array().expect("tokens");
            let ours = shown(ours);
            assert_eq!(ours.len(), theirs.len(), "{prompt:?}: {ours:?}");
            for ((text, weight), pair) in ours.iter().zip(theirs) {
                let expected = pair[0].as_str().map_or_else(|| pair[0].to_string(), str::to_owned);
                assert_eq!(*text, expected, "{prompt:?}");
                assert!(
                    (f64::from(*weight) - pair[1].as_f64().expect("a weight")).abs() < 1e-6,
                    "{prompt:?}: {weight}"
                );
            }
        }
        assert_eq!(serde_json::json!(parsed.lookups), case["lookups"], "{prompt:?}");
        assert_eq!(log(&parsed), case["log"], "{prompt:?}");
    }
    assert_eq!(deviations, DEVIATIONS.len(), "every deviation is of a golden line");
}

/// Prompt, tokens, warnings.
fn check(text: &str, expected: &str, warnings: &[&str]) {
    let parsed = comfy(text);
    assert_eq!(words(&parsed), expected, "{text:?}");
    assert_eq!(codes(&parsed), warnings, "{text:?}");
}

/// `embeddings.md` §2.3.
#[test]
fn names() {
    check("embedding:foo, a car", "<foo#0> <foo#1> 267 320 1615", &[]);
    check("embedding: foo", "<foo#0> <foo#1>", &[]);
    check("embedding:\nfoo\ncar", "<foo#0> <foo#1> 1615", &[]);
    check("embedding:foo.pt", "<foo#0> <foo#1>", &[]);
    check("embedding:foo.safetensors, car", "<foo#0> <foo#1> 267 1615", &[]);
    check("embedding:sub/foo", "<sub/foo#0>", &[]);
    check("embedding:a.b", "<a.b#0>", &[]);
    check(r"a \(embedding:foo\)", "320 263 19703 796 281 23435 264", &["EMBEDDING_IS_TEXT"]);
    check("<embedding:foo>", "283 19703 796 281 23435 285", &["EMBEDDING_IS_TEXT"]);
    check("a,embedding:foo", "320 267 19703 796 281 23435", &["EMBEDDING_IS_TEXT"]);
    check("embedding:nothing", "", &["UNKNOWN_EMBEDDING"]);
}

/// `embeddings.md` §0.2: where ComfyUI loses words.
#[test]
fn kindnesses() {
    check("embedding:FOO", "<foo#0> <foo#1>", &[]);
    check(
        "embedding:easynegative a",
        "<EasyNegative#0> <EasyNegative#1> <EasyNegative#2> <EasyNegative#3> <EasyNegative#4> <EasyNegative#5> <EasyNegative#6> <EasyNegative#7> 320",
        &[],
    );
    check("EMBEDDING:foo", "<foo#0> <foo#1>", &[]);
    check("embedding:foo. A car", "<foo#0> <foo#1> 269 320 1615", &[]);
    check("embedding:foo; car", "<foo#0> <foo#1> 282 1615", &[]);
    check("embedding:a.b.", "<a.b#0> 269", &[]);
    check("embedding:foo<car", "<foo#0> <foo#1> 283 1615", &[]);
    check("embedding:foo[car]", "<foo#0> <foo#1> 314 1615 316", &[]);
    check("embedding:foo|car", "<foo#0> <foo#1> 347 1615", &[]);
    check("embedding:foo,embedding:n7", "<foo#0> <foo#1> 267 <n7#0> <n7#1> <n7#2> <n7#3> <n7#4> <n7#5> <n7#6>", &[]);
    check("embedding:foo(car)", "<foo#0> <foo#1> 1615", &[]);
    check("embedding:nothing,a car", "267 320 1615", &["UNKNOWN_EMBEDDING"]);
    check("(embedding:)", "", &["EMPTY_EMBEDDING"]);
    check("embedding:, car", "267 1615", &["EMPTY_EMBEDDING"]);
    check("a embedding: embedding:foo", "320 <foo#0> <foo#1>", &["EMPTY_EMBEDDING"]);
    check("embedding:...", "", &["EMPTY_EMBEDDING"]);
}

#[test]
fn weights_of_names() {
    let weights = |text: &str| -> Vec<f32> {
        let tokens = shown(&comfy(text).windows[0]);
        tokens[1..tokens.len() - 1].iter().map(|(_, weight)| *weight).collect()
    };
    assert_eq!(words(&comfy("(embedding:911)")), "<911#0> <911#1> <911#2>");
    assert_eq!(weights("(embedding:911)"), [1.1; 3]);
    assert_eq!(weights("(embedding:foo a:1.3)"), [1.3; 3]);
    assert_eq!(weights("(embedding:foo:-0.5)"), [-0.5; 2]);
    assert_eq!(weights("(a:911)"), [10.0]);
    assert_eq!(weights("(a:-1e300)"), [-10.0]);
    assert_eq!(codes(&comfy("(a:911)")), ["WEIGHT_CLAMPED"]);
    assert_eq!(codes(&comfy("(a:inf)")), ["WEIGHT_NOT_FINITE"]);
    assert_eq!(weights(&("(".repeat(40) + "a" + &")".repeat(40))), [10.0]);
}

#[test]
fn warnings_help() {
    let message = |text: &str| comfy(text).warnings[0].message.clone();
    assert!(message("embedding:porshe911_ti").contains("Did you mean \u{201c}porsche911_ti\u{201d}?"));
    assert!(message("embedding:foo:1.2").contains("(embedding:foo:1.2)"));
    assert!(!message("embedding:zebra").contains("Did you mean"));
    assert_eq!(comfy("embedding:x\nembedding:x embedding:y").warnings.len(), 2);
    let parsed = comfy("embedding:FOO a embedding:foo, (embedding:911:2)");
    assert_eq!(parsed.used, ["foo", "911"]);
    assert_eq!(parsed.lookups, ["FOO", "foo,", "foo", "911"]);
}

#[test]
fn an_exact_name_with_odd_letters_wins() {
    let library = library_of(&[("foo", 1), ("foo(1)", 2), ("foo,a", 3), ("FOO", 4)]);
    let words = |text: &str| words(&parse(text, Syntax::Comfy, &clip(), &library));
    assert_eq!(words("embedding:foo,a"), "<foo,a#0> <foo,a#1> <foo,a#2>");
    assert_eq!(words("embedding:FOO"), "<FOO#0> <FOO#1> <FOO#2> <FOO#3>");
    assert_eq!(words(r"embedding:foo\(1\) a"), "<foo(1)#0> <foo(1)#1> 320");
}

/// `embeddings.md` §2.6: groups of eight or more are cut, smaller ones are moved.
#[test]
fn windows() {
    assert_eq!(lengths(&comfy("")), [0]);
    assert_eq!(lengths(&comfy(&"cat ".repeat(75))), [75]);
    assert_eq!(lengths(&comfy(&"cat ".repeat(76))), [75, 1]);
    assert_eq!(lengths(&comfy(&"cat ".repeat(200))), [75, 75, 50]);
    let cats = "cat ".repeat(72);
    let split = comfy(&(cats.clone() + "embedding:EasyNegative"));
    assert_eq!((lengths(&split), codes(&split)), (vec![75, 5], vec!["EMBEDDING_SPLIT"]));
    let moved = comfy(&(cats.clone() + "embedding:n7 dog"));
    assert_eq!((lengths(&moved), codes(&moved)), (vec![72, 8], vec![]));
    assert_eq!(lengths(&comfy(&(cats.clone() + "(a b c d e f g:1.2)"))), [72, 7]);
    assert_eq!(lengths(&comfy(&(cats + "(a b c d e f g h:1.2)"))), [75, 5]);
    let full = "cat ".repeat(75);
    let next = comfy(&(full + "embedding:EasyNegative"));
    assert_eq!((lengths(&next), codes(&next)), (vec![75, 8], vec![]));
    let whole = comfy("embedding:big75 embedding:big75");
    assert_eq!((lengths(&whole), codes(&whole)), (vec![75, 75], vec![]));
    let shifted = comfy("a embedding:big75");
    assert_eq!((lengths(&shifted), codes(&shifted)), (vec![75, 1], vec!["EMBEDDING_SPLIT"]));
}

#[test]
fn an_embedding_of_many_windows() {
    let mut library = library_of(&GOLDEN);
    library.insert(embedding("huge", 400));
    library.insert(embedding("none", 0));
    let parsed = parse("embedding:huge embedding:none x", Syntax::Comfy, &clip(), &library);
    assert_eq!(lengths(&parsed), [75, 75, 75, 75, 75, 26]);
    assert_eq!(codes(&parsed), ["EMBEDDING_SPLIT"]);
}
