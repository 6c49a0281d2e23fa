//! Dead letters as an operator sees them: in groups, row by row, or one whole.

use std::str::FromStr;

use sea_orm::{DbErr, QueryResult, Value};
use uuid::Uuid;

use super::DeadLetterKind;
use crate::{Envelope, Store, StoreError, Timestamp, TraceContext, classify};

/// Groups that are told at most.
const GROUPS: i64 = 1_000;

/// What was done about a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Dead,
    /// It was sent again.
    Replayed,
    /// It was given up.
    Discarded,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dead, Self::Replayed, Self::Discarded];

    /// As the table stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "DEAD",
            Self::Replayed => "REPLAYED",
            Self::Discarded => "DISCARDED",
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| format!("{name} is no state of a dead letter"))
    }
}

/// Which letters; all where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these.
    pub ids: Vec<Uuid>,
    /// Only in these states.
    pub states: Vec<State>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only of this type.
    pub type_name: Option<String>,
    /// Only of this kind.
    pub kind: Option<DeadLetterKind>,
    /// Only for this very reason.
    pub reason: Option<String>,
    /// Only of this dispatch.
    pub correlation_id: Option<String>,
}

impl Filter {
    /// The condition on `dead_letters d`; its parameters are added to `params`.
    pub(super) fn condition(&self, params: &mut Vec<Value>) -> String {
        let mut conditions = vec!["true".to_owned()];
        if !self.states.is_empty() {
            // Words of ours, not of whoever asks.
            let words: Vec<String> = self.states.iter().map(|state| format!("'{}'", state.name())).collect();
            conditions.push(format!("d.state IN ({})", words.join(", ")));
        }
        if !self.ids.is_empty() {
            let first = params.len() + 1;
            params.extend(self.ids.iter().map(|id| Value::from(*id)));
            let numbers: Vec<String> = (first..=params.len()).map(|number| format!("${number}")).collect();
            conditions.push(format!("d.id IN ({})", numbers.join(", ")));
        }
        let kind = self.kind.map(DeadLetterKind::name);
        for (column, value) in [
            ("queue", self.queue.as_deref()),
            ("type", self.type_name.as_deref()),
            ("kind", kind),
            ("reason", self.reason.as_deref()),
            ("correlation_id", self.correlation_id.as_deref()),
        ] {
            if let Some(value) = value {
                params.push(value.into());
                conditions.push(format!("d.{column} = ${}", params.len()));
            }
        }
        conditions.join(" AND ")
    }
}

/// Letters of one queue, type, kind and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Queue that they were consumed from, without the prefix.
    pub queue: String,
    /// Full Protobuf name.
    pub type_name: String,
    /// What kind of death.
    pub kind: DeadLetterKind,
    /// What the handler said.
    pub reason: String,
    /// How many.
    pub letters: u64,
    /// When the first of them died for the first time.
    pub first_at: Timestamp,
    /// When one of them died last.
    pub last_at: Timestamp,
}

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its id. Sorts by when it died first.
    pub id: Uuid,
    /// Queue that it was consumed from, without the prefix.
    pub queue: String,
    /// How it had been routed.
    pub routing_key: String,
    /// The message; without its body in a list.
    pub envelope: Envelope,
    /// Bytes of the body.
    pub size: u64,
    /// What kind of death.
    pub kind: DeadLetterKind,
    /// What the handler said.
    pub reason: String,
    /// How often it died.
    pub times: u64,
    /// When for the first time.
    pub first_at: Timestamp,
    /// When last.
    pub dead_at: Timestamp,
    /// What was done about it.
    pub state: State,
    /// When.
    pub resolved_at: Timestamp,
    /// By whom.
    pub resolved_by: String,
    /// Why.
    pub resolution: String,
    /// The inbox of its consumer has it: sent again it is answered from there and does nothing.
    pub recorded: bool,
}

/// A body that an operator has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldBody {
    /// When it was replaced.
    pub at: Timestamp,
    /// By whom.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// As it was until then.
    pub body: Vec<u8>,
}

/// How many letters a filter matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// All of them.
    pub letters: u64,
    /// Those that the inbox of their consumer has.
    pub recorded: u64,
    /// Those that died first before the given moment.
    pub early: u64,
    /// The newest.
    pub last: Option<Uuid>,
}

/// Whether the inbox has a letter's message. Consumers are named there as their queues are.
const RECORDED: &str =
    "(SELECT count(*) FROM inbox i WHERE i.consumer = d.queue AND i.message_id = d.message_id)";

/// The body's type without its bytes. SQLite makes NULL of a part of an empty one.
const NO_BODY: &str = "coalesce(substr(d.body, 1, 0), d.body)";

/// Every column of a letter, with the expression for its body.
pub(super) fn columns(body: &str) -> String {
    format!(
        "d.id, d.queue, d.routing_key, d.message_id, d.type, d.correlation_id, d.causation_id, d.reply_to, \
         d.traceparent, d.tracestate, d.attempt, {body}, CAST(length(d.body) AS bigint), d.kind, d.reason, d.times, \
         d.first_at, d.dead_at, d.state, d.resolved_at, d.resolved_by, d.resolution, {RECORDED}"
    )
}

/// Letters by queue, type, kind and reason, the most frequent first; at most 1000 groups.
pub async fn groups(store: &Store, filter: &Filter) -> Result<Vec<Group>, StoreError> {
    let mut params = Vec::new();
    let condition = filter.condition(&mut params);
    let sql = format!(
        "SELECT d.queue, d.type, d.kind, d.reason, count(*), min(d.first_at), max(d.dead_at) FROM dead_letters d \
         WHERE {condition} GROUP BY d.queue, d.type, d.kind, d.reason \
         ORDER BY count(*) DESC, d.queue, d.type, d.kind, d.reason LIMIT {GROUPS}"
    );
    let read = |row: &QueryResult| -> Result<Group, DbErr> {
        Ok(Group {
            queue: row.try_get_by_index(0)?,
            type_name: row.try_get_by_index(1)?,
            kind: kind(row, 2)?,
            reason: row.try_get_by_index(3)?,
            letters: number(row, 4)?,
            first_at: moment(row, 5)?,
            last_at: moment(row, 6)?,
        })
    };
    let rows = store.query(&sql, params).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// The newest letters, at most `most`, before the one of id `before` where that is given. Without their bodies.
pub async fn rows(
    store: &Store,
    filter: &Filter,
    before: Option<Uuid>,
    most: u32,
) -> Result<Vec<Letter>, StoreError> {
    let mut params = vec![before.unwrap_or(Uuid::max()).into(), i64::from(most).into()];
    let condition = filter.condition(&mut params);
    let sql = format!(
        "SELECT {} FROM dead_letters d WHERE d.id < $1 AND {condition} ORDER BY d.id DESC LIMIT $2",
        columns(NO_BODY)
    );
    read_all(&store.query(&sql, params).await?)
}

/// One letter, whole.
pub async fn letter(store: &Store, id: Uuid) -> Result<Option<Letter>, StoreError> {
    let sql = format!("SELECT {} FROM dead_letters d WHERE d.id = $1", columns("d.body"));
    let found = read_all(&store.query(&sql, vec![id.into()]).await?)?;
    Ok(found.into_iter().next())
}

/// The bodies that a letter had before it was edited, oldest first.
pub async fn old_bodies(store: &Store, id: Uuid) -> Result<Vec<OldBody>, StoreError> {
    let sql = "SELECT at, operator, reason, body FROM dead_letter_bodies WHERE letter_id = $1 ORDER BY id";
    let read = |row: &QueryResult| -> Result<OldBody, DbErr> {
        Ok(OldBody {
            at: moment(row, 0)?,
            operator: row.try_get_by_index(1)?,
            reason: row.try_get_by_index(2)?,
            body: row.try_get_by_index(3)?,
        })
    };
    let rows = store.query(sql, vec![id.into()]).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// Counts letters; `early` are those that died first before that moment.
pub async fn count(store: &Store, filter: &Filter, early: Timestamp) -> Result<Matched, StoreError> {
    // First, so that all that is counted and has come since lies beyond it.
    let last = rows(store, filter, None, 1).await?.first().map(|letter| letter.id);
    let Some(upto) = last else { return Ok(Matched::default()) };
    let mut params = vec![early.micros().into(), upto.into()];
    let condition = filter.condition(&mut params);
    let sql = format!(
        "SELECT count(*), count(CASE WHEN {RECORDED} > 0 THEN 1 END), count(CASE WHEN d.first_at < $1 THEN 1 END) \
         FROM dead_letters d WHERE d.id <= $2 AND {condition}"
    );
    let counted = store.query(&sql, params).await?;
    let read = |row: &QueryResult| -> Result<Matched, DbErr> {
        Ok(Matched { letters: number(row, 0)?, recorded: number(row, 1)?, early: number(row, 2)?, last })
    };
    counted.first().map_or(Ok(Matched::default()), |row| read(row).map_err(|e| classify(&e)))
}

pub(super) fn read_all(rows: &[QueryResult]) -> Result<Vec<Letter>, StoreError> {
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

fn read(row: &QueryResult) -> Result<Letter, DbErr> {
    let state: String = row.try_get_by_index(18)?;
    Ok(Letter {
        id: row.try_get_by_index(0)?,
        queue: row.try_get_by_index(1)?,
        routing_key: row.try_get_by_index(2)?,
        envelope: envelope(row)?,
        size: number(row, 12)?,
        kind: kind(row, 13)?,
        reason: row.try_get_by_index(14)?,
        times: number(row, 15)?,
        first_at: moment(row, 16)?,
        dead_at: moment(row, 17)?,
        state: state.parse().map_err(DbErr::Custom)?,
        resolved_at: moment(row, 19)?,
        resolved_by: row.try_get_by_index(20)?,
        resolution: row.try_get_by_index(21)?,
        recorded: number(row, 22)? > 0,
    })
}

fn envelope(row: &QueryResult) -> Result<Envelope, DbErr> {
    Ok(Envelope {
        message_id: row.try_get_by_index(3)?,
        type_name: row.try_get_by_index(4)?,
        correlation_id: row.try_get_by_index(5)?,
        causation_id: row.try_get_by_index(6)?,
        reply_to: row.try_get_by_index(7)?,
        trace: TraceContext { traceparent: row.try_get_by_index(8)?, tracestate: row.try_get_by_index(9)? },
        attempt: u32::try_from(number(row, 10)?).unwrap_or(u32::MAX),
        body: row.try_get_by_index::<Vec<u8>>(11)?.into(),
    })
}

fn kind(row: &QueryResult, index: usize) -> Result<DeadLetterKind, DbErr> {
    let name: String = row.try_get_by_index(index)?;
    let found = DeadLetterKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| DbErr::Custom(format!("{name} is no kind of dead letter")))
}

fn number(row: &QueryResult, index: usize) -> Result<u64, DbErr> {
    Ok(u64::try_from(row.try_get_by_index::<i64>(index)?).unwrap_or_default())
}

fn moment(row: &QueryResult, index: usize) -> Result<Timestamp, DbErr> {
    Ok(Timestamp::from_micros(row.try_get_by_index(index)?))
}
