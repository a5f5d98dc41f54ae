//! Where embeddings are called, in the text as it was typed.

use wordbrush::prompt::{Site, Syntax, sites};

use super::{GOLDEN, clip, library_of};

/// Each call as `group|call|name`, `?` where there is no such embedding.
fn found(text: &str, syntax: Syntax) -> Vec<String> {
    let shown = |Site { call, group, known, .. }: Site| {
        format!("{}|{}|{}", &text[group], &text[call], known.as_deref().unwrap_or("?"))
    };
    sites(text, syntax, &clip(), &library_of(&GOLDEN)).into_iter().map(shown).collect()
}

#[test]
fn comfy() {
    let found = |text| found(text, Syntax::Comfy);
    assert_eq!(found("a cat"), [""; 0]);
    assert_eq!(found("é embedding:foo, b"), ["embedding:foo|embedding:foo|foo"]);
    assert_eq!(found("a (Embedding:FOO.pt:1.2) b"), ["(Embedding:FOO.pt:1.2)|Embedding:FOO.pt|foo"]);
    assert_eq!(found("a (( embedding:n7 ):-.5)"), ["(( embedding:n7 ):-.5)|embedding:n7|n7"]);
    assert_eq!(found("(a embedding:foo:1.2)"), ["embedding:foo|embedding:foo|foo"]);
    assert_eq!(found("(embedding:911)"), ["(embedding:911)|embedding:911|911"]);
    assert_eq!(found("embedding:a.b."), ["embedding:a.b|embedding:a.b|a.b"]);
    assert_eq!(found("embedding:fooo, c. embedding:"), ["embedding:fooo|embedding:fooo|?"]);
    assert_eq!(
        found(r"\(x\) embedding:no\(w\) embedding:foo"),
        [r"embedding:no|embedding:no|?", "embedding:foo|embedding:foo|foo"]
    );
    assert_eq!(
        found("embedding:foo,embedding:sub/foo"),
        ["embedding:foo|embedding:foo|foo", "embedding:sub/foo|embedding:sub/foo|sub/foo"]
    );
    assert_eq!(
        found("{embedding:foo|(embedding:n7)} x"),
        ["embedding:foo|embedding:foo|foo", "(embedding:n7)|embedding:n7|n7"]
    );
    assert_eq!(found("[embedding:foo]"), [""; 0], "no call in ComfyUI");
    assert_eq!(found("(embedding:foo"), [""; 0], "the bracket is text");
}

#[test]
fn a1111() {
    let found = |text| found(text, Syntax::A1111);
    assert_eq!(found("a fooled cat"), [""; 0]);
    assert_eq!(found("a Foo, and EASYNEGATIVE"), ["Foo|Foo|foo", "EASYNEGATIVE|EASYNEGATIVE|EasyNegative"]);
    assert_eq!(found("é ([foo]) (n7:1.3)"), ["([foo])|foo|foo", "(n7:1.3)|n7|n7"]);
    assert_eq!(found("(a foo:1.3)"), ["foo|foo|foo"]);
    assert_eq!(found("[embedding:n7:0.5] [foo::4]"), ["embedding:n7|embedding:n7|n7", "foo|foo|foo"]);
    assert_eq!(found(r"\(foo\)"), ["foo|foo|foo"]);
    assert_eq!(found(r"(foo\)"), ["foo|foo|foo"]);
    assert_eq!(found("a.b porsche911_ti"), ["a.b|a.b|a.b", "porsche911_ti|porsche911_ti|porsche911_ti"]);
    assert_eq!(found("embedding:unknown"), [""; 0]);
}
