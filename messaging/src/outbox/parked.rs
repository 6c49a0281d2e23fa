//! Rows that no queue takes. They are out of the way of everything else, however many they are: of each
//! routing key a few are probed now and then, and as soon as one is routed the others are freed.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    PARKED,
    claim::{Lot, RETURNED, read_all},
};
use crate::{Exchange, Outgoing, StoreError, Transaction, Tx, classify, relay::Lane, slots::Slotted};

/// Rows of one routing key that are probed at once.
const PROBES: i64 = 4;
/// Rows that one routed message frees.
const FREED: i64 = 1_000;

/// The routing keys of one database on which rows are parked, as the last probe saw them. Shared by the one
/// who probes and the one who learns that a message was routed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParkedKeys(Arc<RwLock<BTreeSet<String>>>);

impl ParkedKeys {
    /// Whether that is news.
    pub(crate) fn replace(&self, keys: BTreeSet<String>) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *known != keys;
        *known = keys;
        is_news
    }

    pub(crate) fn add(&self, keys: &BTreeSet<String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(keys.iter().cloned());
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

/// Takes a few parked rows of every routing key of one slot. Yields the routing keys and the messages.
pub(crate) struct Probe(pub(crate) Lot);

/// Every routing key that has parked rows: one step through the index a key, however many rows it has.
const KEYS: &str = "WITH RECURSIVE keys(k) AS (\
     SELECT min(routing_key) FROM {table} WHERE state = 'UNROUTABLE' UNION ALL \
     SELECT (SELECT min(routing_key) FROM {table} WHERE state = 'UNROUTABLE' AND routing_key > keys.k) \
     FROM keys WHERE keys.k IS NOT NULL) SELECT k FROM keys WHERE k IS NOT NULL";

impl Transaction for Probe {
    const NAME: &'static str = "outbox.probe";
    type Output = (BTreeSet<String>, Vec<Outgoing>);

    async fn run(&self, tx: &Tx) -> Result<Self::Output, StoreError> {
        let table = Slotted::Outbox.table(tx.backend(), self.0.slot);
        let rows = tx.query(&KEYS.replace("{table}", &table), Vec::new()).await?;
        let keys: Result<BTreeSet<String>, _> = rows.iter().map(|row| row.try_get_by_index(0)).collect();
        let keys = keys.map_err(|error| classify(&error))?;
        let mut messages = Vec::new();
        for key in keys.iter().filter(|key| self.0.lanes.contains(&Lane::to(Exchange::Dispatch, key))) {
            let room = i64::try_from(self.0.most - messages.len()).unwrap_or(i64::MAX);
            messages.extend(self.take(tx, &table, key, room.min(PROBES)).await?);
        }
        Ok((keys, messages))
    }
}

impl Probe {
    async fn take(&self, tx: &Tx, table: &str, key: &str, most: i64) -> Result<Vec<Outgoing>, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "UPDATE {table} SET lease_owner = $1, lease_until = $2 WHERE id IN (SELECT id FROM {table} \
             WHERE state = 'UNROUTABLE' AND routing_key = $3 AND lease_until = {PARKED} LIMIT $4 {lock}) \
             RETURNING {RETURNED}"
        );
        let params =
            vec![self.0.owner.as_str().into(), self.0.lease_until.micros().into(), key.into(), most.into()];
        read_all(&tx.query(&sql, params).await?)
    }
}

/// Makes parked rows of a routing key due again.
pub(super) async fn free(tx: &Tx, routing_key: &str) -> Result<(), StoreError> {
    let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "UPDATE outbox SET state = 'READY', lease_until = $1 WHERE id IN (SELECT id FROM outbox \
         WHERE state = 'UNROUTABLE' AND routing_key = $2 AND lease_until = {PARKED} LIMIT $3 {lock})"
    );
    let now = tx.now().micros();
    tx.execute(&sql, vec![now.into(), routing_key.into(), FREED.into()]).await.map(|_| ())
}
