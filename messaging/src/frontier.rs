//! How far looks for what is due have come, so that the next one begins there and not at the very beginning: while
//! somebody holds an old snapshot no dead entry leaves an index, and whoever begins at its beginning walks over every
//! one that ever was there.
//!
//! What stands before the frontier after all (written late, by a clock that is behind, or held up until now) is found by a
//! look from the beginning. As long as that is cheap every look is one.

use std::time::Duration;

use tokio::time::Instant;

/// A look from the beginning is put off by no more than that, whatever it cost: one that stalled would keep what
/// stands before the frontier waiting for hours.
const LONGEST: Duration = Duration::from_mins(5);

/// How far they have come.
#[derive(Debug)]
pub struct Frontier<T> {
    reached: Option<T>,
    /// Nothing begins at the beginning until then.
    whole_from: Instant,
    sparing: u32,
}

impl<T: Clone> Frontier<T> {
    /// Nothing has been looked at. A look from the beginning is followed by another one after no less than `sparing` times
    /// what it took, or after five minutes.
    pub fn new(sparing: u32) -> Self {
        Self { reached: None, whole_from: Instant::now(), sparing }
    }

    /// Where to begin; `None`: at the beginning.
    pub fn begin(&self, now: Instant) -> Option<T> {
        self.reached.clone().filter(|_| now < self.whole_from)
    }

    /// A look that began there took from `begun` to `ended`, and left nothing before `reached` that it could see.
    pub fn advance(&mut self, from: Option<&T>, begun: Instant, ended: Instant, reached: T) {
        self.reached = Some(reached);
        if from.is_none() {
            self.whole_from = ended + ((ended - begun) * self.sparing).min(LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_dear_look_from_the_beginning_is_not_repeated_for_a_while_and_a_cheap_one_at_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut frontier = Frontier::new(50);
        assert_eq!(frontier.begin(at(0)), None);
        frontier.advance(None, at(0), at(2_000), 7);
        assert_eq!(frontier.begin(at(2_000)), Some(7));
        frontier.advance(Some(&7), at(50_000), at(101_000), 9);
        assert_eq!(frontier.begin(at(101_999)), Some(9), "one that began later puts nothing off");
        assert_eq!(frontier.begin(at(102_000)), None);
        frontier.advance(None, at(102_000), at(102_001), 10);
        assert_eq!(frontier.begin(at(102_051)), None);
        frontier.advance(None, at(200_000), at(230_000), 11);
        assert_eq!(
            (frontier.begin(at(529_999)), frontier.begin(at(530_000))),
            (Some(11), None),
            "for long at most"
        );
    }
}
