//! A1111's grammar: Forge's golden lists, and what the specification says beyond them.

use serde_json::Value;
use wordbrush::prompt::{Attention, Parsed, Syntax, attention, parse};

use super::{clip, codes, lengths, library_of, read, shown, words};

fn a1111(text: &str) -> Parsed {
    read(text, Syntax::A1111)
}

/// An attention list as Forge prints it, where `BREAK` has the weight −1.
fn listed(text: &str) -> Vec<(String, f64)> {
    let pair = |stretch| match stretch {
        Attention::Text(text, weight) => (text, weight),
        Attention::Break => ("BREAK".into(), -1.0),
    };
    attention(text).into_iter().map(pair).collect()
}

/// The file has three kinds of lines: attention lists, schedules (see `prompt/schedule.rs`) and tokens (which
/// `prompt/tokenizer.rs` has too).
#[test]
fn golden_vectors() {
    let (mut lists, mut tokens) = (0, 0);
    for line in include_str!("../golden/prompt/a1111_prompt.txt").lines() {
        if !line.starts_with('"') {
            let ids = line.split_once(" [").and_then(|(_, ids)| ids.split_once(']')).expect("ids").0;
            let text = line.split_once(" [").expect("a text").0;
            let ids: Vec<u32> = ids.split(", ").map(|id| id.parse().expect("an id")).collect();
            assert_eq!(clip().encode(text), ids, "{text:?}");
            tokens += 1;
            continue;
        }
        let mut parts = serde_json::Deserializer::from_str(line).into_iter::<Value>();
        let prompt = parts.next().expect("a prompt").expect("a JSON string");
        // The line of the alternation is cut off; schedules begin with a number.
        let Some(Ok(expected)) = parts.next() else { continue };
        if expected[0][0].is_number() {
            continue;
        }
        let ours = listed(prompt.as_str().expect("a prompt"));
        assert_eq!(ours.len(), expected.as_array().expect("a list").len(), "{prompt}: {ours:?}");
        for (index, (text, weight)) in ours.iter().enumerate() {
            assert_eq!(*text, expected[index][0], "{prompt}");
            assert!((weight - expected[index][1].as_f64().expect("a weight")).abs() < 1e-12, "{prompt}: {weight}");
        }
        lists += 1;
    }
    assert_eq!((lists, tokens), (11, 6));
}

/// `embeddings.md` §3.1.
#[test]
fn grammar() {
    let check = |text: &str, expected: &[(&str, f64)]| {
        let ours: Vec<_> =
            listed(text).into_iter().map(|(text, weight)| (text, (weight * 1e9).round() / 1e9)).collect();
        let expected: Vec<_> = expected.iter().map(|(text, weight)| (text.to_string(), *weight)).collect();
        assert_eq!(ours, expected, "{text:?}");
    };
    check("", &[("", 1.0)]);
    check("(a (b:2) c:0.5)", &[("a ", 0.5), ("b", 1.0), (" c", 0.5)]);
    check("(a:1e1)", &[("a:1e1", 1.1)]);
    check("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
    check("(:1.2)", &[("", 1.0)]);
    check("a) b] c", &[("a) b] c", 1.0)]);
    check("[[a]]", &[("a", 0.826446281)]);
    check("((a", &[("a", 1.21)]);
    check(r"\[a\] \\ \b", &[(r"[a] \ b", 1.0)]);
    check(r"(a\):2)", &[("a)", 2.0)]);
    check("aBREAK BREAK_ xBREAKx", &[("aBREAK BREAK_ xBREAKx", 1.0)]);
    check("BREAK BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0), ("BREAK", -1.0), ("", 1.0)]);
    check("(a BREAK b:1.5)", &[("a", 1.5), ("BREAK", -1.0), ("b", 1.5)]);
    check("(a:+2)(b:.5)", &[("a", 2.0), ("b", 0.5)]);
    check("日(本:1.5)é", &[("日", 1.0), ("本", 1.5), ("é", 1.0)]);
}

/// `embeddings.md` §3.4.
#[test]
fn bare_words_call() {
    let check = |text: &str, expected: &str| assert_eq!(words(&a1111(text)), expected, "{text:?}");
    let foo = "<foo#0> <foo#1>";
    check("foo", foo);
    check("FOO, a car", &format!("{foo} 267 320 1615"));
    check("foobar", "1183 2411");
    let dash_bar: Vec<String> = clip().encode("-bar").iter().map(u32::to_string).collect();
    check("foo-bar", &format!("{foo} {}", dash_bar.join(" ")));
    check("(foo:1.2)", foo);
    check("a.b", "<a.b#0>");
    assert_eq!(lengths(&a1111("porsche911_ti easynegative n7")), [23]);
    let parsed = a1111("(foo:1.3) x foo");
    assert_eq!(parsed.used, ["foo"]);
    assert_eq!(shown(&parsed.windows[0])[1], ("<foo#0>".to_owned(), 1.3));
    let library = library_of(&[("easy", 1), ("easy negative thing", 3), ("easy negative", 2)]);
    let parsed = parse("easy negative thing easy negative easy", Syntax::A1111, &clip(), &library);
    assert_eq!(parsed.used, ["easy negative thing", "easy negative", "easy"]);
}

/// Ours: `embedding:` before a name that exists is no text (`src/prompt/calls.rs`).
#[test]
fn comfys_calls_call() {
    let parsed = a1111("a embedding:foo, (Embedding:n7.pt:1.3)");
    let rows: Vec<String> = (0..7).map(|row| format!("<n7#{row}>")).collect();
    assert_eq!(words(&parsed), format!("320 <foo#0> <foo#1> 267 {}", rows.join(" ")));
    assert_eq!(shown(&parsed.windows[0])[5], ("<n7#0>".to_owned(), 1.3));
    assert_eq!((codes(&parsed), &parsed.used), (vec!["EMBEDDING_PREFIX"; 2], &vec!["foo".to_owned(), "n7".into()]));
    assert_eq!(words(&a1111("embedding:fox")), "19703 796 281 3240");
    assert_eq!(codes(&a1111("embedding:fox")), ["EMBEDDING_IS_TEXT"]);
    // The colon and the parenthesis are the weight's, the name has neither.
    assert_eq!(shown(&a1111("(embedding:911:1.2)").windows[0])[1], ("<911#0>".to_owned(), 1.2));
    assert_eq!(shown(&a1111("(embedding:911)").windows[0])[1], ("<911#0>".to_owned(), 1.1));
    // A full chunk ends after its comma, as before a bare name.
    let cats = "cat ".repeat(70) + ", cat cat cat cat";
    assert_eq!(lengths(&a1111(&(cats.clone() + " foo"))), [71, 6]);
    assert_eq!(lengths(&a1111(&(cats + " embedding:foo"))), [71, 6]);
}

#[test]
fn chunks() {
    let cats = |count: usize| "cat ".repeat(count);
    assert_eq!(lengths(&a1111("")), [0]);
    assert_eq!(lengths(&a1111(&cats(75))), [75]);
    assert_eq!(lengths(&a1111(&cats(76))), [75, 1]);
    assert_eq!(lengths(&a1111("a BREAK b c")), [1, 2]);
    assert_eq!(lengths(&a1111("BREAK a")), [0, 1]);
    assert_eq!(lengths(&a1111("a BREAK")), [1]);
    // A comma 20 tokens back ends the chunk, one 21 back does not.
    assert_eq!(lengths(&a1111(&(cats(55) + ", " + &cats(20)))), [56, 20]);
    assert_eq!(lengths(&a1111(&(cats(54) + ", " + &cats(21)))), [75, 1]);
    // It stays where it is if the chunk is full of nothing more, or if the next token is a comma.
    assert_eq!(lengths(&a1111(&(cats(70) + ", " + &cats(4)))), [75]);
    assert_eq!(lengths(&a1111(&(cats(70) + ", " + &cats(4) + ", dog"))), [75, 2]);
    assert_eq!(lengths(&a1111(&(cats(74) + ", dog"))), [75, 1]);
}

#[test]
fn embeddings_are_never_split() {
    let cats = |count: usize| "cat ".repeat(count);
    assert_eq!(lengths(&a1111(&(cats(70) + "easynegative"))), [70, 8]);
    assert_eq!(lengths(&a1111(&(cats(67) + "easynegative"))), [75]);
    assert_eq!(lengths(&a1111("a big75 b")), [1, 75, 1]);
    let library = library_of(&[("huge", 100)]);
    let parsed = parse("a huge b", Syntax::A1111, &clip(), &library);
    assert_eq!((lengths(&parsed), codes(&parsed)), (vec![1, 75, 1], vec!["EMBEDDING_CUT"]));
}

#[test]
fn weights_stay_finite() {
    let nines = format!("((a:{}):0)", "9".repeat(400));
    for text in [nines, "(a:100)".into(), "(".repeat(20_000) + "a"] {
        let parsed = a1111(&text);
        assert!(parsed.windows[0].tokens.iter().all(|token| token.weight.abs() <= 10.0), "{}", &text[..10]);
    }
}
