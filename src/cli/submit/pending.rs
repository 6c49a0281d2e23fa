//! What has been sent and not been answered for good. Nothing leaves it without an answer, so that after a
//! broken stream exactly this is sent again; the same message id makes that harmless.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use waybill_proto::v1::DispatchRequested;

use super::item::Item;

/// Answers of a full server that one item puts up with.
const ATTEMPTS: u32 = 20;
/// First pause where the server names none; it doubles from there.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An item on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) item: Item,
    pub(super) since: Instant,
    attempts: u32,
    /// When to send it again; `None` while its answer is awaited.
    due: Option<Instant>,
}

/// The items on their way, by message id.
#[derive(Debug, Default)]
pub(super) struct Pending(HashMap<String, Flight>);

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An id is on its way once at a time, or answers could not be told apart.
    pub(super) fn contains(&self, message_id: &str) -> bool {
        self.0.contains_key(message_id)
    }

    pub(super) fn insert(&mut self, item: Item, now: Instant) {
        let flight = Flight { item, since: now, attempts: 1, due: None };
        self.0.insert(flight.item.request.message_id.clone(), flight);
    }

    /// Answered for good. `None` for an answer that nobody awaits.
    pub(super) fn settle(&mut self, message_id: &str) -> Option<Flight> {
        self.0.remove(message_id)
    }

    /// The server asks for patience: plans another attempt. False when this was the last one.
    pub(super) fn postpone(&mut self, message_id: &str, wish: Option<Duration>, now: Instant) -> bool {
        let Some(flight) = self.0.get_mut(message_id) else { return true };
        if flight.attempts >= ATTEMPTS {
            return false;
        }
        let doubled = PAUSE * 2_u32.saturating_pow(flight.attempts - 1).min(1_024);
        flight.due = Some(now + wish.unwrap_or(doubled).min(LONGEST_PAUSE));
        flight.attempts += 1;
        true
    }

    /// When the first planned attempt is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(|flight| flight.due).min()
    }

    /// The requests whose planned attempt is due; they count as sent.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<DispatchRequested> {
        let due = self.0.values_mut().filter(|flight| flight.due.is_some_and(|due| due <= now));
        due.map(Flight::send).collect()
    }

    /// Every request, for a new stream; they count as sent.
    pub(super) fn restart(&mut self) -> Vec<DispatchRequested> {
        self.0.values_mut().map(Flight::send).collect()
    }
}

impl Flight {
    fn send(&mut self) -> DispatchRequested {
        self.due = None;
        self.item.request.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use waybill_proto::v1::DispatchRequested;

    use super::{ATTEMPTS, Item, Pending};

    fn item(id: &str) -> Item {
        Item {
            line: 1,
            request: DispatchRequested { message_id: id.to_owned(), ..DispatchRequested::default() },
        }
    }

    #[test]
    fn what_is_unanswered_is_sent_again_with_the_same_id() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.insert(item("a"), now);
        pending.insert(item("b"), now);
        assert!(pending.settle("a").is_some());
        assert!(pending.settle("a").is_none());
        let again: Vec<String> = pending.restart().into_iter().map(|request| request.message_id).collect();
        assert_eq!(again, ["b"]);
    }

    #[test]
    fn a_full_server_is_asked_again_when_it_says_and_not_for_ever() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.insert(item("a"), now);
        let wish = Duration::from_millis(300);
        for _ in 1..ATTEMPTS {
            assert!(pending.postpone("a", Some(wish), now));
            assert_eq!(pending.next_due(), Some(now + wish));
            assert!(pending.take_due(now).is_empty());
            assert_eq!(pending.take_due(now + wish).len(), 1);
            assert_eq!(pending.next_due(), None);
        }
        assert!(!pending.postpone("a", Some(wish), now));
        assert!(pending.contains("a"));
    }
}
