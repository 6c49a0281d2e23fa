//! Should the broker lose everything it holds, every accepted dispatch still begins: what was accepted a
//! while ago and has no saga is sent again.
//!
//! Sending again is harmless, the message is the same one. It is still done sparingly, because the usual
//! reason for a saga that has not begun is that much is waiting: not while the message is in the outbox,
//! a bounded number at a time, and for one dispatch at growing intervals.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_messaging::{
    Column, Outgoing, Rows, Store, StoreError, Timestamp, Transaction, Tx, classify, health::Health, outbox,
};

use crate::{
    id, readiness,
    row::{self, Row},
};

const INTERVAL: Duration = Duration::from_secs(5);
/// A saga begins within milliseconds; after this long something is in its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest interval between two sendings of one message.
const MAX_PATIENCE: Duration = Duration::from_mins(30);
/// Messages sent again in one run, at most.
const MAX_SENT: usize = 500;
/// Rows looked at in one statement.
const PAGE: i64 = 1_000;

/// The loop.
pub(crate) struct Reconcile {
    store: Store,
    health: Health,
    /// What was sent again and has still not begun: when it may be sent next, and the interval after that.
    /// Lost with the process, which costs one sending too many.
    sent: HashMap<String, (Timestamp, Duration)>,
}

impl Reconcile {
    pub(crate) fn new(store: Store, health: Health) -> Self {
        Self { store, health, sent: HashMap::new() }
    }

    /// Runs at once and then at intervals, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let outcome = self.run_once().await;
            readiness::report(&self.health, outcome.as_ref().err());
            match outcome {
                Ok(0) => {}
                Ok(sent) => tracing::warn!(sent, "dispatches without a saga were sent again"),
                Err(error) => tracing::warn!(%error, "dispatches without a saga were not looked for"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at everything that waits, oldest first, and returns how many messages were sent again.
    async fn run_once(&mut self) -> Result<usize, StoreError> {
        let mut after = String::new();
        let mut sent = 0;
        let mut waiting = HashSet::new();
        loop {
            let now = self.store.clock().now();
            let page = look(&self.store, &after, now.minus(PATIENCE)).await?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(&last.dispatch_id);
            let (begun, not_begun): (Vec<_>, Vec<_>) = page.into_iter().partition(|(_, has_saga)| *has_saga);
            let again: Vec<Row> = not_begun.into_iter().map(|(row, _)| row).collect();
            waiting.extend(again.iter().map(|row| row.dispatch_id.clone()));
            let due = self.due(again, now, MAX_SENT - sent);
            let work = Settle {
                begun: begun.into_iter().map(|(row, _)| row.dispatch_id).collect(),
                again: due.iter().filter_map(Row::start_message).collect(),
            };
            if !work.begun.is_empty() || !work.again.is_empty() {
                sent += self.store.run(work).await?;
            }
            self.remember(&due, now);
        }
        self.sent.retain(|id, _| waiting.contains(id));
        Ok(sent)
    }

    /// Those of `rows` whose turn it is, at most `most`.
    fn due(&self, mut rows: Vec<Row>, now: Timestamp, most: usize) -> Vec<Row> {
        rows.retain(|row| self.sent.get(&row.dispatch_id).is_none_or(|(next, _)| *next <= now));
        rows.truncate(most);
        rows
    }

    fn remember(&mut self, rows: &[Row], now: Timestamp) {
        for row in rows {
            let interval = self.sent.get(&row.dispatch_id).map_or(PATIENCE, |(_, interval)| *interval);
            let next = (now.plus(interval), (interval * 2).min(MAX_PATIENCE));
            self.sent.insert(row.dispatch_id.clone(), next);
        }
    }
}

/// A page of dispatches that were accepted before `until` and are not known to have a saga, each with
/// whether it has one.
async fn look(store: &Store, after: &str, until: Timestamp) -> Result<Vec<(Row, bool)>, StoreError> {
    let sql = format!(
        "SELECT {}, CASE WHEN s.dispatch_id IS NULL THEN 0 ELSE 1 END \
         FROM dispatches d LEFT JOIN saga_instances s ON s.dispatch_id = d.dispatch_id \
         WHERE d.saga_started_at IS NULL AND d.dispatch_id > $1 AND d.dispatch_id < $2 \
         AND d.accepted_at < $3 ORDER BY d.dispatch_id LIMIT $4",
        row::COLUMNS
    );
    // A dispatch is named before it is accepted: with this bound the many new ones are not even looked at.
    let bound = id::floor(until.plus(Duration::from_millis(1)));
    let params = vec![after.into(), bound.into(), until.micros().into(), PAGE.into()];
    let found = store.query(&sql, params).await?;
    let has_saga = row::COLUMNS.split(',').count();
    let read = |row| {
        let begun: i32 = sea_orm::QueryResult::try_get_by_index(row, has_saga).map_err(|e| classify(&e))?;
        Ok((row::read(row)?, begun == 1))
    };
    found.iter().map(read).collect()
}

/// Marks what has begun and sends the rest again.
struct Settle {
    begun: Vec<String>,
    again: Vec<Outgoing>,
}

impl Transaction for Settle {
    const NAME: &'static str = "gateway.reconcile";
    /// How many were sent.
    type Output = usize;

    async fn run(&self, tx: &Tx) -> Result<usize, StoreError> {
        let begun = Rows::ids(self.begun.iter().map(String::as_str));
        let mark = "UPDATE dispatches SET saga_started_at = $1 \
                    WHERE saga_started_at IS NULL AND dispatch_id IN (SELECT id FROM v)";
        tx.execute_rows(&begun, mark, vec![tx.now().micros().into()]).await?;
        let waiting = in_outbox(tx, &self.again).await?;
        let lost: Vec<_> = self.again.iter().filter(|m| !waiting.contains(&m.id)).cloned().collect();
        let sent = lost.len();
        outbox::append(tx, lost).await?;
        Ok(sent)
    }
}

/// Which of them have not left the outbox yet, as far as they went in under this very id.
async fn in_outbox(tx: &Tx, messages: &[Outgoing]) -> Result<HashSet<Uuid>, StoreError> {
    let mut ids = Rows::new(&[("id", Column::Uuid)]);
    for message in messages {
        ids.push(vec![message.id.into()]);
    }
    let found = tx.query_rows(&ids, "SELECT o.id FROM outbox o JOIN v ON o.id = v.id", Vec::new()).await?;
    found.iter().map(|row| row.try_get_by_index(0).map_err(|e| classify(&e))).collect()
}
