//! How much waits in the outbox, and how long.

use std::time::Duration;

use crate::{Store, StoreError, Timestamp, classify};

/// How full the outbox is. Every row is in one of the states `ready`, `delayed`, `leased`, `unroutable` and
/// `rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Rows of every state.
    pub rows: u64,
    /// Rows that are due and that nobody holds.
    pub ready: u64,
    /// Rows whose moment has not come.
    pub delayed: u64,
    /// Rows that a relay holds.
    pub leased: u64,
    /// Rows that no queue takes.
    pub unroutable: u64,
    /// Rows that the broker refuses, or that can never be published.
    pub rejected: u64,
    /// `unroutable` and `rejected`.
    pub parked: u64,
    /// Age of the oldest row that is due and not parked, whether or not somebody holds it.
    pub oldest: Duration,
}

/// Parked rows of one routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRows {
    /// `UNROUTABLE` or `REJECTED`.
    pub state: String,
    /// Their routing key.
    pub routing_key: String,
    /// How many.
    pub rows: u64,
}

/// Counts the outbox. Costs a scan of it, which is short as long as the relay keeps up.
pub async fn depth(store: &Store) -> Result<Depth, StoreError> {
    let now = store.clock().now();
    let sql = "SELECT count(*), \
               count(CASE WHEN state = 'READY' AND lease_until <= $1 THEN 1 END), \
               count(CASE WHEN state = 'READY' AND lease_until > $1 AND lease_owner = '' THEN 1 END), \
               count(CASE WHEN state = 'READY' AND lease_until > $1 AND lease_owner <> '' THEN 1 END), \
               count(CASE WHEN state = 'UNROUTABLE' THEN 1 END), \
               count(CASE WHEN state = 'REJECTED' THEN 1 END), \
               coalesce(min(CASE WHEN state = 'READY' AND available_at <= $1 THEN available_at END), $1) FROM outbox";
    let rows = store.query(sql, vec![now.micros().into()]).await?;
    let number = |index| -> Result<i64, StoreError> {
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(index).map_err(|e| classify(&e)))
    };
    let count = |index| number(index).map(|n| u64::try_from(n).unwrap_or_default());
    let (unroutable, rejected) = (count(4)?, count(5)?);
    Ok(Depth {
        rows: count(0)?,
        ready: count(1)?,
        delayed: count(2)?,
        leased: count(3)?,
        unroutable,
        rejected,
        parked: unroutable + rejected,
        oldest: now.since(Timestamp::from_micros(number(6)?)),
    })
}

/// The routing keys with the most parked rows, at most `most` of them. Goes by the index of parked rows.
pub async fn parked(store: &Store, most: u32) -> Result<Vec<ParkedRows>, StoreError> {
    let sql = "SELECT state, routing_key, count(*) FROM outbox WHERE state <> 'READY' \
               GROUP BY state, routing_key ORDER BY count(*) DESC, state, routing_key LIMIT $1";
    let rows = store.query(sql, vec![i64::from(most).into()]).await?;
    let read = |row: &sea_orm::QueryResult| -> Result<_, sea_orm::DbErr> {
        Ok(ParkedRows {
            state: row.try_get_by_index(0)?,
            routing_key: row.try_get_by_index(1)?,
            rows: u64::try_from(row.try_get_by_index::<i64>(2)?).unwrap_or_default(),
        })
    };
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}
