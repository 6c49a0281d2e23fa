//! How much waits in the outbox, and how long.

use std::time::Duration;

use crate::{Store, StoreError, Timestamp, classify};

/// How full the outbox is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Rows of every state.
    pub rows: u64,
    /// Rows that are due and not parked.
    pub ready: u64,
    /// Rows that no queue takes, or that the broker refuses.
    pub parked: u64,
    /// Age of the oldest ready row.
    pub oldest: Duration,
}

/// Counts the outbox. Costs a scan of it, which is short as long as the relay keeps up.
pub async fn depth(store: &Store) -> Result<Depth, StoreError> {
    let now = store.clock().now();
    let sql = "SELECT count(*), count(CASE WHEN state = 'READY' AND available_at <= $1 THEN 1 END), \
               count(CASE WHEN state <> 'READY' THEN 1 END), \
               coalesce(min(CASE WHEN state = 'READY' AND available_at <= $1 THEN available_at END), $1) FROM outbox";
    let rows = store.query(sql, vec![now.micros().into()]).await?;
    let number = |index| -> Result<i64, StoreError> {
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(index).map_err(|e| classify(&e)))
    };
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(Depth {
        rows: count(number(0)?),
        ready: count(number(1)?),
        parked: count(number(2)?),
        oldest: now.since(Timestamp::from_micros(number(3)?)),
    })
}
