//! How often one message is sent again: at growing intervals.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use waybill_messaging::Timestamp;

/// A message arrives within milliseconds; after this long something is in its way.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The longest interval between two sendings of one message.
const MAX_PATIENCE: Duration = Duration::from_mins(30);

/// For how long a request is sent again at growing intervals: all of them together, the longest included.
pub const RECONCILE_HORIZON: Duration = {
    let (mut interval, mut sum) = (PATIENCE, PATIENCE);
    while interval.as_secs() < MAX_PATIENCE.as_secs() {
        let doubled = 2 * interval.as_secs();
        let longest = MAX_PATIENCE.as_secs();
        interval = Duration::from_secs(if doubled < longest { doubled } else { longest });
        sum = Duration::from_secs(sum.as_secs() + interval.as_secs());
    }
    sum
};

/// What was sent again and has still not arrived: when it may be sent next, and the interval after that.
/// Lost with the process, which costs one sending too many.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<String, (Timestamp, Duration)>);

impl Pace {
    pub(super) fn is_due(&self, dispatch_id: &str, now: Timestamp) -> bool {
        self.0.get(dispatch_id).is_none_or(|(next, _)| *next <= now)
    }

    /// Whether it was sent again.
    pub(super) fn knows(&self, dispatch_id: &str) -> bool {
        self.0.contains_key(dispatch_id)
    }

    /// It was sent at `now`.
    pub(super) fn note(&mut self, dispatch_id: String, now: Timestamp) {
        let interval = self.0.get(&dispatch_id).map_or(PATIENCE, |(_, interval)| *interval);
        self.0.insert(dispatch_id, (now.plus(interval), (interval * 2).min(MAX_PATIENCE)));
    }

    /// Forgets all that is not `waiting` any more.
    pub(super) fn keep(&mut self, waiting: &HashSet<String>) {
        self.0.retain(|dispatch_id, _| waiting.contains(dispatch_id));
    }
}
