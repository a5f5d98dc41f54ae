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
    let replaced = library.insert(embedding("a.safetensors", 9)).expect("there was one");
    assert_eq!(replaced.vectors, 2);
    let names: Vec<(&str, usize)> = library.iter().map(|(name, embedding)| (name, embedding.vectors)).collect();
    assert_eq!(names, [("b", 1), ("a", 9), ("c", 3)]);
    assert!(library.insert(embedding("A", 1)).is_none(), "another name");
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
