//! Prompts over the steps: `AND`, schedules, options.

use std::rc::Rc;

use wordbrush::prompt::{Options, Part, Scenario, Syntax, expand, parse, scenario};

use super::{GOLDEN, clip, lengths, library_of, shown, words};

fn a1111(text: &str) -> Scenario {
    scenario(text, &Options { syntax: Syntax::A1111, ..Options::default() }, &clip(), &library_of(&GOLDEN))
}

/// Weights, last steps and texts.
fn parts(scenario: &Scenario) -> Vec<(f32, Vec<(usize, &str)>)> {
    fn spans(part: &Part) -> Vec<(usize, &str)> {
        part.spans.iter().map(|span| (span.until, span.text.as_str())).collect()
    }
    scenario.parts.iter().map(|part| (part.weight, spans(part))).collect()
}

fn codes(scenario: &Scenario) -> Vec<&str> {
    scenario.warnings.iter().map(|warning| warning.code).collect()
}

/// `embeddings.md` §3.3.
#[test]
fn and_joins_weighted_prompts() {
    let check = |text: &str, expected: &[(f32, &str)]| {
        let expected: Vec<_> = expected.iter().map(|(weight, text)| (*weight, vec![(20, *text)])).collect();
        assert_eq!(parts(&a1111(text)), expected, "{text:?}");
    };
    check("", &[(1.0, "")]);
    check("a AND b", &[(1.0, "a "), (1.0, " b")]);
    check("a :1.2 AND b:-0.5 AND c : 2.", &[(1.2, "a"), (-0.5, " b"), (2.0, " c")]);
    check("aAND bAND ANDc AND_ and", &[(1.0, "aAND bAND ANDc AND_ and")]);
    check("AND", &[(1.0, ""), (1.0, "")]);
    check("a:.5 \nAND\n b:+3\n", &[(0.5, "a"), (3.0, "\n b")]);
    check("a::2 AND b:1e1 AND c:1.2.3 AND d:", &[(2.0, "a:"), (1.0, " b:1e1 "), (1.0, " c:1.2.3 "), (1.0, " d:")]);
    check("(a:1.2) AND b:99", &[(1.0, "(a:1.2) "), (10.0, " b")]);
    // The colon of a name that exists is no weight's.
    check("embedding:911 AND embedding:912", &[(1.0, "embedding:911 "), (10.0, " embedding")]);
    assert_eq!(codes(&a1111("a AND b:1.5")), [""; 0]);
    assert_eq!(codes(&a1111("format 16:9")), ["PROMPT_WEIGHT"]);
    assert_eq!(parts(&a1111("a cat :1.5")), [(1.5, vec![(20, "a cat")])]);
    let many = a1111(&"a AND ".repeat(100));
    assert_eq!((many.parts.len(), codes(&many)), (32, vec!["TOO_MANY_PARTS"]));
}

#[test]
fn negative_prompts_have_no_and() {
    let options = Options { syntax: Syntax::A1111, negative: true, ..Options::default() };
    let negative = scenario("[a:b:5] AND c:2", &options, &clip(), &library_of(&GOLDEN));
    assert_eq!(parts(&negative), [(1.0, vec![(5, "a AND c:2"), (20, "b AND c:2")])]);
}

#[test]
fn each_part_has_its_schedule() {
    let read = a1111("[foo:n7:5] cat AND [a|b]:0.5");
    assert_eq!(read.parts.len(), 2);
    assert_eq!(read.parts[0].spans.len(), 2);
    assert_eq!(read.parts[1].spans.len(), 20);
    assert_eq!(read.used, ["foo", "n7"]);
    assert_eq!(read.ends(), (1..=20).collect::<Vec<_>>());
    let at = |step: usize| read.at(step).map(|(weight, parsed)| (weight, words(parsed))).collect::<Vec<_>>();
    assert_eq!(at(1), [(1.0, "<foo#0> <foo#1> 2368".to_owned()), (0.5, "320".to_owned())]);
    assert_eq!(at(6)[0].1, "<n7#0> <n7#1> <n7#2> <n7#3> <n7#4> <n7#5> <n7#6> 2368");
    assert_eq!((at(0), at(21)), (at(1), at(20)));
    // What alternates is read once and shared.
    let spans = &read.parts[1].spans;
    assert!(Rc::ptr_eq(&spans[0].parsed, &spans[2].parsed) && !Rc::ptr_eq(&spans[0].parsed, &spans[1].parsed));
}

#[test]
fn a_prompt_without_changes_is_what_parse_reads() {
    for text in ["", "a (foo:1.2), [b] BREAK c", "cat ".repeat(100).as_str(), "[embedding:foo]"] {
        for syntax in [Syntax::Comfy, Syntax::A1111] {
            let options = Options { syntax, ..Options::default() };
            let read = scenario(text, &options, &clip(), &library_of(&GOLDEN));
            let parsed = parse(text, syntax, &clip(), &library_of(&GOLDEN));
            let [part] = read.parts.as_slice() else { panic!("{text:?}") };
            let [span] = part.spans.as_slice() else { panic!("{text:?}") };
            assert_eq!((part.weight, span.until, span.text.as_str()), (1.0, 20, text));
            assert_eq!(
                span.parsed.windows.iter().map(shown).collect::<Vec<_>>(),
                parsed.windows.iter().map(shown).collect::<Vec<_>>()
            );
            assert_eq!((&read.warnings, &read.used), (&parsed.warnings, &parsed.used));
        }
    }
}

#[test]
fn comfy_has_one_meaning() {
    let text = expand("{a|a} [b:c:5] AND [d|e] // no", 3);
    let read = scenario(&text, &Options::default(), &clip(), &library_of(&GOLDEN));
    assert_eq!(parts(&read), [(1.0, vec![(20, "a [b:c:5] AND [d|e] ")])]);
    let none = scenario("a", &Options { steps: 0, ..Options::default() }, &clip(), &library_of(&GOLDEN));
    assert_eq!(parts(&none), [(1.0, vec![(1, "a")])]);
}

#[test]
fn embeddings_can_be_kept_whole() {
    let read = |text: &str, keep_whole| {
        let read = scenario(text, &Options { keep_whole, ..Options::default() }, &clip(), &library_of(&GOLDEN));
        (lengths(&read.parts[0].spans[0].parsed), read.warnings.iter().map(|warning| warning.code).collect::<Vec<_>>())
    };
    let late = "cat ".repeat(72) + "embedding:EasyNegative dog";
    assert_eq!(read(&late, false), (vec![75, 6], vec!["EMBEDDING_SPLIT"]));
    assert_eq!(read(&late, true), (vec![72, 9], vec![]));
    assert_eq!(read("a embedding:big75", true), (vec![1, 75], vec![]));
    // Words are cut as ever.
    assert_eq!(read(&"cat ".repeat(80), true), (vec![75, 5], vec![]));
    let mut library = library_of(&GOLDEN);
    library.insert(super::embedding("huge", 100));
    let options = Options { keep_whole: true, ..Options::default() };
    let huge = scenario("a embedding:huge", &options, &clip(), &library);
    assert_eq!(lengths(&huge.parts[0].spans[0].parsed), [75, 26]);
    assert_eq!(huge.warnings[0].code, "EMBEDDING_SPLIT");
}

#[test]
fn weights_of_windows() {
    let parsed = parse("a (b:1.5) BREAK c", Syntax::A1111, &clip(), &library_of(&GOLDEN));
    assert_eq!(parsed.windows.iter().map(|window| window.is_weighted()).collect::<Vec<_>>(), [true, false]);
    let weights: Vec<f32> = parsed.windows[0].weights().collect();
    assert_eq!((weights.len(), &weights[..4]), (77, [1.0, 1.0, 1.5, 1.0].as_slice()));
}

#[test]
fn too_much_change_is_left_as_text() {
    let text = "x".repeat(5000) + "[a|b]";
    let read = scenario(
        &text,
        &Options { syntax: Syntax::A1111, steps: 1000, ..Options::default() },
        &clip(),
        &library_of(&[]),
    );
    assert_eq!((read.parts[0].spans.len(), codes(&read)), (1, vec!["SCHEDULE_TOO_LONG"]));
}
