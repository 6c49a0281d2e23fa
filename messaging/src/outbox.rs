//! The outbox: messages that were decided in a transaction and are not yet confirmed by the broker.
//!
//! A row lives from the commit that wrote it until its publication is confirmed. Who may publish it is
//! settled by a lease: the process that wrote it gets the first one together with the row, and only when
//! that has run out may a sweep claim it for somebody else. Every change of a row names the owner of the
//! lease, so that a relay that stalled cannot undo what its successor did.

use std::time::Duration;

use bytes::Bytes;
use sea_orm::{DbErr, QueryResult, Value};
use uuid::Uuid;

use crate::{
    Column, Envelope, Exchange, Outgoing, Rows, Store, StoreError, Timestamp, TraceContext, Transaction, Tx,
    store::classify,
};

const COLUMNS: &[(&str, Column)] = &[
    ("id", Column::Uuid),
    ("message_id", Column::Text),
    ("type", Column::Text),
    ("exchange", Column::Text),
    ("routing_key", Column::Text),
    ("correlation_id", Column::Text),
    ("causation_id", Column::Text),
    ("reply_to", Column::Text),
    ("traceparent", Column::Text),
    ("tracestate", Column::Text),
    ("attempt", Column::Int),
    ("body", Column::Bytes),
    ("available_at", Column::Int),
    ("lease_owner", Column::Text),
    ("lease_until", Column::Int),
];

const INSERT: &str = "INSERT INTO outbox (id, message_id, type, exchange, routing_key, correlation_id, \
     causation_id, reply_to, traceparent, tracestate, attempt, body, created_at, available_at, state, \
     lease_owner, lease_until, publish_attempts, last_error) \
     SELECT id, message_id, type, exchange, routing_key, correlation_id, causation_id, reply_to, \
     traceparent, tracestate, attempt, body, $1, available_at, 'READY', lease_owner, lease_until, 0, '' FROM v";

/// Appends messages within a transaction. They are published after its commit and only then: by this
/// process at once where its relay has room, else by the next sweep.
pub async fn append(tx: &Tx, messages: Vec<Outgoing>) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    let (due, delayed): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| m.available_at <= now);
    let reservation = if due.is_empty() { None } else { tx.reserve(due.len()) };
    let mut rows = Rows::new(COLUMNS);
    for message in &due {
        let lease = reservation.as_ref().map_or(("", now), |r| (r.owner(), r.lease_until()));
        rows.push(row(message, now, lease));
    }
    for message in &delayed {
        rows.push(row(message, message.available_at, ("", message.available_at)));
    }
    tx.execute_rows(&rows, INSERT, vec![now.micros().into()]).await?;
    if let Some(reservation) = reservation {
        tx.hand_over(reservation, due);
    }
    Ok(())
}

fn row(message: &Outgoing, available_at: Timestamp, lease: (&str, Timestamp)) -> Vec<Value> {
    let envelope = &message.envelope;
    vec![
        message.id.into(),
        envelope.message_id.as_str().into(),
        envelope.type_name.as_str().into(),
        message.exchange.name().into(),
        message.routing_key.as_str().into(),
        envelope.correlation_id.as_str().into(),
        envelope.causation_id.as_str().into(),
        envelope.reply_to.as_str().into(),
        envelope.trace.traceparent.as_str().into(),
        envelope.trace.tracestate.as_str().into(),
        i64::from(envelope.attempt).into(),
        envelope.body.to_vec().into(),
        available_at.micros().into(),
        lease.0.into(),
        lease.1.micros().into(),
    ]
}

/// Takes rows that are due and that nobody holds.
pub(crate) struct Claim {
    pub(crate) owner: String,
    pub(crate) lease_until: Timestamp,
    pub(crate) most: usize,
}

impl Transaction for Claim {
    const NAME: &'static str = "outbox.claim";
    type Output = Vec<Outgoing>;

    async fn run(&self, tx: &Tx) -> Result<Self::Output, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "UPDATE outbox SET lease_owner = $1, lease_until = $2 WHERE id IN \
             (SELECT id FROM outbox WHERE lease_until <= $3 ORDER BY lease_until LIMIT $4 {lock}) \
             RETURNING id, message_id, type, exchange, routing_key, correlation_id, causation_id, reply_to, \
             traceparent, tracestate, attempt, body"
        );
        let most = i64::try_from(self.most).unwrap_or(i64::MAX);
        let params = vec![
            self.owner.as_str().into(),
            self.lease_until.micros().into(),
            tx.now().micros().into(),
            most.into(),
        ];
        let rows = tx.query(&sql, params).await?;
        rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
    }
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

/// What has become of rows whose publication has an outcome.
#[derive(Default)]
pub(crate) struct Settle {
    pub(crate) owner: String,
    /// Confirmed and routed: they go.
    pub(crate) confirmed: Vec<Uuid>,
    /// Not published; each with its next state, the moment of the next try, and why.
    pub(crate) put_back: Vec<PutBack>,
}

/// A row that stays, and when it is tried again.
#[derive(Clone, Debug)]
pub(crate) struct PutBack {
    pub(crate) id: Uuid,
    pub(crate) reason: String,
    pub(crate) kind: PutBackKind,
}

/// Why a row stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutBackKind {
    /// No queue takes it: parked, and tried again now and then, until a binding is back.
    Unroutable,
    /// The broker said no. Tried again, a bounded number of times, then parked for a person.
    Rejected,
    /// It can never be published: parked for a person.
    Unpublishable,
    /// Nothing was heard or nothing was tried: due again at once, and no attempt is counted.
    Unknown,
}

/// An unroutable row waits 1, 2, 3 and 4 s, then always this many microseconds, before it is tried again.
const UNROUTABLE_PAUSE: i64 = 5_000_000;
/// Parked for a person: far enough away that no sweep sees it.
const FOR_EVER: i64 = i64::MAX;

impl Transaction for Settle {
    const NAME: &'static str = "outbox.settle";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let mut gone = Rows::new(&[("id", Column::Uuid)]);
        self.confirmed.iter().for_each(|id| gone.push(vec![(*id).into()]));
        let delete = "DELETE FROM outbox WHERE lease_owner = $1 AND id IN (SELECT id FROM v)";
        tx.execute_rows(&gone, delete, vec![self.owner.as_str().into()]).await?;
        for row in &self.put_back {
            put_back(tx, &self.owner, row).await?;
        }
        Ok(())
    }
}

async fn put_back(tx: &Tx, owner: &str, row: &PutBack) -> Result<(), StoreError> {
    let set = match row.kind {
        PutBackKind::Unknown => "lease_until = $3".to_owned(),
        PutBackKind::Unpublishable => {
            format!("state = 'REJECTED', lease_until = CASE WHEN $3 > 0 THEN {FOR_EVER} ELSE 0 END")
        }
        PutBackKind::Unroutable => format!(
            "state = 'UNROUTABLE', publish_attempts = publish_attempts + 1, lease_until = $3 + \
             CASE WHEN publish_attempts < 4 THEN 1000000 * (publish_attempts + 1) ELSE {UNROUTABLE_PAUSE} END"
        ),
        PutBackKind::Rejected => format!(
            "publish_attempts = publish_attempts + 1, \
             state = CASE WHEN publish_attempts + 1 >= {MAX_REJECTIONS} THEN 'REJECTED' ELSE 'READY' END, \
             lease_until = CASE WHEN publish_attempts + 1 >= {MAX_REJECTIONS} THEN {FOR_EVER} \
             ELSE $3 + 100000 * (publish_attempts + 1) END"
        ),
    };
    let sql = format!(
        "UPDATE outbox SET {set}, lease_owner = '', last_error = $4 WHERE id = $1 AND lease_owner = $2"
    );
    let now = tx.now().micros();
    tx.execute(&sql, vec![row.id.into(), owner.into(), now.into(), row.reason.as_str().into()])
        .await
        .map(|_| ())
}

/// A broker that says no this often to one message means it.
const MAX_REJECTIONS: i64 = 10;

/// How full the outbox is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Rows of every state.
    pub rows: u64,
    /// Rows that are due and not parked.
    pub ready: u64,
    /// Rows that no queue takes, or that the broker refuses.
    pub parked: u64,
    /// Age of the oldest ready row.
    pub oldest: Duration,
}

/// Counts the outbox. Costs a scan of it, which is short as long as the relay keeps up.
pub async fn depth(store: &Store) -> Result<Depth, StoreError> {
    let now = store.clock().now();
    let sql = "SELECT count(*), count(CASE WHEN state = 'READY' AND available_at <= $1 THEN 1 END), \
               count(CASE WHEN state <> 'READY' THEN 1 END), \
               coalesce(min(CASE WHEN state = 'READY' AND available_at <= $1 THEN available_at END), $1) FROM outbox";
    let rows = store.query(sql, vec![now.micros().into()]).await?;
    let number = |index| -> Result<i64, StoreError> {
        rows.first().map_or(Ok(0), |row| row.try_get_by_index(index).map_err(|e| classify(&e)))
    };
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(Depth {
        rows: count(number(0)?),
        ready: count(number(1)?),
        parked: count(number(2)?),
        oldest: now.since(Timestamp::from_micros(number(3)?)),
    })
}
