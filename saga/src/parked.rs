//! Messages for instances of a version that this process does not know: they are parked in the transaction
//! that consumes them, and a process that knows the version takes them from there. So a rolling upgrade may
//! be rolled back at any moment: what has begun with the newer version waits, and nothing is guessed.

use std::{collections::BTreeMap, time::Duration};

use sea_orm::{DbErr, QueryResult, Value};
use tokio::time::Instant;
use waybill_messaging::{
    Column, Envelope, Handler, Received, Rows, Store, StoreError, TraceContext, Transaction, Tx, classify,
    dead_letter::{self, DeadLetter, DeadLetterKind},
};

use crate::{Definitions, Instance, Orchestrator, persist, shell::Shell};

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
];

/// The row of a message for `instance`.
pub(crate) fn row(instance: &Instance, envelope: &Envelope, trace: &TraceContext, tx: &Tx) -> Vec<Value> {
    let (name, version, hash) = &instance.definition;
    vec![
        instance.dispatch_id.as_str().into(),
        envelope.message_id.as_str().into(),
        envelope.type_name.as_str().into(),
        envelope.body.to_vec().into(),
        trace.traceparent.as_str().into(),
        trace.tracestate.as_str().into(),
        name.as_str().into(),
        i64::from(*version).into(),
        hash.as_str().into(),
        tx.now().micros().into(),
    ]
}

/// Writes them.
pub(crate) async fn park(tx: &Tx, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
    let mut set = Rows::new(COLUMNS);
    for row in rows {
        set.push(row);
    }
    let names = COLUMNS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let sql =
        format!("INSERT INTO saga_parked ({names}) SELECT {names} FROM v WHERE true ON CONFLICT DO NOTHING");
    tx.execute_rows(&set, &sql, Vec::new()).await.map(|_| ())
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

const OF: &str = "p.definition = $1 AND p.definition_version = $2 AND p.definition_hash = $3";

struct Take {
    orchestrator: Orchestrator,
    of: [Value; 3],
}

impl Transaction for Take {
    const NAME: &'static str = "saga.unpark";
    type Output = i64;

    async fn run(&self, tx: &Tx) -> Result<i64, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "SELECT p.dispatch_id, p.message_id, p.type, p.body, p.traceparent, p.tracestate FROM saga_parked p \
             WHERE {OF} ORDER BY p.parked_at, p.message_id LIMIT {PAGE} {lock}"
        );
        let rows = tx.query(&sql, self.of.to_vec()).await?;
        let parked =
            rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect::<Result<Vec<_>, _>>()?;
        let ids = parked.iter().map(|envelope| envelope.correlation_id.as_str());
        let loaded = persist::load(tx, ids.collect::<std::collections::BTreeSet<_>>().into_iter()).await?;
        let mut shell = Shell::new(self.orchestrator.definitions(), loaded.into_values());
        let mut taken = Rows::new(&[("dispatch_id", Column::Text), ("message_id", Column::Text)]);
        for envelope in parked {
            taken.push(vec![envelope.correlation_id.as_str().into(), envelope.message_id.as_str().into()]);
            self.handle(&mut shell, envelope, tx).await?;
        }
        shell.store(tx).await?;
        let delete = "DELETE FROM saga_parked WHERE (dispatch_id, message_id) IN (SELECT dispatch_id, message_id FROM v)";
        tx.execute_rows(&taken, delete, Vec::new()).await?;
        Ok(i64::try_from(taken.len()).unwrap_or(i64::MAX))
    }
}

impl Take {
    /// What cannot be handled although its version is known never will be.
    async fn handle(&self, shell: &mut Shell<'_>, envelope: Envelope, tx: &Tx) -> Result<(), StoreError> {
        let trace = envelope.trace.clone();
        let handled = self.orchestrator.parse(&envelope).and_then(|message| {
            let received = Received { envelope: envelope.clone(), message, trace };
            self.orchestrator.step(shell, &received, tx)
        });
        let Err(failure) = handled else { return Ok(()) };
        let reason = failure.to_string();
        tracing::error!(dispatch_id = envelope.correlation_id, reason, "dead-lettered");
        let (queue, routing_key) = ("saga".to_owned(), "saga.reply".to_owned());
        let letter = DeadLetter { queue, routing_key, envelope, kind: DeadLetterKind::Permanent, reason };
        dead_letter::bury(tx, &letter).await
    }
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

/// How many messages are parked, by name, version and hash of the definition.
pub(crate) async fn counts(store: &Store) -> Result<BTreeMap<(String, u32, String), i64>, StoreError> {
    let sql =
        "SELECT definition, definition_version, definition_hash, count(*) FROM saga_parked GROUP BY 1, 2, 3";
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
