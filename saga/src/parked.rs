//! Messages for instances of a version that this process does not know, or of something that is paused: they
//! are parked in the transaction that consumes them, and taken from there by a process that knows the version,
//! or when the pause is lifted. So a rolling upgrade may be rolled back at any moment: what has begun with
//! the newer version waits, and nothing is guessed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sea_orm::{DbErr, QueryResult, Value};
use tokio::time::Instant;
use waybill_messaging::{
    Column, Envelope, Handler, Received, Rows, Store, StoreError, TraceContext, Transaction, Tx, classify,
    dead_letter::{self, DeadLetter, DeadLetterKind},
    inbox,
};

use crate::{
    Definitions, Orchestrator,
    pause::{Held, Scope},
    persist,
    shell::Shell,
};

/// Messages taken in one transaction, at most.
const PAGE: i64 = 200;
const REPORT: Duration = Duration::from_secs(10);

const COLUMNS: &[(&str, Column)] = &[
    ("dispatch_id", Column::Text),
    ("message_id", Column::Text),
    ("type", Column::Text),
    ("body", Column::Bytes),
    ("traceparent", Column::Text),
    ("tracestate", Column::Text),
    ("definition", Column::Text),
    ("definition_version", Column::Int),
    ("definition_hash", Column::Text),
    ("parked_at", Column::Int),
    ("held_by", Column::Text),
];

/// The row of a message for an instance that is `pinned` so, under the pause of that scope or none.
pub(crate) fn row(
    pinned: &(String, u32, String),
    envelope: &Envelope,
    trace: &TraceContext,
    held_by: Option<&Scope>,
    tx: &Tx,
) -> Vec<Value> {
    let (name, version, hash) = pinned;
    vec![
        envelope.correlation_id.as_str().into(),
        envelope.message_id.as_str().into(),
        envelope.type_name.as_str().into(),
        envelope.body.to_vec().into(),
        trace.traceparent.as_str().into(),
        trace.tracestate.as_str().into(),
        name.as_str().into(),
        i64::from(*version).into(),
        hash.as_str().into(),
        tx.now().micros().into(),
        held_by.map(Scope::to_string).unwrap_or_default().into(),
    ]
}

/// Writes them, before the commit.
pub(crate) fn park(tx: &Tx, rows: Vec<Vec<Value>>) {
    let mut set = Rows::new(COLUMNS);
    for row in rows {
        set.push(row);
    }
    let names = COLUMNS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let sql =
        format!("INSERT INTO saga_parked ({names}) SELECT {names} FROM v WHERE true ON CONFLICT DO NOTHING");
    tx.execute_later(set, sql, Vec::new(), None);
}

/// Handles what is parked for the definitions that are live here, at most a page of each, and says whether
/// there may be more.
pub async fn take(store: &Store, orchestrator: &Orchestrator) -> Result<bool, StoreError> {
    let mut more = false;
    for (hash, definition) in orchestrator.definitions().live() {
        let of = [definition.name.into(), i64::from(definition.version).into(), hash.into()];
        let sql = format!("SELECT 1 FROM saga_parked p WHERE {OF} LIMIT 1");
        if !store.query(&sql, of.to_vec()).await?.is_empty() {
            more |= store.run(Take { orchestrator: orchestrator.clone(), of }).await? >= PAGE;
        }
    }
    Ok(more)
}

const OF: &str =
    "p.definition = $1 AND p.definition_version = $2 AND p.definition_hash = $3 AND p.held_by = ''";

struct Take {
    orchestrator: Orchestrator,
    of: [Value; 3],
}

impl Transaction for Take {
    const NAME: &'static str = "saga.unpark";
    type Output = i64;

    async fn run(&self, tx: &Tx) -> Result<i64, StoreError> {
        take_some(tx, &self.orchestrator, OF, self.of.to_vec(), PAGE).await
    }
}

/// Handles what is parked under a pause that is being lifted, at most `most`, and says how many that were.
pub(crate) async fn take_held(
    tx: &Tx,
    orchestrator: &Orchestrator,
    scope: &str,
    most: i64,
) -> Result<i64, StoreError> {
    take_some(tx, orchestrator, "p.held_by = $1", vec![scope.into()], most).await
}

async fn take_some(
    tx: &Tx,
    orchestrator: &Orchestrator,
    which: &str,
    params: Vec<Value>,
    most: i64,
) -> Result<i64, StoreError> {
    let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "SELECT p.dispatch_id, p.message_id, p.type, p.body, p.traceparent, p.tracestate FROM saga_parked p \
         WHERE {which} ORDER BY p.parked_at, p.message_id LIMIT {most} {lock}"
    );
    let held = orchestrator.held(tx).await?;
    let rows = tx.query(&sql, params).await?;
    let parked = rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect::<Result<Vec<_>, _>>()?;
    let ids = parked.iter().map(|envelope| envelope.correlation_id.as_str());
    let loaded = persist::load(tx, ids.collect::<BTreeSet<_>>().into_iter()).await?;
    let mut shell = Shell::new(orchestrator.definitions(), loaded.into_values());
    let mut taken = Rows::new(&[("dispatch_id", Column::Text), ("message_id", Column::Text)]);
    for envelope in parked {
        taken.push(vec![envelope.correlation_id.as_str().into(), envelope.message_id.as_str().into()]);
        handle(orchestrator, &mut shell, &held, envelope, tx).await?;
    }
    // First, because what is held up by something else now is parked anew.
    let delete =
        "DELETE FROM saga_parked WHERE (dispatch_id, message_id) IN (SELECT dispatch_id, message_id FROM v)";
    tx.execute_rows(&taken, delete, Vec::new()).await?;
    shell.store(tx);
    tx.write_later().await?;
    Ok(i64::try_from(taken.len()).unwrap_or(i64::MAX))
}

/// What cannot be handled although its version is known never will be.
async fn handle(
    orchestrator: &Orchestrator,
    shell: &mut Shell<'_>,
    held: &Held,
    envelope: Envelope,
    tx: &Tx,
) -> Result<(), StoreError> {
    let trace = envelope.trace.clone();
    let handled = orchestrator.parse(&envelope).and_then(|message| {
        let received = Received { envelope: envelope.clone(), message, trace, packed: false };
        orchestrator.step(shell, held, &received, tx)
    });
    let Err(failure) = handled else { return Ok(()) };
    let reason = failure.to_string();
    tracing::error!(dispatch_id = envelope.correlation_id, reason, "dead-lettered");
    let (queue, routing_key) = ("saga".to_owned(), "saga.reply".to_owned());
    let letter = DeadLetter { queue, routing_key, envelope, kind: DeadLetterKind::Permanent, reason };
    // It counted as handled when it was parked. Unless that is taken back, sending it again does nothing.
    inbox::forget(tx, "saga", &letter.envelope.message_id).await?;
    dead_letter::bury(tx, &letter).await
}

fn read(row: &QueryResult) -> Result<Envelope, DbErr> {
    Ok(Envelope {
        correlation_id: row.try_get_by_index(0)?,
        message_id: row.try_get_by_index(1)?,
        type_name: row.try_get_by_index(2)?,
        body: row.try_get_by_index::<Vec<u8>>(3)?.into(),
        trace: TraceContext { traceparent: row.try_get_by_index(4)?, tracestate: row.try_get_by_index(5)? },
        attempt: 1,
        ..Envelope::default()
    })
}

/// A parked message, for a person who asks what has become of a dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Full Protobuf name.
    pub type_name: String,
    /// `name/version` of the definition.
    pub definition: String,
    /// Scope of the pause that it waits for; empty where it waits for another release.
    pub held_by: String,
}

/// What is parked of a dispatch, oldest first.
pub async fn parked_of(store: &Store, dispatch_id: &str) -> Result<Vec<Parked>, StoreError> {
    let sql = "SELECT type, definition, definition_version, held_by FROM saga_parked WHERE dispatch_id = $1 \
               ORDER BY parked_at";
    let read = |row: &QueryResult| -> Result<Parked, DbErr> {
        let (name, version): (String, i64) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        Ok(Parked {
            type_name: row.try_get_by_index(0)?,
            definition: format!("{name}/{version}"),
            held_by: row.try_get_by_index(3)?,
        })
    };
    let rows = store.query(sql, vec![dispatch_id.into()]).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// How many messages wait for a process that knows their version, by name, version and hash.
pub(crate) async fn counts(store: &Store) -> Result<BTreeMap<(String, u32, String), i64>, StoreError> {
    let sql = "SELECT definition, definition_version, definition_hash, count(*) FROM saga_parked \
         WHERE held_by = '' GROUP BY 1, 2, 3";
    let read = |row: &QueryResult| {
        let version = u32::try_from(row.try_get_by_index::<i64>(1)?).unwrap_or_default();
        Ok(((row.try_get_by_index(0)?, version, row.try_get_by_index(2)?), row.try_get_by_index(3)?))
    };
    let rows = store.query(sql, Vec::new()).await?;
    rows.iter().map(|row| read(row).map_err(|e: DbErr| classify(&e))).collect()
}

/// Says in the log how many messages wait for another release, whenever that has changed.
pub(crate) struct Report {
    next: Instant,
    told: i64,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now(), told: 0 }
    }

    pub(crate) async fn tell(&mut self, store: &Store, definitions: &Definitions) -> Result<(), StoreError> {
        if self.next > Instant::now() {
            return Ok(());
        }
        self.next = Instant::now() + REPORT;
        let counts = counts(store).await?;
        let foreign = counts.iter().filter(|(pinned, _)| definitions.of(pinned).is_none());
        let messages: i64 = foreign.map(|(_, count)| count).sum();
        if messages > 0 && messages != self.told {
            tracing::warn!(messages, "messages wait for a release that knows the version of their saga");
        } else if messages == 0 && self.told > 0 {
            tracing::info!("no message waits for another release any more");
        }
        self.told = messages;
        Ok(())
    }
}
