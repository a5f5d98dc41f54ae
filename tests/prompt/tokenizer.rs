//! The tokenizer against Hugging Face's CLIPTokenizer (`golden/prompt/make_clip_tokens.py`).

use serde_json::Value;

use super::clip;

#[test]
fn every_golden_text_has_the_same_ids() {
    let clip = clip();
    let mut count = 0;
    for line in include_str!("../golden/prompt/clip_tokens.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a JSON line");
        let text = case["text"].as_str().expect("a text");
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("ids");
        assert_eq!(clip.encode(text), ids, "{text:?}");
        count += 1;
    }
    assert!(count >= 300, "{count} texts");
}

#[test]
fn the_words_of_the_specification() {
    let clip = clip();
    assert_eq!(clip.encode("a photo of"), [320, 1125, 539]);
    assert_eq!(clip.encode("porsche911_ti"), [8783, 280, 272, 272, 318, 2605]);
    assert_eq!(clip.encode("EasyNegative"), [18308, 8869]);
    assert_eq!(clip.encode("badhandv4"), [2564, 1722, 341, 275]);
    assert_eq!(clip.encode("bad-hands-5"), [2103, 268, 3500, 268, 276]);
    assert_eq!(clip.encode(""), [0u32; 0]);
}

#[test]
fn ids_are_shown_as_text() {
    let clip = clip();
    assert_eq!(clip.decode(2368), "cat ");
    assert_eq!(clip.decode(8783), "porsche ");
    assert_eq!(clip.decode(267), ", ");
    assert_eq!(clip.decode(18308), "easy");
    assert_eq!(clip.decode(49407), "<|endoftext|>");
    assert_eq!(clip.decode(49408), "");
    let text: String = clip.encode("A café, 日!").into_iter().map(|id| clip.decode(id)).collect();
    assert_eq!(text, "a café , 日 ! ");
    (0..49408).for_each(|id| assert!(!clip.decode(id).is_empty(), "{id}"));
}
