//! Finds the name that a typo was meant to be.

/// Begins every environment variable, and so says nothing about how similar two are.
const COMMON: &str = "WAYBILL_";

/// The known name with the smallest edit distance, unless it takes more than a third of the letters.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(edits, candidate)| *edits <= candidate.trim_start_matches(COMMON).len() / 3)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: insertions, deletions and substitutions.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_typo_finds_what_was_meant_and_nonsense_finds_nothing() {
        let known = || ["relay.window", "relay.lease", "grpc.addr"].into_iter();
        assert_eq!(nearest("relay.windw", known()), Some("relay.window"));
        assert_eq!(nearest("relay_window", known()), Some("relay.window"));
        assert_eq!(nearest("colour", known()), None);
        assert_eq!(nearest("WAYBILL_FOO", ["WAYBILL_ROLES"].into_iter()), None);
        assert_eq!(nearest("WAYBILL_ROLE", ["WAYBILL_ROLES"].into_iter()), Some("WAYBILL_ROLES"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
