//! "Did you mean": the known key nearest to an unknown one.

/// The candidate that a typing error most likely stands for, if any is near enough: at most a third of the letters
/// may differ. A key in the wrong place (`listen` at the top) is answered by the key that ends in the same word.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let by_spelling = candidates
        .clone()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate);
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    by_spelling.or_else(|| candidates.clone().find(|candidate| last(candidate) == last(word)))
}

/// Levenshtein's distance: insertions, deletions and replacements from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["server.api.listen", "server.api.auth", "mesh.listen", "worker.name"];

    #[test]
    fn distance_counts_single_letter_edits() {
        for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_typing_error_and_a_misplaced_key_are_recognised_and_nonsense_is_not() {
        assert_eq!(nearest("server.api.listn", KEYS.into_iter()), Some("server.api.listen"));
        assert_eq!(nearest("mehs.listen", KEYS.into_iter()), Some("mesh.listen"));
        assert_eq!(nearest("auth", KEYS.into_iter()), Some("server.api.auth"));
        assert_eq!(nearest("zzz.qqq", KEYS.into_iter()), None);
    }
}
