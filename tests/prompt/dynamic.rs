//! Comments and dynamic prompts, as ComfyUI's page has them (`embeddings.md` §2.1).

use std::collections::BTreeSet;

use wordbrush::prompt::expand;

/// Everything that a prompt can become.
fn all(text: &str) -> Vec<String> {
    let found: BTreeSet<String> = (0..200).map(|seed| expand(text, seed)).collect();
    found.into_iter().collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(all(text), expected, "{text:?}");
}

#[test]
fn comments_go() {
    check("a /* b */ c", &["a  c"]);
    check("a // b\nc", &["a \nc"]);
    check("a // b\r\nc", &["a \r\nc"]);
    check("// a", &[""]);
    check("a /* b\nc */d/**/e", &["a de"]);
    check("see https://x.example/y, z", &["see https:"]);
    check("a /* b // c\nd", &["a /* b \nd"]);
    check("a /* // b\n/* c", &["a /* \n/* c"]);
    check("/*/ a */b", &["b"]);
    check("a / b", &["a / b"]);
    check("/* {a|b} */c", &["c"]);
}

#[test]
fn choices() {
    check("{a|b|c}", &["a", "b", "c"]);
    check("x {a|b} y", &["x a y", "x b y"]);
    check("{a|b|{c|d}|}", &["", "a", "b", "c", "d"]);
    check("{a}", &["a"]);
    check("{}", &[""]);
    check("{|}", &[""]);
    check("{a|b", &["a", "b"]);
    check("{a|{b|c", &["a", "b", "c"]);
    check("a} | b", &["a} | b"]);
    check("{a {b|c} d|e}", &["a b d", "a c d", "e"]);
    check("{é|日}👍", &["é👍", "日👍"]);
}

#[test]
fn escapes() {
    check(r"\{a\|b\}", &["{a|b}"]);
    check(r"{a\|b|c\}}", &["a|b", "c}"]);
    check(r"\(a\) \b", &[r"\(a\) \b"]);
    check(r"\\{a}", &[r"\\a"]);
    check(r"a\", &[r"a\"]);
    check("{\\é|\\", &["\\", "\\é"]);
}

/// Recipes rely on these: they never change.
#[test]
fn the_same_seed_gives_the_same_prompt() {
    let text = "{a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h}";
    let expected = ["h d a", "e f h", "f e b"];
    assert_eq!([0, 1, 1234].map(|seed| expand(text, seed)), expected);
}

#[test]
fn choices_are_fair_and_independent() {
    let mut counts = [0; 4];
    for seed in 0..4000 {
        match expand("{a|b} {a|b}", seed).as_str() {
            "a a" => counts[0] += 1,
            "a b" => counts[1] += 1,
            "b a" => counts[2] += 1,
            "b b" => counts[3] += 1,
            other => panic!("{other}"),
        }
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    for seed in 0..50 {
        let (one, other) = (expand("{a|b|c} {d|e|f}", seed), expand("{x|y} {d|e|f}", seed));
        assert_eq!(one[2..], other[2..], "another wording of one choice leaves the others");
    }
}

#[test]
fn hostile_nesting_ends() {
    for piece in ["{", "{|", "{a|{", "/*", "/*/", "\\", "//\n"] {
        expand(&piece.repeat(200_000), 7);
    }
    let deep = "{".repeat(100_000) + "a" + &"}".repeat(100_000);
    assert_eq!(expand(&deep, 1), "a");
}
