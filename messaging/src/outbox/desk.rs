//! The outbox as an operator sees it: what waits, in groups or row by row.

use std::str::FromStr;

use sea_orm::{DbErr, QueryResult, Value};
use uuid::Uuid;

use super::PARKED;
use crate::{Store, StoreError, Timestamp, classify};

/// What a row waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Due: for a relay.
    Ready,
    /// For its moment.
    Delayed,
    /// For the relay that holds it.
    Leased,
    /// For a binding.
    Unroutable,
    /// For a person.
    Rejected,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Delayed, Self::Leased, Self::Unroutable, Self::Rejected];

    /// Its word in commands and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Leased => "leased",
            Self::Unroutable => "unroutable",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| format!("is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The state of a row at moment `$1`, by its word.
const STATE: &str = "CASE WHEN state = 'UNROUTABLE' THEN 'unroutable' WHEN state <> 'READY' THEN 'rejected' \
     WHEN lease_until <= $1 THEN 'ready' WHEN lease_owner = '' THEN 'delayed' ELSE 'leased' END";

/// Rows that wait for the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What for.
    pub state: State,
    /// Where they go.
    pub routing_key: String,
    /// How many.
    pub rows: u64,
    /// When the oldest was written.
    pub oldest: Timestamp,
    /// When the next is due; none where none is by itself.
    pub next_due: Option<Timestamp>,
    /// Why one of them was not published; empty where none was tried.
    pub last_error: String,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: Uuid,
    /// What it waits for.
    pub state: State,
    /// Id of the message.
    pub message_id: String,
    /// Full Protobuf name.
    pub type_name: String,
    /// The dispatch that it belongs to.
    pub correlation_id: String,
    /// Where it goes.
    pub routing_key: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is due; none where it is not by itself.
    pub due: Option<Timestamp>,
    /// How often its publication was refused.
    pub publish_attempts: u64,
    /// Why it was not published; empty where it was not tried.
    pub last_error: String,
}

/// Which rows; all where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these states.
    pub states: Vec<State>,
    /// Only this routing key.
    pub routing_key: Option<String>,
}

impl Filter {
    /// The condition, with the parameters that follow `$1`, the present moment.
    fn condition(&self, now: Timestamp) -> (String, Vec<Value>) {
        let mut params = vec![now.micros().into()];
        let mut condition = "true".to_owned();
        if !self.states.is_empty() {
            // Words of ours, not of whoever asks.
            let words: Vec<String> = self.states.iter().map(|state| format!("'{}'", state.name())).collect();
            condition = format!("{STATE} IN ({})", words.join(", "));
        }
        if let Some(routing_key) = &self.routing_key {
            condition.push_str(" AND routing_key = $2");
            params.push(routing_key.as_str().into());
        }
        (condition, params)
    }
}

/// What waits, by state and routing key. Costs a scan.
pub async fn groups(store: &Store, filter: &Filter) -> Result<Vec<Group>, StoreError> {
    let (condition, params) = filter.condition(store.clock().now());
    let sql = format!(
        "SELECT o.kind, o.routing_key, count(*), min(o.created_at), min(o.lease_until), max(o.last_error) FROM \
         (SELECT {STATE} AS kind, routing_key, created_at, lease_until, last_error FROM outbox \
         WHERE {condition}) o GROUP BY o.kind, o.routing_key ORDER BY o.kind, o.routing_key"
    );
    let read = |row: &QueryResult| -> Result<Group, DbErr> {
        Ok(Group {
            state: state(row, 0)?,
            routing_key: row.try_get_by_index(1)?,
            rows: number(row, 2)?,
            oldest: Timestamp::from_micros(row.try_get_by_index(3)?),
            next_due: due(row, 4)?,
            last_error: row.try_get_by_index(5)?,
        })
    };
    let rows = store.query(&sql, params).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// The oldest rows, at most `most`.
pub async fn rows(store: &Store, filter: &Filter, most: u32) -> Result<Vec<Row>, StoreError> {
    let (condition, mut params) = filter.condition(store.clock().now());
    params.push(i64::from(most).into());
    let sql = format!(
        "SELECT id, {STATE}, message_id, type, correlation_id, routing_key, created_at, lease_until, \
         publish_attempts, last_error FROM outbox WHERE {condition} ORDER BY created_at, id LIMIT ${}",
        params.len()
    );
    let read = |row: &QueryResult| -> Result<Row, DbErr> {
        Ok(Row {
            id: row.try_get_by_index(0)?,
            state: state(row, 1)?,
            message_id: row.try_get_by_index(2)?,
            type_name: row.try_get_by_index(3)?,
            correlation_id: row.try_get_by_index(4)?,
            routing_key: row.try_get_by_index(5)?,
            created_at: Timestamp::from_micros(row.try_get_by_index(6)?),
            due: due(row, 7)?,
            publish_attempts: number(row, 8)?,
            last_error: row.try_get_by_index(9)?,
        })
    };
    let rows = store.query(&sql, params).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

fn state(row: &QueryResult, index: usize) -> Result<State, DbErr> {
    let name: String = row.try_get_by_index(index)?;
    name.parse().map_err(DbErr::Custom)
}

fn number(row: &QueryResult, index: usize) -> Result<u64, DbErr> {
    Ok(u64::try_from(row.try_get_by_index::<i64>(index)?).unwrap_or_default())
}

fn due(row: &QueryResult, index: usize) -> Result<Option<Timestamp>, DbErr> {
    let micros: i64 = row.try_get_by_index(index)?;
    Ok((micros < PARKED).then(|| Timestamp::from_micros(micros)))
}
