//! The limits of those who are not in the configuration: peers by their address, clients whom a JWT names.
//! How many there are is theirs to choose, so the table has an end: past it they share one limit.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::limit::{Limit, Limits};
use crate::metrics::TurnedAway;

/// Clients told apart, at most.
const MOST: usize = 16_384;
/// Who was away for so long has its whole rate again: nothing is lost when it is forgotten.
const IDLE: Duration = Duration::from_mins(1);
/// Between two looks for those.
const SWEEP: Duration = Duration::from_secs(1);

/// Who a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Address(IpAddr),
    Name(String),
}

impl Key {
    /// Of an address: of one of IPv6 its network, because who has one has all of it.
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

pub(super) struct Table {
    limit: Limit,
    turned_away: Arc<TurnedAway>,
    entries: Mutex<Entries>,
    /// For all who find no place.
    crowd: Arc<Limits>,
}

#[derive(Default)]
struct Entries {
    of: HashMap<Key, Entry>,
    swept: Option<Instant>,
}

struct Entry {
    limits: Arc<Limits>,
    last: Instant,
}

impl Table {
    pub(super) fn new(limit: Limit, turned_away: &Arc<TurnedAway>) -> Self {
        let crowd = Arc::new(Limits::new(limit, turned_away));
        Self { limit, turned_away: Arc::clone(turned_away), entries: Mutex::default(), crowd }
    }

    pub(super) fn is_without_limit(&self) -> bool {
        self.limit == Limit::default()
    }

    /// The limits of `key`: always the same ones while it uses them.
    pub(super) fn of(&self, key: Key) -> Arc<Limits> {
        self.at(Instant::now(), key)
    }

    fn at(&self, now: Instant, key: Key) -> Arc<Limits> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.of.get_mut(&key) {
            entry.last = now;
            return Arc::clone(&entry.limits);
        }
        if entries.of.len() >= MOST && !entries.make_room(now) {
            return Arc::clone(&self.crowd);
        }
        let limits = Arc::new(Limits::new(self.limit, &self.turned_away));
        entries.of.insert(key, Entry { limits: Arc::clone(&limits), last: now });
        limits
    }
}

impl Entries {
    /// Forgets who is idle; whether there is room now.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP) {
            self.swept = Some(now);
            let in_use =
                |entry: &Entry| Arc::strong_count(&entry.limits) > 1 || now.duration_since(entry.last) < IDLE;
            self.of.retain(|_, entry| in_use(entry));
        }
        self.of.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn table() -> Table {
        Table::new(Limit { rate: None, in_flight: NonZeroU32::new(1) }, &Arc::new(TurnedAway::new()))
    }

    fn key(n: usize) -> Key {
        Key::Name(n.to_string())
    }

    #[test]
    fn a_full_table_forgets_the_idle_and_lets_the_others_share() {
        let (table, now) = (table(), Instant::now());
        let held: Vec<_> = (0..MOST / 2).map(|n| table.at(now, key(n))).collect();
        for n in MOST / 2..MOST {
            table.at(now, key(n));
        }
        assert!(Arc::ptr_eq(&table.at(now, key(MOST)), &table.crowd), "nobody is idle yet");
        assert!(!Arc::ptr_eq(&table.at(now + IDLE, key(MOST)), &table.crowd));
        let entries = table.entries.lock().unwrap();
        assert_eq!(entries.of.len(), held.len() + 1, "who is in use is not forgotten");
    }

    #[test]
    fn an_address_of_ipv6_is_its_network_and_a_mapped_one_is_that_of_ipv4() {
        let key = |text: &str| Key::address(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
