//! The inbox: proof that a consumer has handled a message, written in the transaction of its effect,
//! together with the reply it gave. A message that comes again has no second effect and gets the
//! recorded reply again.

mod keep;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bytes::Bytes;

pub use self::keep::keep;
use crate::{All, Column, Rows, StoreError, Tx, classify, slots::Slotted};

/// What a participant answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Full Protobuf name.
    pub type_name: String,
    /// The encoded message.
    pub body: Bytes,
}

/// Which of `message_ids` this consumer has handled, each with the reply it gave.
pub(crate) async fn handled(
    tx: &Tx,
    consumer: &str,
    message_ids: impl Iterator<Item = &str>,
) -> Result<HashMap<String, Option<Reply>>, StoreError> {
    let sql = "SELECT i.message_id, i.reply_type, i.reply_body FROM inbox i \
               WHERE i.consumer = $1 AND i.message_id IN (SELECT id FROM v)";
    let rows = tx.query_rows(&Rows::ids(message_ids), sql, vec![consumer.into()]).await?;
    let read = |row: &sea_orm::QueryResult| -> Result<_, sea_orm::DbErr> {
        let type_name: String = row.try_get_by_index(1)?;
        let body: Vec<u8> = row.try_get_by_index(2)?;
        let reply = (!type_name.is_empty()).then(|| Reply { type_name, body: body.into() });
        Ok((row.try_get_by_index(0)?, reply))
    };
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// Records messages as handled, before the commit. [`StoreError::Conflict`] or [`StoreError::Taken`] comes of it when
/// one of them has been recorded before, or another transaction is at it: then all of this must not happen.
pub(crate) fn record<'a>(
    tx: &Tx,
    consumer: &str,
    handled: impl Iterator<Item = (&'a str, Option<&'a Reply>)>,
) {
    let columns: &[_] = &[("id", Column::Text), ("reply_type", Column::Text), ("reply_body", Column::Bytes)];
    let mut rows = Rows::new(columns);
    for (message_id, reply) in handled {
        let (kind, body) = reply.map_or(("", Vec::new()), |r| (r.type_name.as_str(), r.body.to_vec()));
        rows.push(vec![message_id.into(), kind.into(), body.into()]);
    }
    let all = All { or_else: "a message was handled before, or is being handled twice at once" };
    tx.execute_later(rows, insert(tx), vec![consumer.into(), tx.now().micros().into()], Some(all));
}

/// Takes the proof back that a message was handled: it was put aside instead, and has come to nothing.
pub async fn forget(tx: &Tx, consumer: &str, message_id: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM inbox WHERE consumer = $1 AND message_id = $2";
    tx.execute(sql, vec![consumer.into(), message_id.into()]).await.map(|_| ())
}

/// Writes to the slot that was open when the transaction began, and writes nothing when it is not open any
/// more, or what another slot has already; what this slot has already, its key refuses. `slots.open` waits for all who
/// write to the slot before it opens another; so while the slot is open, what is seen is all that other slots will ever
/// have. That this check sees the latest state rests on PostgreSQL taking a statement's table locks before its
/// snapshot.
fn insert(tx: &Tx) -> String {
    let slot = tx.inbox_slot();
    let table = Slotted::Inbox.table(tx.backend(), slot);
    let new = if table == Slotted::Inbox.name() {
        "true".to_owned()
    } else {
        format!(
            "(SELECT slot FROM slots WHERE name = 'inbox' AND state = 'OPEN') = {slot} AND NOT EXISTS \
             (SELECT 1 FROM inbox i WHERE i.consumer = $1 AND i.message_id = v.id AND i.slot <> {slot})"
        )
    };
    format!(
        "INSERT INTO {table} (consumer, message_id, received_at, reply_type, reply_body) \
         SELECT $1, id, $2, reply_type, reply_body FROM v WHERE {new}"
    )
}
