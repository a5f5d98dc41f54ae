//! Any text is read, whatever it is, and becomes windows of 77 usable tokens.

use proptest::prelude::*;
use wordbrush::prompt::{
    BOS, EOS, Library, MAX_WEIGHT, Options, Parsed, Piece, Syntax, attention, expand, scenario, schedule, sites,
};

use super::{GOLDEN, clip, library_of, read};

/// What the grammars look at, separated by `~`.
const PIECES: &str = "(~)~[~]~\\~:~,~.~;~|~{~}~//~/*~*/~AND~ AND ~:3]~[a:~[a|~<~ ~\n~\t~embedding:~Embedding:~BREAK~foo~n7~big75~EasyNegative~911~.pt~sub/~1.2~-3~\
    1e400~nan~_~\0~\u{1}~é~日~👍🏽~\u{301}~<|endoftext|>~cat cat cat cat cat cat cat cat cat ~İ~\u{3000}";

fn prompts() -> impl Strategy<Value = String> {
    let pieces: Vec<&str> = PIECES.split('~').collect();
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

fn check(parsed: &Parsed) {
    assert!(!parsed.windows.is_empty());
    for window in &parsed.windows {
        assert_eq!(window.tokens.len(), 77);
        assert!(matches!(window.tokens[0].piece, Piece::Id(BOS)));
        assert!(matches!(window.tokens[76].piece, Piece::Id(EOS)));
        for token in &window.tokens {
            assert!(f64::from(token.weight.abs()) <= MAX_WEIGHT);
            match &token.piece {
                Piece::Id(id) => assert!(*id <= EOS),
                Piece::Row { embedding, row } => assert!(*row < embedding.vectors),
            }
        }
    }
    assert!(parsed.warnings.iter().all(|warning| warning.message.len() < 1000));
}

/// The way of a prompt from the page to the network, in both grammars.
fn check_scenarios(text: &str, steps: usize, seed: u64) {
    let library = library_of(&GOLDEN);
    for syntax in [Syntax::Comfy, Syntax::A1111] {
        for flag in [false, true] {
            let options = Options { syntax, steps, keep_whole: flag, negative: flag, ..Options::default() };
            let scenario = scenario(&expand(text, seed), &options, &clip(), &library);
            assert!(!scenario.parts.is_empty() && scenario.at(1).count() == scenario.parts.len());
            assert_eq!(scenario.ends().last(), Some(&steps.max(1)));
            for part in &scenario.parts {
                assert!(f64::from(part.weight.abs()) <= MAX_WEIGHT);
                assert!(
                    part.spans.windows(2).all(|pair| pair[0].until < pair[1].until && pair[0].text != pair[1].text)
                );
                part.spans.iter().for_each(|span| check(&span.parsed));
            }
        }
    }
}

/// Calls stand in the text, one after the other, and in ComfyUI's grammar they are those that are read.
fn check_sites(text: &str) {
    let library = library_of(&GOLDEN);
    for syntax in [Syntax::Comfy, Syntax::A1111] {
        let found = sites(text, syntax, &clip(), &library);
        assert!(found.windows(2).all(|pair| pair[0].call.end <= pair[1].call.start), "{found:?}");
        for site in &found {
            assert!(site.group.start <= site.call.start && site.call.end <= site.group.end, "{site:?}");
            assert!(!text[site.call.clone()].is_empty() && !text[site.group.clone()].is_empty());
        }
        if syntax == Syntax::Comfy && !text.contains(['{', '|', '}']) {
            let mut known: Vec<String> = Vec::new();
            let names = found.into_iter().filter_map(|site| site.known);
            names.for_each(|name| {
                if !known.contains(&name) {
                    known.push(name)
                }
            });
            assert_eq!(known, read(text, syntax).used, "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_sites(text in prompts(), other in any::<String>()) {
        check_sites(&text);
        check_sites(&other);
    }

    #[test]
    fn grammatical_scenarios(text in prompts(), steps in 0usize..30, seed in any::<u64>()) {
        check_scenarios(&text, steps, seed);
    }

    #[test]
    fn random_scenarios(text in any::<String>(), steps in 0usize..30) {
        check_scenarios(&text, steps, 0);
    }

    /// What has no signs of a grammar passes through unchanged.
    #[test]
    fn plain_texts_stay(text in "[^\\[\\]|:\\\\{}/()]*", seed in any::<u64>()) {
        prop_assert_eq!(&expand(&text, seed), &text);
        prop_assert_eq!(schedule(&text, 20, &Library::new()), [(20, text)]);
    }

    /// A schedule that is written is the schedule that is read.
    #[test]
    fn schedules_are_read(from in "[a-z ]{1,9}", to in "[a-z ]{1,9}x", when in 1usize..20) {
        // Neighbours of equal text are one.
        prop_assume!(from != to);
        let read = schedule(&format!("p [{from}:{to}:{when}]"), 20, &Library::new());
        prop_assert_eq!(read, [(when, format!("p {from}")), (20, format!("p {to}"))]);
    }

    #[test]
    fn grammatical_texts(text in prompts()) {
        check(&read(&text, Syntax::Comfy));
        check(&read(&text, Syntax::A1111));
    }

    #[test]
    fn random_texts(text in any::<String>()) {
        check(&read(&text, Syntax::Comfy));
        check(&read(&text, Syntax::A1111));
    }

    /// Without anything to interpret, both grammars give the same.
    #[test]
    fn plain_words(words in prop::collection::vec("[a-z]{1,8}", 0..60)) {
        let text = words.join(" ").replace("foo", "");
        let ids = |parsed: Parsed| -> Vec<String> {
            parsed.windows.iter().flat_map(|window| window.tokens.iter().map(|token| super::piece(&token.piece))).collect()
        };
        prop_assert_eq!(ids(read(&text, Syntax::Comfy)), ids(read(&text, Syntax::A1111)));
    }

    /// A1111's grammar loses no text but its own signs.
    #[test]
    fn attention_keeps_words(words in prop::collection::vec("[a-z]{1,5}", 1..10)) {
        let text = format!("({}]", words.join(" ["));
        let kept: String = attention(&text).into_iter().filter_map(|stretch| match stretch {
            wordbrush::prompt::Attention::Text(text, _) => Some(text),
            wordbrush::prompt::Attention::Break => None,
        }).collect();
        prop_assert_eq!(kept.replace([' ', ']'], ""), words.concat());
    }
}

#[test]
fn long_texts_end() {
    for text in [
        "(".repeat(100_000),
        "embedding:".repeat(10_000),
        "a ".repeat(50_000),
        "x".repeat(100_000),
        "(a".repeat(5_000),
        "embedding:foo,".repeat(5_000),
        "a AND ".repeat(5_000),
        "[a|b] [c:embedding:foo:3] ".repeat(500),
        "{a|".repeat(5_000) + "[",
    ] {
        check_scenarios(&text, 20, 1);
        check(&read(&text, Syntax::Comfy));
        check(&read(&text, Syntax::A1111));
    }
}
