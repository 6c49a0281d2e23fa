//! Keeps the outbox small: closes a slot that has grown and is mostly dead rows, and empties closed ones.

use std::time::Duration;

use sea_orm::DbBackend;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ROW;
use crate::{
    StoreError, Timestamp,
    slots::{self, Empty, FEW, MarkDrained, Open, Slot, Slotted, State},
    store::Store,
};

const TABLE: Slotted = Slotted::Outbox;
/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two attempts to truncate what somebody keeps locked.
const AGAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Follows the open slot until `stop`, and with `slot_bytes` sees to it that there is always a small one: a
/// slot that is larger and has more dead rows than live ones is closed.
///
/// By how much a slot exceeds `slot_bytes` is a matter of time: a look comes every [`INTERVAL`], and PostgreSQL
/// counts dead rows up to a second after they died, or up to ten where the session that killed them has
/// nothing to do since. So a slot holds what is written in two to four seconds of full traffic, if that is more.
pub(crate) async fn keep(store: Store, slot_bytes: Option<usize>, stop: CancellationToken) {
    if store.backend() != DbBackend::Postgres {
        return;
    }
    let mut tried = Instant::now();
    while !stop.is_cancelled() {
        let again = tried.elapsed() >= AGAIN_INTERVAL;
        if again {
            tried = Instant::now();
        }
        let kept = match slot_bytes {
            Some(slot_bytes) => rotate(&store, slot_bytes, again).await,
            None => slots::refresh(&store, TABLE).await.map(|_| ()),
        };
        if let Err(error) = kept {
            tracing::debug!(%error, "the slots of the outbox cannot be looked after now");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(INTERVAL) => {}
        }
    }
}

async fn rotate(store: &Store, slot_bytes: usize, again: bool) -> Result<(), StoreError> {
    let when = format!(
        "pg_relation_size('{{slot}}') >= {slot_bytes} AND \
         pg_stat_get_live_tuples('{{slot}}'::regclass) <= pg_stat_get_dead_tuples('{{slot}}'::regclass)"
    );
    store.run(Open { table: TABLE, when, alone: false }).await?;
    for slot in slots::refresh(store, TABLE).await? {
        match slot.state {
            State::Closed => empty(store, slot).await?,
            State::Drained if again => empty(store, slot).await?,
            State::Open | State::Drained | State::Free => {}
        }
    }
    Ok(())
}

/// Empties a slot if few rows are left in it.
async fn empty(store: &Store, slot: Slot) -> Result<(), StoreError> {
    let own = TABLE.table(store.backend(), slot.number);
    let left = format!("SELECT 1 FROM {own} LIMIT {}", FEW + 1);
    let left = store.query(&left, Vec::new()).await?.len();
    if i64::try_from(left).is_ok_and(|left| left > FEW) {
        return Ok(());
    }
    let closed_by = Timestamp::from_micros(i64::MAX);
    match store.run(Empty { table: TABLE, slot: slot.number, closed_by, keep: Some(ROW) }).await {
        Err(StoreError::Failed(reason)) => {
            tracing::debug!(table = own, %reason, "cannot be emptied now");
            if left == 0 && slot.state == State::Closed {
                store.run(MarkDrained { table: TABLE, slot: slot.number }).await?;
            }
            Ok(())
        }
        emptied => emptied,
    }
}
