//! Names of dispatches: `UUIDv7`, so that they sort by the time they were given and a table that is keyed
//! by them grows at its end.

use std::sync::Mutex;

use uuid::{ContextV7, Uuid};
use waybill_messaging::{Clock, Timestamp};

/// Gives names, each greater than the one before within this process.
pub(crate) struct Ids {
    clock: Clock,
    context: Mutex<ContextV7>,
}

impl Ids {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, context: Mutex::new(ContextV7::new()) }
    }

    pub(crate) fn next(&self) -> Uuid {
        let micros = u64::try_from(self.clock.now().micros()).unwrap_or_default();
        // Below 10^9 by construction.
        let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default();
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.context, micros / 1_000_000, nanos))
    }
}

/// Names the outbox row of a dispatch's cancel request: it follows from the dispatch's name, and no dispatch
/// is named like it, because the version (RFC 9562) is 8 where theirs is 7.
pub(crate) fn of_cancel(dispatch_id: Uuid) -> Uuid {
    Uuid::from_u128(dispatch_id.as_u128() ^ (0xf << 76))
}

/// Sorts before every name given at `moment` or later, and after every one given a millisecond earlier.
pub(crate) fn floor(moment: Timestamp) -> String {
    let millis = u64::try_from(moment.millis()).unwrap_or_default().min((1 << 48) - 1);
    Uuid::from_u128(u128::from(millis) << 80).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cancel_request_is_named_after_its_dispatch_and_like_none() {
        let dispatch_id = Ids::new(Clock::system()).next();
        let name = of_cancel(dispatch_id);
        assert_eq!((name.get_version_num(), dispatch_id.get_version_num()), (8, 7));
        assert_eq!(of_cancel(name), dispatch_id);
    }

    #[test]
    fn names_sort_by_time_as_text() {
        let clock = Clock::stopped_at(Timestamp::from_micros(1_700_000_000_000_000));
        let ids = Ids::new(clock.clone());
        let mut names = Vec::new();
        for _ in 0..3 {
            names.extend((0..50).map(|_| ids.next().to_string()));
            clock.advance(Duration::from_millis(1));
        }
        assert!(names.is_sorted());
        let floor = floor(Timestamp::from_micros(1_700_000_000_001_000));
        assert_eq!(names.iter().filter(|name| **name < floor).count(), 50);
    }
}
