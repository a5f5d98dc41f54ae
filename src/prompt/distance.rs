//! How far a typed name is from a known one.

/// No more letters of the known name are looked at.
const LONGEST: usize = 65;

/// How many letters to change, add, drop or swap with their neighbour (optimal string alignment) to come from one to the
/// other; 1 if one is the beginning of the other and at least three letters long.
pub(super) fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().take(LONGEST).collect();
    let shorter = from.len().min(to.len());
    if shorter >= 3 && from[..shorter] == to[..shorter] {
        return usize::from(from.len() != to.len());
    }
    // At least as many letters must be added as are missing: too many for any caller, so why count.
    if from.len().abs_diff(to.len()) > from.len().max(3) / 3 {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(letter != other)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == to[j - 1] && from[i - 1] == *other {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}
