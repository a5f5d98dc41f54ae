//! What is said about an embedding.

use wordbrush::Code;
use wordbrush::files::textual_inversion::Embedding;
use wordbrush::prompt::{BOS, Facts};

use super::{clip, embedding};

fn of(width: usize, values: &[f32]) -> Embedding {
    Embedding { vectors: values.len() / width, width, values: values.to_vec(), ..embedding("test", 0) }
}

#[test]
fn norms_and_neighbours() {
    // Four words, all of length 0.5.
    let table = [0.3, 0.4, 0.5, 0.0, 0.0, -0.5, -0.3, 0.4];
    let facts = Facts::of_table(&of(2, &[3.0, 4.0, -0.1, 0.0]), &clip(), 2, &table).expect("facts");
    assert_eq!(facts.norms, [5.0, 0.1]);
    assert_eq!((facts.vocabulary_norm, facts.budget), (0.5, 2.0 / 75.0));
    assert_eq!(facts.ratios, [10.0, 0.2]);
    let ids: Vec<Vec<u32>> = facts.nearest.iter().map(|near| near.iter().map(|word| word.id).collect()).collect();
    assert_eq!(ids, [[0, 1], [3, 2]]);
    assert!((facts.nearest[0][0].cosine - 1.0).abs() < 1e-6 && (facts.nearest[0][1].cosine - 0.6).abs() < 1e-6);
    assert_eq!(facts.nearest[0][0].word, clip().decode(0));
    assert!(facts.warning.is_none());
}

#[test]
fn strong_ones_are_named() {
    let facts = Facts::of_table(&of(2, &[30.0, 40.0]), &clip(), 1, &[0.3, 0.4]).expect("facts");
    assert!(facts.warning.expect("a warning").contains("100 times"));
}

#[test]
fn a_word_is_its_own_neighbour() {
    let row = |id: u32| -> Option<Vec<f32>> {
        (id <= BOS + 1)
            .then(|| (0..16u32).map(|i| ((id * 31 + i * 17) % 97) as f32 / 97.0 - 0.5 + id as f32 * 1e-6).collect())
    };
    let cat = row(2368).expect("a row");
    let facts = Facts::of(&of(16, &cat), &clip(), 3, row).expect("facts");
    assert_eq!(facts.nearest[0].len(), 3);
    let near = &facts.nearest[0];
    assert!(near[0].cosine > 0.99999 && near.windows(2).all(|pair| pair[0].cosine >= pair[1].cosine));
    assert!(near.iter().all(|word| word.id < BOS));
    assert!((facts.ratios[0] - facts.norms[0] / facts.vocabulary_norm).abs() < 1e-6);
}

#[test]
fn odd_tables_and_embeddings() {
    let facts = Facts::of(&of(2, &[0.0, 0.0]), &clip(), 5, |_| None).expect("facts");
    assert_eq!((facts.vocabulary_norm, facts.ratios[0], facts.nearest[0].len()), (0.0, 1.0, 0));
    let zeros = Facts::of_table(&of(2, &[0.0, 0.0]), &clip(), 5, &[0.0, 0.0, 1.0, 0.0]).expect("facts");
    assert!(zeros.nearest[0].is_empty(), "zeros have no direction");
    let none = Facts::of_table(&of(2, &[1.0, 0.0]), &clip(), 0, &[1.0, 0.0]).expect("facts");
    assert!(none.nearest[0].is_empty());
    assert_eq!(
        Facts::of(&of(2, &[1.0, 0.0]), &clip(), 1, |_| Some(vec![1.0])).expect_err("widths").code,
        Code::WrongWidth
    );
    assert_eq!(Facts::of_table(&of(2, &[1.0, 0.0]), &clip(), 1, &[1.0; 3]).expect_err("widths").code, Code::WrongWidth);
}
