//! Embeddings made of words and of others.

use proptest::prelude::*;
use wordbrush::Code;
use wordbrush::files::textual_inversion::Embedding;
use wordbrush::prompt::craft::{concatenate, from_text, mix, pick, scale};

use super::{clip, embedding};

fn of(name: &str, width: usize, values: &[f32]) -> Embedding {
    Embedding { vectors: values.len() / width, width, values: values.to_vec(), ..embedding(name, 0) }
}

fn row(id: u32) -> Option<Vec<f32>> {
    Some(vec![id as f32, 0.1 * id as f32])
}

#[test]
fn from_words() {
    let made = from_text("mine", "a photo of", &clip(), row).expect("an embedding");
    let rows: Vec<f32> = [320, 1125, 539].into_iter().flat_map(|id| row(id).expect("a row")).collect();
    assert_eq!((made.vectors, made.width, &made.values), (3, 2, &rows));
    assert_eq!((made.name.as_str(), made.layout, made.key.as_str()), ("mine", "crafted", "emb_params"));
    assert!(made.sha256.is_empty(), "the writer knows it");
    let refused = |phrase: &str| from_text("x", phrase, &clip(), row).expect_err(phrase).code;
    assert_eq!(refused(" "), Code::BadOption);
    assert_eq!(refused(&"cat ".repeat(1025)), Code::BadOption);
    assert_eq!(from_text("x", "cat", &clip(), |_| None).expect_err("no row").code, Code::WrongShape);
    let odd = |id: u32| Some(vec![0.0; if id == 320 { 2 } else { 3 }]);
    assert_eq!(from_text("x", "a cat", &clip(), odd).expect_err("widths").code, Code::WrongShape);
    assert_eq!(from_text("x", "cat", &clip(), |_| Some(vec![f32::NAN])).expect_err("NaN").code, Code::NotFinite);
    assert_eq!(from_text("x", "cat", &clip(), |_| Some(vec![])).expect_err("no width").code, Code::BadOption);
}

#[test]
fn mixing() {
    let (one, two) = (of("one", 2, &[1.0, 2.0, 3.0, 4.0]), of("two", 2, &[10.0, 20.0]));
    // What is missing is zeros.
    let mixed = mix("m", &[(0.5, &one), (-0.1, &two)]).expect("a mix");
    assert_eq!(mixed.values, [-0.5, -1.0, 1.5, 2.0]);
    assert_eq!(scale("s", &one, -2.0).expect("scaled").values, [-2.0, -4.0, -6.0, -8.0]);
    assert_eq!(mix("m", &[]).expect_err("nothing").code, Code::BadOption);
    assert_eq!(mix("m", &[(f32::NAN, &one)]).expect_err("NaN").code, Code::BadOption);
    assert_eq!(scale("m", &of("big", 1, &[3e38]), 10.0).expect_err("overflow").code, Code::NotFinite);
    assert_eq!(mix("m", &[(1.0, &one), (1.0, &of("other", 3, &[0.0; 3]))]).expect_err("widths").code, Code::WrongWidth);
}

#[test]
fn joining_and_picking() {
    let (one, two) = (of("one", 2, &[1.0, 2.0, 3.0, 4.0]), of("two", 2, &[5.0, 6.0]));
    let joined = concatenate("j", &[&one, &two, &one]).expect("joined");
    assert_eq!(
        (joined.vectors, joined.values.as_slice()),
        (5, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 4.0].as_slice())
    );
    assert_eq!(pick("p", &joined, &[2, 0, 0]).expect("picked").values, [5.0, 6.0, 1.0, 2.0, 1.0, 2.0]);
    assert!(pick("p", &one, &[2]).expect_err("no such").message.contains("no number 3"));
    assert_eq!(pick("p", &one, &[]).expect_err("none").code, Code::BadOption);
    assert_eq!(pick("p", &of("none", 1, &[]), &[0]).expect_err("none").code, Code::BadOption);
    assert_eq!(
        pick("p", &Embedding { width: 0, ..of("flat", 1, &[1.0]) }, &[0]).expect_err("no width").code,
        Code::BadOption
    );
    let large = of("large", 1, &[0.0; 1000]);
    assert_eq!(concatenate("j", &[&large, &large]).expect_err("too many").code, Code::BadOption);
    assert_eq!(concatenate("j", &[&one, &large]).expect_err("widths").code, Code::WrongWidth);
}

proptest! {
    /// A mix of one embedding with itself is a scaled one, and the order of the parts does not matter.
    #[test]
    fn mixes_add_up(values in prop::collection::vec(-10.0f32..10.0, 1..20), a in -2.0f32..2.0, b in -2.0f32..2.0) {
        let (one, two) = (of("one", 1, &values), of("two", 1, &values[..values.len() / 2 + 1]));
        let forth = mix("m", &[(a, &one), (b, &two)]).expect("a mix");
        let back = mix("m", &[(b, &two), (a, &one)]).expect("a mix");
        prop_assert_eq!(forth.values, back.values);
        prop_assert_eq!(mix("m", &[(1.0, &one)]).expect("a mix").values, values);
    }
}
