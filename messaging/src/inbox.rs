//! The inbox: proof that a consumer has handled a message, written in the transaction of its effect,
//! together with the reply it gave. A message that comes again has no second effect and gets the
//! recorded reply again.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{Column, Rows, StoreError, Timestamp, Transaction, Tx, store::classify};

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
    let sql = "SELECT i.message_id, i.reply_type, i.reply_body FROM v JOIN inbox i \
               ON i.consumer = $1 AND i.message_id = v.id";
    let rows = tx.query_rows(&Rows::ids(message_ids), sql, vec![consumer.into()]).await?;
    let read = |row: &sea_orm::QueryResult| -> Result<_, sea_orm::DbErr> {
        let type_name: String = row.try_get_by_index(1)?;
        let body: Vec<u8> = row.try_get_by_index(2)?;
        let reply = (!type_name.is_empty()).then(|| Reply { type_name, body: body.into() });
        Ok((row.try_get_by_index(0)?, reply))
    };
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// Records messages as handled. [`StoreError::Conflict`] when another transaction has recorded one of
/// them since [`handled`] was asked: then all of this must not happen.
pub(crate) async fn record<'a>(
    tx: &Tx,
    consumer: &str,
    handled: impl Iterator<Item = (&'a str, Option<&'a Reply>)>,
) -> Result<(), StoreError> {
    let columns: &[_] = &[("id", Column::Text), ("reply_type", Column::Text), ("reply_body", Column::Bytes)];
    let mut rows = Rows::new(columns);
    for (message_id, reply) in handled {
        let (kind, body) = reply.map_or(("", Vec::new()), |r| (r.type_name.as_str(), r.body.to_vec()));
        rows.push(vec![message_id.into(), kind.into(), body.into()]);
    }
    let sql = "INSERT INTO inbox (consumer, message_id, received_at, reply_type, reply_body) \
               SELECT $1, id, $2, reply_type, reply_body FROM v WHERE true ON CONFLICT DO NOTHING";
    let written = tx.execute_rows(&rows, sql, vec![consumer.into(), tx.now().micros().into()]).await?;
    if written < rows.len() as u64 {
        return Err(StoreError::Conflict(format!("{consumer}: a message is being handled twice at once")));
    }
    Ok(())
}

/// Forgets the oldest messages and says how many it forgot.
#[derive(Clone, Copy, Debug)]
pub struct Forget {
    /// Received before this moment.
    pub before: Timestamp,
    /// No more than this many.
    pub most: u32,
}

impl Transaction for Forget {
    const NAME: &'static str = "inbox.forget";
    type Output = u64;

    async fn run(&self, tx: &Tx) -> Result<u64, StoreError> {
        let sql = "DELETE FROM inbox WHERE (consumer, message_id) IN (SELECT consumer, message_id FROM inbox \
                   WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
        tx.execute(sql, vec![self.before.micros().into(), i64::from(self.most).into()]).await
    }
}
