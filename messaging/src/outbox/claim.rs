//! Taking rows from the table for a while.

use bytes::Bytes;
use sea_orm::{DbErr, QueryResult};

use crate::{
    Envelope, Exchange, Outgoing, StoreError, Timestamp, TraceContext, Transaction, Tx, classify,
    relay::Lane, slots::Slotted,
};

/// What a claim returns of a row, in the order in which [`read`] takes it.
pub(super) const RETURNED: &str = "id, message_id, type, exchange, routing_key, correlation_id, causation_id, \
     reply_to, traceparent, tracestate, attempt, body";

/// What may be taken, for whom and until when.
pub(crate) struct Lot {
    /// Only rows of this slot.
    pub(crate) slot: i64,
    pub(crate) owner: String,
    pub(crate) lease_until: Timestamp,
    /// Rows of other lanes are left alone.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) most: usize,
}

/// Takes rows that are due and that nobody holds.
pub(crate) struct Claim(pub(crate) Lot);

impl Transaction for Claim {
    const NAME: &'static str = "outbox.claim";
    type Output = Vec<Outgoing>;

    async fn run(&self, tx: &Tx) -> Result<Self::Output, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let table = Slotted::Outbox.table(tx.backend(), self.0.slot);
        let sql = format!(
            "UPDATE {table} SET lease_owner = $1, lease_until = $2 WHERE id IN \
             (SELECT id FROM {table} WHERE lease_until <= $3 AND {lanes} ORDER BY lease_until LIMIT $4 {lock}) \
             RETURNING {RETURNED}",
            lanes = Lane::any_of(&self.0.lanes),
        );
        let most = i64::try_from(self.0.most).unwrap_or(i64::MAX);
        let params = vec![
            self.0.owner.as_str().into(),
            self.0.lease_until.micros().into(),
            tx.now().micros().into(),
            most.into(),
        ];
        read_all(&tx.query(&sql, params).await?)
    }
}

/// The messages of claimed rows.
pub(super) fn read_all(rows: &[QueryResult]) -> Result<Vec<Outgoing>, StoreError> {
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

fn read(row: &QueryResult) -> Result<Outgoing, DbErr> {
    let name: String = row.try_get_by_index(3)?;
    let exchange = Exchange::from_name(&name)
        .ok_or_else(|| DbErr::Custom(format!("outbox row for unknown exchange {name:?}")))?;
    Ok(Outgoing {
        id: row.try_get_by_index(0)?,
        exchange,
        routing_key: row.try_get_by_index(4)?,
        available_at: Timestamp::default(),
        envelope: Envelope {
            message_id: row.try_get_by_index(1)?,
            type_name: row.try_get_by_index(2)?,
            correlation_id: row.try_get_by_index(5)?,
            causation_id: row.try_get_by_index(6)?,
            reply_to: row.try_get_by_index(7)?,
            trace: TraceContext {
                traceparent: row.try_get_by_index(8)?,
                tracestate: row.try_get_by_index(9)?,
            },
            attempt: u32::try_from(row.try_get_by_index::<i64>(10)?).unwrap_or(1),
            body: Bytes::from(row.try_get_by_index::<Vec<u8>>(11)?),
        },
    })
}
