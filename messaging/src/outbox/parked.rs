//! Rows that no queue takes. They are out of the way of everything else, however many they are: of each
//! routing key a few are probed now and then, and as soon as one is routed the others are freed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    PARKED,
    claim::{Lot, RETURNED, read_all},
    turn::Page,
};
use crate::{Exchange, Outgoing, StoreError, Transaction, Tx, classify, relay::Lane, slots::Slotted};

/// Rows of one routing key that are probed at once.
const PROBES: i64 = 4;
/// Routing keys of one slot that are probed at once. Those after them come next.
const PAGE: usize = 64;
/// Rounds for which a routing key is known: by then its probes are answered.
const KNOWN_FOR: u64 = 8;
/// Rows that one routed message frees.
const FREED: i64 = 1_000;

/// The routing keys of one database on which rows are parked, as the last rounds of probes saw them. Shared by the
/// one who probes and the one who learns that a message was routed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParkedKeys(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    round: u64,
    /// In which round each was seen last.
    seen: BTreeMap<String, u64>,
}

impl ParkedKeys {
    /// Those were seen in this round.
    pub(crate) fn add(&self, keys: &BTreeSet<String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let round = known.round;
        known.seen.extend(keys.iter().map(|key| (key.clone(), round)));
    }

    /// The round is over: what was not seen for some of them is not known any more.
    pub(crate) fn end_round(&self) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.round += 1;
        let since = known.round.saturating_sub(KNOWN_FOR);
        known.seen.retain(|_, seen| *seen >= since);
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).seen.contains_key(key)
    }
}

/// Takes a few parked rows of each routing key on a page of them, in one slot. Yields the page and the messages.
pub(crate) struct Probe {
    pub(crate) lot: Lot,
    /// The page begins after this key; `None`: with the first one.
    pub(crate) after: Option<String>,
}

/// Routing keys that have parked rows: one step through the index a key, however many rows it has.
const KEYS: &str = "WITH RECURSIVE keys(k, n) AS (\
     SELECT min(routing_key), 1 FROM {table} WHERE state = 'UNROUTABLE' {after} UNION ALL \
     SELECT (SELECT min(routing_key) FROM {table} WHERE state = 'UNROUTABLE' AND routing_key > keys.k), n + 1 \
     FROM keys WHERE keys.k IS NOT NULL AND n < {most}) SELECT k FROM keys WHERE k IS NOT NULL ORDER BY k";

impl Transaction for Probe {
    const NAME: &'static str = "outbox.probe";
    type Output = (Page, Vec<Outgoing>);

    async fn run(&self, tx: &Tx) -> Result<Self::Output, StoreError> {
        let table = Slotted::Outbox.table(tx.backend(), self.lot.slot);
        let keys = self.keys(tx, &table).await?;
        let mut page = Page { more: keys.len() == PAGE, ..Page::default() };
        let mut messages = Vec::new();
        for key in keys {
            let room = self.lot.most - messages.len();
            if room == 0 {
                page.more = true;
                break;
            }
            if self.lot.lanes.contains(&Lane::to(Exchange::Dispatch, &key)) {
                let most = i64::try_from(room).unwrap_or(i64::MAX).min(PROBES);
                messages.extend(self.take(tx, &table, &key, most).await?);
            }
            page.keys.insert(key);
        }
        Ok((page, messages))
    }
}

impl Probe {
    async fn keys(&self, tx: &Tx, table: &str) -> Result<Vec<String>, StoreError> {
        let after = self.after.as_ref().map_or("", |_| "AND routing_key > $1");
        let sql = KEYS.replace("{table}", table).replace("{after}", after);
        let sql = sql.replace("{most}", &PAGE.to_string());
        let rows = tx.query(&sql, self.after.iter().map(|after| after.as_str().into()).collect()).await?;
        rows.iter().map(|row| row.try_get_by_index(0).map_err(|error| classify(&error))).collect()
    }

    async fn take(&self, tx: &Tx, table: &str, key: &str, most: i64) -> Result<Vec<Outgoing>, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "UPDATE {table} SET lease_owner = $1, lease_until = $2 WHERE id IN (SELECT id FROM {table} \
             WHERE state = 'UNROUTABLE' AND routing_key = $3 AND lease_until = {PARKED} LIMIT $4 {lock}) \
             RETURNING {RETURNED}"
        );
        let params = vec![
            self.lot.owner.as_str().into(),
            self.lot.lease_until.micros().into(),
            key.into(),
            most.into(),
        ];
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

#[cfg(test)]
mod tests;
