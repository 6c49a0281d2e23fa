//! A database and the only way to write to it: named transactions.
//!
//! A transaction is a value with a name. It runs in a task of its own, so that a caller who goes away
//! never leaves a half-done one on a pooled connection; it may run more than once, when another one
//! came first; and what it appended to the outbox is handed to the relay once it has committed.

mod connect;
mod error;
mod knock;
mod later;
mod pool;
mod rows;
mod statement;
mod tx;

use std::{fmt::Display, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use sea_orm::{DbBackend, QueryResult, Value};
use tokio::sync::mpsc;
use tracing::Instrument;

pub use self::{
    connect::Settings,
    error::classify,
    knock::knock,
    later::All,
    rows::{Column, Rows},
    tx::Tx,
};
use self::{pool::Pool, statement::Statement};
use crate::{
    Clock, Failure, StoreError,
    fault::{self, Point},
    metrics::Statements,
    relay::{HandOff, Settlement},
    slots::{self, OpenSlots, Slotted},
};

/// How often a transaction is run when others come first, before that is reported.
const MAX_RUNS: u32 = 6;

/// A named unit of work on one database. Nothing but SQL may happen in [`Transaction::run`], and it must
/// not keep anything between two runs.
pub trait Transaction: Send + Sync + 'static {
    /// Its name in logs and metrics, `<component>.<operation>`.
    const NAME: &'static str;
    /// What it yields when committed.
    type Output: Send + 'static;

    /// Whether a crash of the database may undo it, in parts too, because it would be done again without harm.
    /// PostgreSQL is then spared the two round trips of a transaction around its statements, and whoever waits for
    /// the disk does not wait for this as well.
    fn is_lazy(&self) -> bool {
        false
    }

    /// Whether the first run may read without locks, because whatever it writes says what that rests on: plain
    /// inserts, and updates that name what they found. Where that does not hold any more the run comes to nothing,
    /// and the next one locks. All that such a run writes is one statement, which commits itself.
    fn is_optimistic(&self) -> bool {
        false
    }

    /// Does the work. An error rolls everything back.
    fn run(&self, tx: &Tx) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;
}

fn panicked<T: Transaction>(how: &dyn Display) -> StoreError {
    Failure::Transient(format!("{} panicked: {how}", T::NAME)).into()
}

/// A database. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pool: Pool,
    clock: Clock,
    hand_off: HandOff,
    settlements: mpsc::UnboundedSender<Settlement>,
    open_slots: OpenSlots,
    metrics: Statements,
}

impl Store {
    /// Runs `work` to its commit and hands what it appended to the outbox to the relay.
    ///
    /// Dropping the returned future does not stop it. Errors: [`StoreError`]; after
    /// [`StoreError::Unknown`] the work may have been done.
    pub async fn run<T: Transaction>(&self, work: T) -> Result<T::Output, StoreError> {
        let store = self.clone();
        let task = tokio::spawn(async move { store.run_until_done(&work).await }.in_current_span());
        match task.await {
            Ok(result) => result,
            Err(error) => Err(panicked::<T>(&error)),
        }
    }

    /// The same in the caller's own task, which nobody may end meanwhile: begun at once, and not after whatever else is
    /// ready to go on.
    pub async fn run_here<T: Transaction>(&self, work: &T) -> Result<T::Output, StoreError> {
        let running = AssertUnwindSafe(self.run_until_done(work).boxed()).catch_unwind();
        running.await.unwrap_or_else(|_| Err(panicked::<T>(&"see the log")))
    }

    async fn run_until_done<T: Transaction>(&self, work: &T) -> Result<T::Output, StoreError> {
        let mut run = 1;
        loop {
            match self.run_once(work, run == 1 && work.is_optimistic()).await {
                Err(StoreError::Conflict(reason) | StoreError::Taken(reason)) if run < MAX_RUNS => {
                    // It may have been written for a slot that is not the open one any more.
                    let _ = slots::refresh(self, Slotted::Inbox).await;
                    tracing::debug!(transaction = T::NAME, run, reason, "another transaction came first");
                    // Up to 2, 4, 8 … ms: enough for the winner to finish, and the losers part.
                    let pause = rand::random_range(0..1_000 << run);
                    tokio::time::sleep(Duration::from_micros(pause)).await;
                    run += 1;
                }
                result => return result,
            }
        }
    }

    async fn run_once<T: Transaction>(&self, work: &T, is_optimistic: bool) -> Result<T::Output, StoreError> {
        let tx = Tx::new(self.0.pool.transaction(work.is_lazy()), self, is_optimistic);
        let result = match work.run(&tx).await {
            Ok(output) => tx.write_most().await.map(|last| (output, last)),
            Err(error) => Err(error),
        };
        let statements = tx.statements();
        let result = match result {
            Ok((output, last)) => {
                fault::reach(Point::BeforeCommit, T::NAME);
                tx.commit(T::NAME, last).await.map(|()| output)
            }
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        };
        self.0.metrics.ran(T::NAME, statements, result.is_ok());
        result
    }

    /// Reads outside any transaction: `sql` with its parameters `$1`, `$2` …
    pub async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<QueryResult>, StoreError> {
        let statement = Statement::new(self.backend(), sql, &params)?;
        self.0.metrics.read(1);
        self.0.pool.reading().query(statement).await
    }

    /// Reads `sql`, which joins the set `v` of `rows`, outside any transaction.
    pub async fn query_rows(
        &self,
        rows: &Rows,
        sql: &str,
        params: Vec<Value>,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let mut found = Vec::new();
        for statement in rows.statements(self.backend(), sql, &params)? {
            self.0.metrics.read(1);
            found.extend(self.0.pool.reading().query(statement).await?);
        }
        Ok(found)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.query("SELECT 1", Vec::new()).await.map(|_| ())
    }

    /// The clock that all that is written here is dated by.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Where the relay's outcomes for rows of this database go.
    pub(crate) fn settlements(&self) -> mpsc::UnboundedSender<Settlement> {
        self.0.settlements.clone()
    }

    /// Who this process is to others that share the database; new with every start.
    pub(crate) fn owner(&self) -> &str {
        self.0.hand_off.owner()
    }

    pub(crate) fn open_slots(&self) -> &OpenSlots {
        &self.0.open_slots
    }

    /// The dialect.
    pub fn backend(&self) -> DbBackend {
        self.0.pool.backend()
    }

    /// Ends the waiting for a database that was never there, and lets nobody begin to wait: there is no work of ours in
    /// it. One that was there is waited for as ever.
    pub fn stop_waiting(&self) {
        self.0.pool.stop_waiting();
    }

    /// Closes all connections, after what runs has ended.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
