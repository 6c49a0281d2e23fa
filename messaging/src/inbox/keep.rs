//! Forgets what has been remembered long enough: whole slots on `PostgreSQL`, rows in small steps on SQLite.

use std::time::Duration;

use sea_orm::DbBackend;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    Store, StoreError, Timestamp, Transaction, Tx, duty,
    slots::{self, Empty, Open, Slotted, State},
};

const TABLE: Slotted = Slotted::Inbox;
/// Slots among which the retention is divided: what is kept too long is at most one of them.
const PARTS: u32 = 4;
/// Rows forgotten in one transaction.
const STEP: i64 = 1_000;
/// Pause between two steps as long as there is more to forget.
const BETWEEN: Duration = Duration::from_millis(10);
/// Longest pause when there is nothing more to forget, or the database is away.
const IDLE: Duration = Duration::from_mins(1);

/// Keeps what is younger than `retention`, and forgets the rest before long, until `stop`. One process at a
/// time does it.
pub async fn keep(store: Store, retention: Duration, stop: CancellationToken) {
    let idle = (retention / (2 * PARTS)).min(IDLE);
    while !stop.is_cancelled() {
        let more = forget(&store, retention).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the inbox cannot be cleaned now");
            false
        });
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(if more { BETWEEN } else { idle }) => {}
        }
    }
}

/// One step. Whether there is more to forget.
async fn forget(store: &Store, retention: Duration) -> Result<bool, StoreError> {
    if store.backend() == DbBackend::Postgres {
        return forget_slots(store, retention).await.map(|()| false);
    }
    if !duty::hold(store, "inbox", IDLE).await? {
        return Ok(false);
    }
    let before = store.clock().now().minus(retention);
    Ok(store.run(Forget { before }).await? >= STEP.unsigned_abs())
}

async fn forget_slots(store: &Store, retention: Duration) -> Result<(), StoreError> {
    let now = store.clock().now();
    let due = now.minus(retention / PARTS).micros();
    let when = format!("$1 <= {due} AND EXISTS (SELECT FROM {{slot}})");
    match store.run(Open { table: TABLE, when, alone: true }).await {
        Err(StoreError::Failed(reason)) => tracing::debug!(%reason, "the inbox is too busy to change slots"),
        opened => drop(opened?),
    }
    let closed_by = now.minus(retention);
    for slot in slots::refresh(store, TABLE).await? {
        if slot.state != State::Closed || slot.since > closed_by {
            continue;
        }
        match store.run(Empty { table: TABLE, slot: slot.number, closed_by, keep: None }).await {
            Err(StoreError::Failed(reason)) => {
                tracing::debug!(slot = slot.number, %reason, "cannot be forgotten now");
            }
            emptied => emptied?,
        }
    }
    Ok(())
}

/// Forgets the oldest messages and says how many it forgot.
struct Forget {
    /// Received before this moment.
    before: Timestamp,
}

impl Transaction for Forget {
    const NAME: &'static str = "inbox.forget";
    type Output = u64;

    async fn run(&self, tx: &Tx) -> Result<u64, StoreError> {
        let sql = "DELETE FROM inbox WHERE (consumer, message_id) IN (SELECT consumer, message_id FROM inbox \
                   WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
        tx.execute(sql, vec![self.before.micros().into(), STEP.into()]).await
    }
}
