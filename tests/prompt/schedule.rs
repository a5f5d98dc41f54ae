//! A1111's schedules: Forge's golden lists, and what the specification says beyond them.

use serde_json::Value;
use wordbrush::prompt::{Library, Options, Syntax, parse, scenario, schedule};

use super::{GOLDEN, clip, library_of, words};

fn check(text: &str, steps: usize, expected: &[(usize, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(until, text)| (*until, text.to_string())).collect();
    assert_eq!(schedule(text, steps, &Library::new()), expected, "{text:?}");
}

fn literal(text: &str) {
    check(text, 10, &[(10, text)]);
}

#[test]
fn golden_vectors() {
    let mut count = 0;
    for line in include_str!("../golden/prompt/a1111_prompt.txt").lines().filter(|line| line.starts_with('"')) {
        let mut parts = serde_json::Deserializer::from_str(line).into_iter::<Value>();
        let prompt = parts.next().expect("a prompt").expect("a JSON string");
        // The line of the alternation is cut off.
        let cut = |line: &str| serde_json::from_str(&(line[line.find("[[").expect("a list")..].to_owned() + "]")).ok();
        let Some(expected) = parts.next().and_then(Result::ok).or_else(|| cut(line.trim_end_matches(','))) else {
            panic!("{line}")
        };
        if !expected[0][0].is_number() {
            continue;
        }
        let ours = schedule(prompt.as_str().expect("a prompt"), 20, &Library::new());
        let expected = expected.as_array().expect("a list");
        for (index, pair) in expected.iter().enumerate() {
            assert_eq!(serde_json::json!([ours[index].0, ours[index].1]), *pair, "{prompt}");
        }
        let whole = if expected.len() > 2 { 20 } else { expected.len() };
        assert_eq!(ours.len(), whole, "{prompt}");
        count += 1;
    }
    assert_eq!(count, 6);
}

/// `embeddings.md` §3.2.
#[test]
fn switches() {
    check("a [b:3] c", 10, &[(3, "a  c"), (10, "a b c")]);
    check("a [b::3] c", 10, &[(3, "a b c"), (10, "a  c")]);
    check("[b:c: 0.5 ]", 10, &[(5, "b"), (10, "c")]);
    check("[ b : c :.5]", 10, &[(5, " b "), (10, " c ")]);
    check("[a:b:1.0]", 20, &[(20, "a")]);
    check("[a:b:1]", 20, &[(1, "a"), (20, "b")]);
    check("[a:b:99]", 20, &[(20, "a")]);
    check("[a:b:-1]", 20, &[(20, "b")]);
    check("[a:b:-0.5]", 20, &[(20, "b")]);
    check("[a:b:0.01]", 20, &[(20, "b")]);
    check("[a:b:0.29]", 100, &[(28, "a"), (100, "b")]);
    check("[a:b:1e1]", 20, &[(10, "a"), (20, "b")]);
    check("[a:b:1e999]", 20, &[(20, "a")]);
    check("[:10]", 20, &[(20, "")]);
    check("[10:20]", 30, &[(20, ""), (30, "10")]);
    check("[a:b:5] [c:d:5]", 10, &[(5, "a c"), (10, "b d")]);
    check("[a:b:5] [c:d:2]", 10, &[(2, "a c"), (5, "a d"), (10, "b d")]);
    check("[a:b:5]", 0, &[(1, "a")]);
    check("[日:é:5]", 10, &[(5, "日"), (10, "é")]);
}

#[test]
fn nested() {
    check("a[b:[c:d:2]:1]e", 10, &[(1, "abe"), (2, "ace"), (10, "ade")]);
    check("[[a:b:5]:c:2]", 10, &[(2, "a"), (10, "c")]);
    check("([a:b:5]:1.2)", 10, &[(5, "(a:1.2)"), (10, "(b:1.2)")]);
    check("[(a:2):3]", 10, &[(3, ""), (10, "(a:2)")]);
    check("a [[[b]]:2]", 10, &[(2, "a "), (10, "a [[b]]")]);
    check("[[a|b]:c:2]", 4, &[(1, "a"), (2, "b"), (4, "c")]);
}

#[test]
fn alternation() {
    check("[fe|]male", 4, &[(1, "female"), (2, "male"), (3, "female"), (4, "male")]);
    check("[fe|||]male", 5, &[(1, "female"), (4, "male"), (5, "female")]);
    check("[a|(b:1.1)]", 2, &[(1, "a"), (2, "(b:1.1)")]);
    check("[a|[b|c]]", 4, &[(1, "a"), (2, "c"), (3, "a"), (4, "c")]);
    check("[a|[b:c:3]]", 4, &[(1, "a"), (2, "b"), (3, "a"), (4, "c")]);
    check("[|]", 4, &[(4, "")]);
    check("[a|b][c:d:1]", 3, &[(1, "ac"), (2, "bd"), (3, "ad")]);
}

#[test]
fn what_does_not_fit_is_text() {
    for text in [
        "",
        "a",
        "[a]",
        "(a:1.2)",
        "[a:b]",
        "[a:b:c]",
        "[a:b:c:0.5]",
        "a [unbalanced",
        "a] b",
        "[a:b:inf]",
        "[a:b:nan]",
        "[a:b:0.5",
        "[(a:0.5]",
        "[embedding:foo:bar:0.5]",
        "[(embedding:foo:1.2):0.25]",
        "[a:b:1_0]",
        "[a:b:0x1]",
        "[a:b:]",
        // A bar or backslash that fits nowhere makes text of everything.
        "a | b",
        "[x:y:3] | b",
        "(a|b)",
        "[a|b:3]",
        "[a:b|c:3]",
        "[(a|b)|c]",
        "[x|y] |",
        "[x|y] \\",
        "[a|b",
        "[a:b:3] [c|d",
        "[a:b:3]\\\n",
        "[a|(b]",
    ] {
        literal(text);
    }
    check("((a][:b:c [d:3]", 10, &[(3, "((a][:b:c "), (10, "((a][:b:c d")]);
    check("[[a:b:3]", 10, &[(3, "[a"), (10, "[b")]);
    check("[x [a:b:3] (c:d:e) :f:2]", 10, &[(3, "[x a (c:d:e) :f:2]"), (10, "[x b (c:d:e) :f:2]")]);
    check("a: [b:c:3]", 10, &[(3, "a: b"), (10, "a: c")]);
    check(r"[a\:b:c\|d:3]", 10, &[(3, r"a\:b"), (10, r"c\|d")]);
    check(r"\[a:b:3]", 10, &[(10, r"\[a:b:3]")]);
}

/// `embeddings.md` §0.1: names that exist are one sign.
#[test]
fn embeddings_are_not_cut() {
    let library = library_of(&GOLDEN);
    let check = |text: &str, expected: &[(usize, &str)]| {
        let expected: Vec<_> = expected.iter().map(|(until, text)| (*until, text.to_string())).collect();
        assert_eq!(schedule(text, 20, &library), expected, "{text:?}");
    };
    check("[embedding:foo:0.25]", &[(5, ""), (20, "embedding:foo")]);
    check("[Embedding:FOO.pt::5]", &[(5, "Embedding:FOO.pt"), (20, "")]);
    check("[embedding:foo:embedding:n7:0.25]", &[(5, "embedding:foo"), (20, "embedding:n7")]);
    check("[(embedding:foo:1.2):0.25]", &[(5, ""), (20, "(embedding:foo:1.2)")]);
    check("[embedding:911:embedding:sub/foo:10]", &[(10, "embedding:911"), (20, "embedding:sub/foo")]);
    // Names that do not exist, and `embedding:` within a word, are A1111's text.
    check("[embedding:fox:0.25]", &[(5, "embedding"), (20, "fox")]);
    check("[myembedding:foo:0.25]", &[(5, "myembedding"), (20, "foo")]);
    assert_eq!(schedule("[embedding:foo|embedding:n7, a]", 20, &library).len(), 20);
    let calls = |text: &str| words(&parse(text, Syntax::A1111, &clip(), &library));
    assert_eq!(calls("embedding:foo"), "<foo#0> <foo#1>");
    assert_eq!(calls("(embedding:foo:1.2), a"), "<foo#0> <foo#1> 267 320");
    assert_eq!(calls("[embedding:sub/foo]"), "<sub/foo#0>");
    assert_eq!(calls("embedding:a.b."), "<a.b#0> 269");
    assert_eq!(calls(r"\(embedding:foo\)"), "263 <foo#0> <foo#1> 264");
}

#[test]
fn hostile_schedules_end() {
    for piece in ["[", "(", "[a:", "[a|", "[a:b:3]", "[a|b]", "]", ":", "|", "embedding:", "[embedding:foo:"] {
        let text = piece.repeat(100_000);
        assert!(!schedule(&text, 1000, &library_of(&GOLDEN)).is_empty());
    }
    for (open, close) in [("[", ":3]"), ("[a|", "]"), ("(", ")"), ("[", "]"), ("[a:", ":0.5]")] {
        let text = open.repeat(50_000) + "a" + &close.repeat(50_000);
        assert!(!schedule(&text, 20, &Library::new()).is_empty());
    }
}

/// The first two are the examples in A1111's own source (modules/prompt_parser.py, "hires_steps").
#[test]
fn a_second_pass_goes_on_counting() {
    let second = |text: &str, steps_before: usize, steps: usize| -> Vec<(usize, String)> {
        let options = Options { syntax: Syntax::A1111, steps, steps_before, ..Options::default() };
        let read = scenario(text, &options, &clip(), &Library::new());
        read.parts[0].spans.iter().map(|span| (span.until, span.text.clone())).collect()
    };
    let expect = |text: &str, expected: &[(usize, &str)]| {
        let expected: Vec<_> = expected.iter().map(|(until, text)| (*until, text.to_string())).collect();
        assert_eq!(second(text, 10, 10), expected, "{text}");
    };
    expect("a [b:.5] c", &[(10, "a b c")]);
    expect("a [b:1.5] c", &[(5, "a  c"), (10, "a b c")]);
    expect("a [b:4] c", &[(10, "a b c")]);
    expect("a [b:14] c", &[(4, "a  c"), (10, "a b c")]);
    expect("a [b::1.0] c", &[(10, "a  c")]);
    expect("[a|b]", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|at| (at, if at % 2 == 1 { "a" } else { "b" })));
    // A step is counted from the first pass's first, a fraction is one of the second pass's steps.
    assert_eq!(second("[a:b:23]", 20, 8), [(3, "a".to_string()), (8, "b".to_string())]);
    assert_eq!(second("[a:b:1.5]", 20, 8), [(4, "a".to_string()), (8, "b".to_string())]);
}
