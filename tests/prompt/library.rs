//! Finding embeddings by name.

use super::{embedding, library_of};

#[test]
fn exact_names_come_first() {
    let library = library_of(&[("Foo", 1), ("foo", 2), ("sub/bar", 3), ("other/sub/bar", 4), ("bar.v2", 5)]);
    let found = |name: &str| library.get(name).map(|(name, _)| name);
    assert_eq!(found("foo"), Some("foo"));
    assert_eq!(found("Foo"), Some("Foo"));
    assert_eq!(found("FOO"), Some("Foo"));
    assert_eq!(found("foo.PT"), Some("foo"));
    assert_eq!(found("bar"), Some("sub/bar"));
    assert_eq!(found("sub\\BAR.safetensors"), Some("sub/bar"));
    assert_eq!(found("other/sub/bar"), Some("other/sub/bar"));
    assert_eq!(found("ub/bar"), None);
    assert_eq!(found("bar.v2"), Some("bar.v2"));
    assert_eq!(found("bar.v2.bin"), Some("bar.v2"));
    for none in ["", " ", "/", ".pt", "../", "foo/bar"] {
        assert_eq!(found(none), None, "{none:?}");
    }
}

#[test]
fn order_replacing_and_removing() {
    let mut library = library_of(&[("b", 1), ("a", 2), ("c", 3)]);
    let added = library.insert(embedding("a.safetensors", 9));
    assert_eq!(added.replaced.expect("there was one").vectors, 2);
    assert_eq!(added.notice.expect("a notice").code, "EMBEDDING_REPLACED");
    let names: Vec<(&str, usize)> = library.iter().map(|(name, embedding)| (name, embedding.vectors)).collect();
    assert_eq!(names, [("b", 1), ("a", 9), ("c", 3)]);
    assert!(library.insert(embedding("A", 1)).replaced.is_none(), "another name");
    assert_eq!(library.remove("B").expect("it is there").vectors, 1);
    assert!(library.remove("B").is_none());
    assert_eq!(library.len(), 3);
    assert!(!library.is_empty());
}

#[test]
fn the_nearest_name() {
    let library = library_of(&[("EasyNegative", 8), ("badhandv4", 6), ("sub/porsche911_ti", 8), ("x", 1)]);
    assert_eq!(library.nearest("easynegatve"), Some("EasyNegative"));
    assert_eq!(library.nearest("easyneg"), Some("EasyNegative"));
    assert_eq!(library.nearest("badhandv5.pt"), Some("badhandv4"));
    assert_eq!(library.nearest("porsche911_it"), Some("sub/porsche911_ti"));
    assert_eq!(library.nearest("zebra"), None);
    assert_eq!(library.nearest(""), None);
    assert_eq!(library.nearest(&"a".repeat(10_000)), None);
}

#[test]
fn the_same_file_again_changes_nothing() {
    let mut library = library_of(&[("a", 1)]);
    let again = library.insert(embedding("a.pt", 1));
    assert!(again.unchanged && again.replaced.is_none() && again.notice.is_none());
    let hashed = |hash: &str, value: f32| {
        let mut embedding = embedding("b", 1);
        (embedding.sha256, embedding.values) = (hash.into(), vec![value]);
        embedding
    };
    assert!(!library.insert(hashed("00", 1.0)).unchanged);
    assert!(library.insert(hashed("00", 1.0)).unchanged);
    assert!(library.insert(hashed("01", 1.0)).replaced.is_some(), "another file");
    assert_eq!(library.len(), 2);
}

#[test]
fn conflicts_are_visible() {
    let mut library = library_of(&[("foo", 1)]);
    let added = library.insert(embedding("Foo", 2));
    assert_eq!((added.name.as_str(), added.also, added.replaced.is_none()), ("Foo", vec!["foo".to_owned()], true));
    let notice = added.notice.expect("a notice");
    assert_eq!(notice.code, "EMBEDDING_AMBIGUOUS");
    assert!(notice.message.contains("\u{201c}foo\u{201d}"), "{}", notice.message);
    let added = library.insert(embedding("sub\\FOO.bin", 3));
    assert_eq!((added.name.as_str(), added.also.as_slice()), ("sub/FOO", ["foo".to_owned(), "Foo".into()].as_slice()));
    let vectors = |name: &str| library.get(name).map(|(_, embedding)| embedding.vectors);
    let found = ["foo", "Foo", "FOO", "fOO", "sub/foo", "sub/FOO"].map(vectors);
    assert_eq!(found, [Some(1), Some(2), Some(3), Some(1), Some(3), Some(3)]);
    assert!(library.insert(embedding("bar", 1)).notice.is_none());
    for number in 0..20 {
        library.insert(embedding(&format!("{number}/bar"), 1));
    }
    assert_eq!(library.insert(embedding("x/bar", 1)).also.len(), 10);
}

#[test]
fn names_are_composed() {
    let mut library = library_of(&[("caf\u{e9}", 1)]);
    assert_eq!(library.get("cafe\u{301}").map(|(name, _)| name), Some("caf\u{e9}"));
    assert_eq!(library.get("CAFE\u{301}.pt").map(|(name, _)| name), Some("caf\u{e9}"));
    assert!(library.insert(embedding("cafe\u{301}", 1)).unchanged);
    assert_eq!(library.len(), 1);
    library.insert(embedding(&("a/".repeat(10_000) + "deep"), 1));
    assert!(library.get("deep").is_some() && library.get("A/deep").is_some());
    assert!(library.remove("deep").is_some() && library.get("deep").is_none());
}
