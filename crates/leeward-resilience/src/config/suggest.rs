//! The name that was meant.

/// The known name nearest to `given`, when it is near at all: at most a third of its letters are wrong. Case, and `-`
/// for `_`, count for nothing.
pub(super) fn nearest<'n>(given: &str, known: &[&'n str]) -> Option<&'n str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let given = plain(given);
    // Nobody means a name of the options by a text of this length.
    if given.len() > 64 {
        return None;
    }
    let near = known.iter().map(|name| (distance(given.as_bytes(), plain(name).as_bytes()), *name));
    near.filter(|(wrong, name)| wrong * 3 <= name.len()).min_by_key(|(wrong, _)| *wrong).map(|(_, name)| name)
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, also) in other.iter().enumerate() {
            let mut least = (last[column] + usize::from(letter != also)).min(last[column + 1] + 1);
            least = least.min(next[column] + 1);
            if row > 0 && column > 0 && one[row - 1] == *also && *letter == other[column - 1] {
                least = least.min(before[column - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_was_meant_and_no_other() {
        let known = ["max_retries", "backoff_base", "backoff_max", "budget", "k"];
        let table = [
            ("max_retires", Some("max_retries")),
            ("max-retries", Some("max_retries")),
            ("Backoff_Base", Some("backoff_base")),
            ("buget", Some("budget")),
            ("retries", None),
            ("banana", None),
            ("", None),
        ];
        for (given, meant) in table {
            assert_eq!(nearest(given, &known), meant, "{given}");
        }
        assert_eq!(nearest(&"budget".repeat(100), &known), None);
    }

    #[test]
    fn a_swap_is_one_slip() {
        assert_eq!(distance(b"abcd", b"abdc"), 1);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }
}
