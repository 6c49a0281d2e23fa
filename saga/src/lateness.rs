//! How late messages come just now. While answers are handled that were on their way for minutes, because there is a
//! backlog, silence of that length proves nothing: a command sent again would only make the backlog longer, and a saga
//! would be given up for answers that are there to be read. So deadlines take effect later by as much as that. The
//! idea is TCP's, whose time-out follows the round trips it measures (RFC 6298).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use waybill_messaging::Timestamp;

/// For how long a late message counts. One that is later still takes its place at once.
const MEMORY: Duration = Duration::from_secs(5);

/// The latest that counts: beyond it somebody's clock is wrong, or a person has to know.
const MOST: Duration = Duration::from_hours(1);

/// Shared by its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness(Arc<Mutex<Option<Late>>>);

#[derive(Clone, Copy, Debug)]
struct Late {
    by: Duration,
    noted_at: Timestamp,
}

impl Lateness {
    /// A message was handled at `now` that answers what was sent at `sent_at`.
    pub(crate) fn note(&self, sent_at: Timestamp, now: Timestamp) {
        let late = Late { by: now.since(sent_at).min(MOST), noted_at: now };
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.is_none_or(|other| other.by <= late.by || now.since(other.noted_at) >= MEMORY) {
            *latest = Some(late);
        }
    }

    /// By how much messages are late; zero where none was for a while.
    pub(crate) fn at(&self, now: Timestamp) -> Duration {
        let latest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.filter(|late| now.since(late.noted_at) < MEMORY).map_or(Duration::ZERO, |late| late.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_message_of_the_last_five_seconds_counts() {
        let lateness = Lateness::default();
        assert_eq!(lateness.at(NOW), Duration::ZERO, "nothing has come");
        lateness.note(NOW.minus(seconds(60)), NOW);
        lateness.note(NOW.minus(seconds(1)), NOW.plus(seconds(1)));
        assert_eq!(lateness.at(NOW.plus(seconds(4))), seconds(60), "one in time proves little");
        lateness.note(NOW.minus(seconds(90)), NOW.plus(seconds(4)));
        assert_eq!(lateness.at(NOW.plus(seconds(8))), seconds(94), "a later one counts at once");
        lateness.note(NOW.plus(seconds(8)), NOW.plus(seconds(9)));
        assert_eq!(lateness.at(NOW.plus(seconds(9))), seconds(1), "after five seconds any does");
        assert_eq!(lateness.at(NOW.plus(seconds(14))), Duration::ZERO);
        lateness.note(Timestamp::default(), NOW.plus(seconds(20_000)));
        assert_eq!(lateness.at(NOW.plus(seconds(20_000))), MOST, "no clock is believed that far");
    }
}
