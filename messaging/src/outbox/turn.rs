//! Which parked routing keys are looked at next. Strangers choose keys (`reply_to`), as many as they like. So a round of
//! probes looks at a page of them, in their order, and the next one goes on where it ended: none starves, and however
//! many there are, neither a round, nor memory, nor a log line grows with their number.

use std::{collections::BTreeSet, mem};

/// Keys that a log line names.
const NAMED: usize = 5;

/// Keys of one slot, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) keys: BTreeSet<String>,
    /// Whether there may be more behind them.
    pub(crate) more: bool,
}

/// Pages of all slots.
#[derive(Debug, Default)]
pub(crate) struct Round {
    keys: BTreeSet<String>,
    /// What lies behind it was not seen in every slot; `None` where all of it was.
    until: Option<String>,
}

impl Round {
    pub(crate) fn add(&mut self, page: Page) {
        if page.more {
            let until = self.until.take().into_iter().chain(page.keys.last().cloned());
            self.until = until.min();
        }
        self.keys.extend(page.keys);
    }
}

/// How many keys there are, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The first of them.
    pub(crate) first: Vec<String>,
    /// How many besides.
    pub(crate) more: usize,
}

/// As many rounds as it takes to see every key.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    after: Option<String>,
    tally: Tally,
    told: Tally,
}

impl Turn {
    /// The next round looks at what comes after this key; `None`: from the first one.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Notes what a round has seen. What is to be told of it, if that is news: the first keys at once, and how many
    /// they are when all were seen.
    pub(crate) fn note(&mut self, round: Round) -> Option<Tally> {
        let Round { keys, until } = round;
        let seen = keys.into_iter().filter(|key| until.as_ref().is_none_or(|until| key <= until));
        for key in seen {
            if self.tally.first.len() < NAMED {
                self.tally.first.push(key);
            } else {
                self.tally.more += 1;
            }
        }
        self.after = until;
        let is_over = self.after.is_none();
        let tally = if is_over { mem::take(&mut self.tally) } else { self.tally.clone() };
        let is_news = tally != self.told && (is_over || self.told == Tally::default());
        if !is_news {
            return None;
        }
        self.told = tally.clone();
        (tally != Tally::default()).then_some(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&str], more: bool) -> Page {
        Page { keys: keys.iter().map(|&key| key.to_owned()).collect(), more }
    }

    fn round(pages: impl IntoIterator<Item = Page>) -> Round {
        let mut round = Round::default();
        pages.into_iter().for_each(|page| round.add(page));
        round
    }

    fn tally(first: &[&str], more: usize) -> Tally {
        Tally { first: first.iter().map(|&key| key.to_owned()).collect(), more }
    }

    #[test]
    fn the_next_round_goes_on_where_some_slot_was_left() {
        let mut turn = Turn::default();
        turn.note(round([page(&["a", "d", "g"], true), page(&["b", "c", "e"], true), page(&["f"], false)]));
        assert_eq!(turn.after(), Some("e"));
        turn.note(round([page(&["g"], false), page(&[], false), page(&["f"], false)]));
        assert_eq!(turn.after(), None, "all were seen: from the first one again");
    }

    #[test]
    fn news_are_told_once_at_their_beginning_and_when_all_is_known() {
        let mut turn = Turn::default();
        let first = || round([page(&["a", "b", "c", "d", "e", "f"], true)]);
        let second = || round([page(&["g", "h"], false)]);
        let named = ["a", "b", "c", "d", "e"];
        assert_eq!(turn.note(first()), Some(tally(&named, 1)), "at once");
        assert_eq!(turn.note(second()), Some(tally(&named, 3)), "and how many they are");
        for _ in 0..3 {
            assert_eq!((turn.note(first()), turn.note(second())), (None, None), "no news");
        }
        assert_eq!(turn.note(round([page(&["z"], false)])), Some(tally(&["z"], 0)));
        assert_eq!(turn.note(round([page(&[], false)])), None, "nothing is not told");
        assert_eq!(turn.note(round([page(&["z"], false)])), Some(tally(&["z"], 0)), "but forgotten");
    }

    #[test]
    fn what_was_seen_in_one_slot_only_is_counted_when_it_was_seen_in_all() {
        let mut turn = Turn::default();
        turn.note(round([page(&["a", "b"], true), page(&["c"], false)]));
        let whole = turn.note(round([page(&["c"], false), page(&["c"], false)]));
        assert_eq!(whole, Some(tally(&["a", "b", "c"], 0)));
    }
}
