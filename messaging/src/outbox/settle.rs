//! How publications ended, written down.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{PARKED, parked};
use crate::{Column, Rows, StoreError, Transaction, Tx, slots::Slotted};

/// What has become of rows whose publication has an outcome. Only rows that are still held by `owner` are
/// touched.
#[derive(Default)]
pub(crate) struct Settle {
    pub(crate) owner: String,
    /// Confirmed and routed: they go. By the slot that they were written to.
    pub(crate) confirmed: BTreeMap<i64, Vec<Uuid>>,
    /// Not published: they stay.
    pub(crate) put_back: Vec<PutBack>,
    /// Routing keys on which a message was routed though others are parked there: some of those are freed.
    pub(crate) open_again: BTreeSet<String>,
    /// A message that the broker has refused this often is parked for a person.
    pub(crate) max_rejections: u32,
}

/// A row that stays, and why.
#[derive(Clone, Debug)]
pub(crate) struct PutBack {
    pub(crate) id: Uuid,
    pub(crate) reason: String,
    pub(crate) kind: PutBackKind,
}

/// Why a row stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutBackKind {
    /// No queue takes it: parked, and probed, until a binding is back.
    Unroutable,
    /// The broker said no. Tried again, a bounded number of times, then parked for a person.
    Rejected,
    /// It can never be published: parked for a person.
    Unpublishable,
    /// Nothing was heard or nothing was tried: due again at once, and no attempt is counted.
    Unknown,
}

impl Transaction for Settle {
    const NAME: &'static str = "outbox.settle";
    type Output = ();

    /// A confirmed row that comes back is published once more, under its own id.
    fn is_lazy(&self) -> bool {
        self.put_back.is_empty() && self.open_again.is_empty()
    }

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        for (slot, ids) in &self.confirmed {
            self.clear(tx, *slot, ids).await?;
        }
        for row in &self.put_back {
            self.put_back(tx, row).await?;
        }
        for routing_key in &self.open_again {
            parked::free(tx, routing_key).await?;
        }
        Ok(())
    }
}

impl Settle {
    async fn clear(&self, tx: &Tx, slot: i64, ids: &[Uuid]) -> Result<(), StoreError> {
        let mut gone = Rows::new(&[("id", Column::Uuid)]);
        for id in ids {
            gone.push(vec![(*id).into()]);
        }
        let delete =
            |table: &str| format!("DELETE FROM {table} WHERE lease_owner = $1 AND id IN (SELECT id FROM v)");
        let own = Slotted::Outbox.table(tx.backend(), slot);
        if own == Slotted::Outbox.name() {
            tx.execute_later(gone, delete(&own), vec![self.owner.as_str().into()], None);
            return Ok(());
        }
        let delete =
            async |table| tx.execute_rows(&gone, &delete(table), vec![self.owner.as_str().into()]).await;
        // The missing ones have moved to another slot, or are not ours any more.
        if delete(&own).await? < ids.len() as u64 {
            delete(Slotted::Outbox.name()).await?;
        }
        Ok(())
    }

    async fn put_back(&self, tx: &Tx, row: &PutBack) -> Result<(), StoreError> {
        let most = self.max_rejections;
        let mut params = vec![row.id.into(), self.owner.as_str().into(), row.reason.as_str().into()];
        let set = match row.kind {
            PutBackKind::Unroutable => park("UNROUTABLE"),
            PutBackKind::Unpublishable => park("REJECTED"),
            PutBackKind::Unknown => {
                params.push(tx.now().micros().into());
                "lease_until = $4".to_owned()
            }
            // Due again after 0.1, 0.2, 0.3 … s.
            PutBackKind::Rejected => {
                params.push(tx.now().micros().into());
                format!(
                    "publish_attempts = publish_attempts + 1, \
                     state = CASE WHEN publish_attempts + 1 >= {most} THEN 'REJECTED' ELSE 'READY' END, \
                     lease_until = CASE WHEN publish_attempts + 1 >= {most} THEN {PARKED} \
                     ELSE $4 + 100000 * (publish_attempts + 1) END"
                )
            }
        };
        let sql = format!(
            "UPDATE outbox SET {set}, lease_owner = '', last_error = $3 WHERE id = $1 AND lease_owner = $2"
        );
        tx.execute(&sql, params).await.map(|_| ())
    }
}

fn park(state: &str) -> String {
    format!("state = '{state}', publish_attempts = publish_attempts + 1, lease_until = {PARKED}")
}
