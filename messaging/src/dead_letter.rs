//! Dead letters: messages that could not be handled, kept whole, with the reason, until a person has
//! looked at them.

pub mod desk;
mod resolve;
mod take_apart;

use sea_orm::{DbErr, QueryResult};
use uuid::Uuid;

pub use self::resolve::{Take, edit, replay, resolve};
pub(crate) use self::take_apart::TakeApart;
use crate::{Envelope, Store, StoreError, Timestamp, Tx, classify};

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterKind {
    /// It can never be handled: malformed, of an unknown type, invalid.
    Permanent,
    /// It was tried as often as the policy allows.
    Exhausted,
    /// The broker gave it up, at its delivery limit.
    Broker,
}

impl DeadLetterKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Permanent, Self::Exhausted, Self::Broker];

    /// As the table stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permanent => "PERMANENT",
            Self::Exhausted => "EXHAUSTED",
            Self::Broker => "BROKER",
        }
    }
}

/// A message on its way into `dead_letters`.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Queue that it was consumed from, without the prefix.
    pub queue: String,
    /// How it had been routed.
    pub routing_key: String,
    /// The message.
    pub envelope: Envelope,
    /// What kind of death.
    pub kind: DeadLetterKind,
    /// What the handler said.
    pub reason: String,
}

/// Writes one dead letter. The same message again is counted on the row that is there, which is dead again
/// whatever was done about it.
pub async fn bury(tx: &Tx, letter: &DeadLetter) -> Result<(), StoreError> {
    let sql = "INSERT INTO dead_letters (id, queue, message_id, type, routing_key, correlation_id, \
         causation_id, reply_to, traceparent, tracestate, attempt, body, kind, reason, times, first_at, dead_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $15) \
         ON CONFLICT (queue, message_id) DO UPDATE SET times = dead_letters.times + 1, dead_at = excluded.dead_at, \
         kind = excluded.kind, reason = excluded.reason, attempt = excluded.attempt, body = excluded.body, \
         state = 'DEAD', resolved_at = 0, resolved_by = '', resolution = ''";
    let DeadLetter { queue, routing_key, envelope, kind, reason } = letter;
    let id = Uuid::now_v7();
    // What came without an id is nobody's duplicate.
    let message_id =
        if envelope.message_id.is_empty() { id.to_string() } else { envelope.message_id.clone() };
    let params = vec![
        id.into(),
        queue.as_str().into(),
        message_id.into(),
        envelope.type_name.as_str().into(),
        routing_key.as_str().into(),
        envelope.correlation_id.as_str().into(),
        envelope.causation_id.as_str().into(),
        envelope.reply_to.as_str().into(),
        envelope.trace.traceparent.as_str().into(),
        envelope.trace.tracestate.as_str().into(),
        i64::from(envelope.attempt).into(),
        envelope.body.to_vec().into(),
        kind.name().into(),
        reason.as_str().into(),
        tx.now().micros().into(),
    ];
    tx.execute(sql, params).await.map(|_| ())
}

/// A dead letter, for a person who asks what has become of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died {
    /// Queue that it was consumed from.
    pub queue: String,
    /// Full Protobuf name.
    pub type_name: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The dead letters of one `correlation_id` about which nothing was done yet, newest first.
pub async fn about(store: &Store, correlation_id: &str) -> Result<Vec<Died>, StoreError> {
    let sql = "SELECT queue, type, reason, dead_at FROM dead_letters WHERE correlation_id = $1 AND state = 'DEAD' \
               ORDER BY dead_at DESC LIMIT 20";
    let rows = store.query(sql, vec![correlation_id.into()]).await?;
    let read = |row: &QueryResult| -> Result<Died, DbErr> {
        Ok(Died {
            queue: row.try_get_by_index(0)?,
            type_name: row.try_get_by_index(1)?,
            reason: row.try_get_by_index(2)?,
            at: Timestamp::from_micros(row.try_get_by_index(3)?),
        })
    };
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}
