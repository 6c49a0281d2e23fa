//! What is published and not yet answered, and when an answer may be believed.
//!
//! A message that no queue takes is returned *and* acknowledged. lapin puts a returned message into a
//! queue and hangs it on whichever confirm completes next, which may be another message's (lapin 4.12.3,
//! `returned_messages.rs`, `acknowledgement.rs`). Two rules make this safe. A return is matched by what
//! was returned, never by the confirm it came with. And an acknowledgement counts only when every message
//! that was in flight at that moment has been answered too: the return of a message always arrives before
//! its own acknowledgement, so by then it has come to light, on whichever confirm it hung.

use std::collections::{BTreeMap, VecDeque};

use lapin::types::ShortString;

/// What tells a returned message: routing key and message id, as they went over the wire. Not the id alone:
/// a message and its retry may be in flight at once by different ways.
pub(super) type Identity = (ShortString, ShortString);

/// How the publication of a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Confirmed, and routed to a queue.
    Confirmed,
    /// No queue takes it.
    Returned(String),
    /// The broker refused it.
    Rejected,
}

/// What one confirm said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ack,
    Nack,
}

struct Acknowledged<T> {
    identity: Identity,
    item: T,
    answer: Answer,
    /// Believed once all messages before this one are answered.
    barrier: u64,
}

/// Messages in flight on one channel.
pub(super) struct Window<T> {
    next: u64,
    in_flight: BTreeMap<u64, (Identity, T)>,
    answered: VecDeque<Acknowledged<T>>,
    /// Returned messages whose own confirm has not been seen yet, with the reason.
    returned: Vec<(Identity, String)>,
}

impl<T> Window<T> {
    pub(super) const fn new() -> Self {
        Self { next: 0, in_flight: BTreeMap::new(), answered: VecDeque::new(), returned: Vec::new() }
    }

    /// Messages without an outcome.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len() + self.answered.len()
    }

    /// The oldest message without an answer.
    pub(super) fn oldest(&self) -> Option<&T> {
        self.in_flight.first_key_value().map(|(_, (_, item))| item)
    }

    /// Notes that a message is being published; the number names it in [`Window::answer`].
    pub(super) fn publish(&mut self, identity: Identity, item: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.in_flight.insert(number, (identity, item));
        number
    }

    /// Notes what a confirm said and the returned message that hung on it, if any: which one and why.
    pub(super) fn answer(&mut self, number: u64, answer: Answer, returned: Option<(Identity, String)>) {
        self.returned.extend(returned);
        if let Some((identity, item)) = self.in_flight.remove(&number) {
            self.answered.push_back(Acknowledged { identity, item, answer, barrier: self.next });
        }
    }

    /// The messages whose outcome is now certain.
    pub(super) fn outcomes(&mut self) -> Vec<(T, Outcome)> {
        let oldest = self.in_flight.first_key_value().map_or(self.next, |(number, _)| *number);
        let certain = self.answered.iter().take_while(|a| a.barrier <= oldest).count();
        let mut outcomes = Vec::with_capacity(certain);
        for Acknowledged { identity, item, answer, .. } in self.answered.drain(..certain) {
            let returned = self.returned.iter().position(|(returned, _)| *returned == identity);
            let outcome = match (answer, returned) {
                (_, Some(index)) => Outcome::Returned(self.returned.swap_remove(index).1),
                (Answer::Ack, None) => Outcome::Confirmed,
                (Answer::Nack, None) => Outcome::Rejected,
            };
            outcomes.push((item, outcome));
        }
        outcomes
    }

    /// Gives back everything without an outcome: the channel is gone, and nobody knows.
    pub(super) fn abandon(self) -> Vec<T> {
        let answered = self.answered.into_iter().map(|a| a.item);
        answered.chain(self.in_flight.into_values().map(|(_, item)| item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(keys: &[&'static str]) -> Window<&'static str> {
        let mut window = Window::new();
        for key in keys {
            window.publish(identity(key), *key);
        }
        window
    }

    fn identity(id: &str) -> Identity {
        ("key".into(), id.into())
    }

    fn hanging(id: &str) -> (Identity, String) {
        (identity(id), "NO_ROUTE".to_owned())
    }

    #[test]
    fn a_return_that_hangs_on_a_neighbour_is_matched_by_its_own_id() {
        let mut window = published(&["a", "b"]);
        window.answer(0, Answer::Ack, Some(hanging("b")));
        window.answer(1, Answer::Ack, None);
        let outcomes = window.outcomes();
        assert_eq!(outcomes, [("a", Outcome::Confirmed), ("b", Outcome::Returned("NO_ROUTE".into()))]);
    }

    #[test]
    fn an_ack_is_not_believed_while_a_neighbour_could_still_carry_its_return() {
        let mut window = published(&["a", "b"]);
        window.answer(1, Answer::Ack, None);
        assert_eq!(window.outcomes(), []);
        window.answer(0, Answer::Ack, Some(hanging("b")));
        let outcomes = window.outcomes();
        assert_eq!(outcomes, [("b", Outcome::Returned("NO_ROUTE".into())), ("a", Outcome::Confirmed)]);
    }

    #[test]
    fn later_messages_do_not_hold_up_what_was_answered_before_them() {
        let mut window = published(&["a"]);
        window.answer(0, Answer::Ack, None);
        window.publish(identity("b"), "b");
        assert_eq!(window.outcomes(), [("a", Outcome::Confirmed)]);
    }

    #[test]
    fn a_nack_is_a_rejection_and_an_abandoned_window_gives_back_everything() {
        let mut window = published(&["a", "b", "c"]);
        window.answer(0, Answer::Nack, None);
        assert_eq!(window.outcomes(), []);
        window.answer(1, Answer::Ack, None);
        assert_eq!(window.abandon().len(), 3);
    }

    #[test]
    fn the_same_message_twice_in_flight_is_returned_twice() {
        let mut window = published(&["a", "a"]);
        window.answer(0, Answer::Ack, Some(hanging("a")));
        window.answer(1, Answer::Ack, Some(hanging("a")));
        assert!(window.outcomes().iter().all(|(_, outcome)| matches!(outcome, Outcome::Returned(_))));
    }

    #[test]
    fn one_message_by_two_ways_is_returned_from_the_one_that_leads_nowhere() {
        let mut window = Window::new();
        window.publish(("nowhere".into(), "a".into()), "first");
        window.publish(("somewhere".into(), "a".into()), "again");
        window.answer(1, Answer::Ack, None);
        window.answer(0, Answer::Ack, Some((("nowhere".into(), "a".into()), "NO_ROUTE".to_owned())));
        let outcomes = window.outcomes();
        assert_eq!(
            outcomes,
            [("again", Outcome::Confirmed), ("first", Outcome::Returned("NO_ROUTE".into()))]
        );
    }
}
